"""Networks that PyTorch runs: our graphs, embedding models as they were trained, mmdet's own prediction."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dataset import Compose
from torch import Tensor, nn

from mbv1_backbone.common.cpu import bf16_is_fast
from mbv1_backbone.common.errors import InputError, one_line
from mbv1_backbone.detection.masks import Masks
from mbv1_backbone.export.graphs import Graph
from mbv1_backbone.face.model import FaceEmbeddingModel
from mbv1_backbone.inference.detections import Detections
from mbv1_backbone.inference.exportable import embedder_spec, settings_of
from mbv1_backbone.inference.resolve import Trained
from mbv1_backbone.models.layers import folded
from mbv1_backbone.models.recipe import Recipe
from mbv1_backbone.runtime.sessions import Outputs, check_images
from mbv1_backbone.runtime.spec import ModelSpec

__all__ = [
    'MMDetDetection',
    'Process',
    'TorchNetwork',
    'device_of',
    'in_bf16',
    'in_torch',
    'model_embedder',
    'use_threads',
]


def device_of(name: str) -> torch.device:
    """PyTorch's device of a name, tried out.

    Raises:
        InputError: If there is no such device on this machine, or PyTorch was built without it.
    """
    try:
        device = torch.device(name)
        if device.type == 'meta':
            raise ValueError('it computes nothing')
        torch.zeros(1, device=device)
    except Exception as error:  # AssertionError, RuntimeError, AcceleratorError, ...: by the kind of device
        reason = one_line(error).partition('. ')[0]
        raise InputError(f'device {name}: PyTorch cannot use it on this machine: {reason}') from error
    return device


class TorchNetwork:
    """A graph that PyTorch runs.

    Args:
        graph: Copied, with batch norms folded.
        spec: What it is.
        bf16: Compute in bfloat16.
        device: Torch's name of it.

    Attributes:
        spec: What it is.
        precision: What it computes in.
        parallel: How many threads should run it: PyTorch starts threads of its own for each.
    """

    parallel = 1

    def __init__(self, graph: nn.Module, spec: ModelSpec, bf16: bool = False, device: str = 'cpu') -> None:
        self.spec = spec
        self.precision = 'bf16' if bf16 else 'fp32'
        self._device = device_of(device)
        self._network = folded(graph).to(self._device)
        self._process = Process()

    def __str__(self) -> str:
        return f'torch {torch.__version__}, {self.precision}'

    @torch.inference_mode()
    def run(self, images: np.ndarray, /) -> Outputs:
        """Outputs of images uint8 (N, H, W, 3) in RGB."""
        check_images(images, self.spec)
        self._process.check()
        with torch.autocast(self._device.type, torch.bfloat16, self.precision == 'bf16'):
            outputs = self._network(torch.from_numpy(np.ascontiguousarray(images)).to(self._device))
        return tuple((o.float() if o.is_floating_point() else o).cpu().numpy() for o in outputs)


class Process:
    """Lets a network run in a process that was forked after PyTorch had started its threads.

    They are not there in the new process, and PyTorch would wait for them for ever: it gets one thread there,
    as mmengine's and PyTorch's own data-loading workers do.
    """

    def __init__(self) -> None:
        self._id = os.getpid()

    def check(self) -> None:
        """To be called before PyTorch computes."""
        if self._id != os.getpid():
            torch.set_num_threads(1)
            self._id = os.getpid()

    def __getstate__(self) -> dict[str, Any]:  # unpickled, it belongs to the process that unpickles
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._id = os.getpid()


def in_torch(
    graph: Graph, spec: ModelSpec, threads: int | None = None, precision: str = 'auto'
) -> TorchNetwork:
    """A graph that PyTorch runs, on the CPU.

    Args:
        graph: Copied, with batch norms folded.
        spec: What it is.
        threads: Of the whole process; None leaves them as they are.
        precision: ``'fp32'``, ``'bf16'``, or ``'auto'``: bfloat16 where the processor multiplies in it.
    """
    use_threads(threads)
    return TorchNetwork(graph, spec, in_bf16(precision))


def use_threads(threads: int | None) -> None:
    """Set PyTorch's threads, of the whole process; None leaves them as they are."""
    if threads is not None:
        torch.set_num_threads(threads)


