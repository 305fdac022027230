"""Teachers that are run on the very face that the student will see, as steps of the pipeline.

Each sets ``results['teacher']``, float32 (D,), where the data set has not set it already. They run in the
data loader's workers, one image at a time and one thread each; put them before what only the student should
have to put up with (zoom, light).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.registry import TRANSFORMS

from mbv1_backbone.common.errors import InputError, user_errors
from mbv1_backbone.common.telemetry import no_telemetry
from mbv1_backbone.face.geometry import similarity

__all__ = ['NcnnTeacher', 'OnnxTeacher', 'TorchScriptTeacher']


class _Teacher:
    """A network in a file of its own, opened when the first image comes.

    Args:
        file: Of the network.
        size: Side of its input, in pixels.
        mean: Subtracted from every channel, 0..255.
        std: Divided by.
        scale: Zoom into the image: teachers want tighter crops than the loose ones of LFW.
        shift: Right and down, in shares of the side.

    Raises:
        InputError: If the file is not there, or cannot be read.
    """

    def __init__(
        self,
        file: str,
        size: int = 112,
        mean: float = 127.5,
        std: float = 127.5,
        scale: float = 1.0,
        shift: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        if not Path(file).is_file():
            raise InputError(f'teacher {file}: no such file')
        self.file = file
        self.size = size
        self.mean = mean
        self.std = std
        self.scale = scale
        self.shift = shift
        self._network: Any = None

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        if 'teacher' in results:
            return results
        if self._network is None:
            with user_errors(f'teacher {self.file}'):
                self._network = self._open()
        image = results['img']
        matrix = similarity(image.shape[0], self.size, self.scale, self.shift)
        view = cv2.warpAffine(image, matrix, (self.size, self.size), borderMode=cv2.BORDER_REPLICATE)
        rgb = (view[..., ::-1].astype(np.float32) - self.mean) / self.std
        embedding = self._embed(np.ascontiguousarray(rgb.transpose(2, 0, 1))[None])
        results['teacher'] = embedding.astype(np.float32).reshape(-1)
        return results

    def __getstate__(self) -> dict[str, Any]:  # workers open the network anew
        return {**self.__dict__, '_network': None}

    def _open(self) -> Any:
        raise NotImplementedError

    def _embed(self, inputs: np.ndarray) -> np.ndarray:
        """Embedding (1, D) of prepared RGB float32 (1, 3, S, S)."""
        raise NotImplementedError


@TRANSFORMS.register_module()
class OnnxTeacher(_Teacher):
    """A teacher in an ONNX file, by ONNX Runtime."""

    def _open(self) -> Any:
        with no_telemetry():
            import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        try:
            return onnxruntime.InferenceSession(self.file, options, providers=['CPUExecutionProvider'])
        except Exception as error:  # its errors share no base but this
            raise InputError(f'teacher {self.file}: not an ONNX network: {error}') from error

    def _embed(self, inputs: np.ndarray) -> np.ndarray:
        return self._network.run(None, {self._network.get_inputs()[0].name: inputs})[0]


@TRANSFORMS.register_module()
class TorchScriptTeacher(_Teacher):
    """A teacher in a TorchScript file."""

    def _open(self) -> Any:
        try:
            return torch.jit.load(self.file, map_location='cpu').eval()
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise InputError(f'teacher {self.file}: not a TorchScript network: {reason}') from error

    @torch.inference_mode()
    def _embed(self, inputs: np.ndarray) -> np.ndarray:
        return self._network(torch.from_numpy(inputs)).numpy()


@TRANSFORMS.register_module()
class NcnnTeacher(_Teacher):
    """A teacher in ncnn's two files: ``file`` ends in .param, the .bin lies beside it.

    Its input blob is called ``data`` and its output ``fc1``, as in the converted InsightFace models. These
    normalise for themselves: ``mean=0`` and ``std=1``.
    """

    def _open(self) -> Any:
        import ncnn

        network = ncnn.Net()
        network.opt.num_threads = 1
        if network.load_param(self.file) or network.load_model(str(Path(self.file).with_suffix('.bin'))):
            raise InputError(f'teacher {self.file}: not an ncnn network, or no .bin beside it')
        return network

    def _embed(self, inputs: np.ndarray) -> np.ndarray:
        import ncnn

        extractor = self._network.create_extractor()
        extractor.input('data', ncnn.Mat(inputs[0]).clone())
        return np.array(extractor.extract('fc1')[1])[None]