def in_bf16(precision: str) -> bool:
    """Whether PyTorch computes in bfloat16 where ``precision`` is asked for."""
    return precision == 'bf16' or (precision == 'auto' and bf16_is_fast())


def model_embedder(
    model: FaceEmbeddingModel, recipe: Recipe, device: str = 'cpu', bf16: bool = False
) -> TorchNetwork:
    """An embedding model with its own data preprocessor: what exported files are compared with.

    Args:
        model: In evaluation mode afterwards.
        recipe: How its images are prepared.
        device: Torch's name of it.
        bf16: Run it in bfloat16.
    """
    return TorchNetwork(_AsTrained(model.eval()), embedder_spec(model, recipe), bf16, device)


class _AsTrained(nn.Module):
    """Faces, uint8 (N, S, S, 3) in RGB, through the data preprocessor and the network of training."""

    def __init__(self, model: FaceEmbeddingModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor]:
        bgr = images.permute(0, 3, 1, 2).flip(1)
        return (self.model(self.model.data_preprocessor(dict(inputs=[*bgr]))['inputs']),)


class MMDetDetection:
    """A detector as mmdet predicts with it, by the config's own test pipeline.

    Args:
        found: A detector; its model is in evaluation mode afterwards.
        device: Torch's name of it.
        bf16: Run the network in bfloat16.

    Attributes:
        classes: Names, by label.
        category_ids: Ids in results, by label.
        parallel: How many threads should run it.
        fingerprint: SHA-256 of the weights.
        settings: SHA-256 of what the config says of the network.
        precision: What the network computes in.
    """

    parallel = 1

    def __init__(self, found: Trained, device: str = 'cpu', bf16: bool = False) -> None:
        assert found.config is not None  # a detector has one
        self.classes = found.classes
        self.category_ids = found.category_ids
        self.fingerprint = found.fingerprint
        self.settings = settings_of(found)
        self._device = device_of(device)
        self._network = folded(found.model).to(self._device)
        self.precision = 'bf16' if bf16 else 'fp32'
        self._process = Process()
        pipeline = found.config.test_dataloader.dataset.pipeline
        self._pipeline = Compose([step for step in pipeline[1:] if step['type'] != 'LoadAnnotations'])

    @property
    def backend(self) -> str:
        """What runs the network, and in which precision."""
        return f'torch {torch.__version__}, {self.precision}'

    def prepare(self, image: np.ndarray, /) -> Any:
        """What the pipeline packs of an image, RGB uint8 (H, W, 3)."""
        return self._pipeline(
            dict(
                img=np.ascontiguousarray(image[..., ::-1]),
                img_shape=image.shape[:2],
                ori_shape=image.shape[:2],
                img_id=0,
                img_path=None,
            )
        )

    @torch.inference_mode()
    def detect(self, batch: Sequence[tuple[np.ndarray, Any]], /) -> list[Detections]:
        """Detections in pixels of the images as given."""
        self._process.check()
        data = dict(
            inputs=[sample['inputs'] for _, sample in batch],
            data_samples=[sample['data_samples'] for _, sample in batch],
        )
        with torch.autocast(self._device.type, torch.bfloat16, self.precision == 'bf16'):
            outputs = self._network.test_step(data)
        return [_to_detections(output.pred_instances) for output in outputs]


def _to_detections(instances: Any) -> Detections:
    return Detections(
        instances.bboxes.float().cpu().numpy(),
        instances.scores.float().cpu().numpy(),
        instances.labels.cpu().numpy(),
        instances.landmarks.float().cpu().numpy() if 'landmarks' in instances else None,
        Masks.of_arrays(instances.masks.cpu().numpy()) if 'masks' in instances else None,
    )
