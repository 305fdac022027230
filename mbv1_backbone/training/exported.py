"""An exported network in the place of a model that is tested: ``mbv1 test CONFIG file.onnx``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import Tensor

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.detection.masks import Masks
from mbv1_backbone.runtime.sessions import Session, top_left

__all__ = ['ExportedModel']


class ExportedModel(BaseModel):
    """Answers ``test_step`` as the model does that the session was exported from.

    Args:
        session: Of an embedder, a classifier or a detector; its size must be the one of the test pipeline.

    Raises:
        InputError: If it is of another kind.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        if session.spec.kind == 'backbone':
            raise InputError(f'{session.path}: not a whole network, but {session.spec.a_kind}')
        self.session = session

    @property
    def count(self) -> int | None:
        """Classes that a classifier tells apart, of which it need not know the names; None of others."""
        if self.session.spec.kind != 'classifier':
            return None
        return int(self.session.run(np.zeros((1, *self.session.spec.size, 3), np.uint8))[0].shape[1])

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        """Not for training.

        Args:
            inputs: Unused.
            data_samples: Unused.
            mode: Unused.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError('an exported model is for testing')

    def test_step(self, data: dict[str, Any]) -> list[Any]:
        """Samples with what was found in ``inputs``, a list of BGR uint8 (3, H, W).

        Raises:
            InputError: If images have another size than the network's input, or, where a detector keeps
                their shape, a larger one.
        """
        rgb = [image.numpy()[::-1].transpose(1, 2, 0) for image in data['inputs']]
        for image in rgb:
            self._check_size(image.shape[:2])
        images = np.stack([top_left(image, self.session.spec) for image in rgb])
        samples = data['data_samples']
        if self.session.spec.kind == 'classifier':
            for sample, scores in zip(samples, torch.from_numpy(self.session.run(images)[0]), strict=True):
                sample.set_pred_score(scores).set_pred_label(scores.argmax())
            return list(samples)
        if self.session.spec.kind == 'embedder':
            for sample, embedding in zip(samples, self.session.run(images)[0], strict=True):
                sample.set_field(torch.from_numpy(embedding), 'embedding')
            return list(samples)
        for sample, *outputs in zip(samples, *self.session.run(images), strict=True):
            sample.pred_instances = _instances(outputs, sample)
        return list(samples)

    def _check_size(self, size: tuple[int, ...]) -> None:
        """Only a detector that keeps the shape of images pads them; others would see a small one framed."""
        spec = self.session.spec
        fits = size == tuple(spec.size)
        if spec.kind == 'detector' and spec.keep_ratio:
            fits = size[0] <= spec.size[0] and size[1] <= spec.size[1]
        if not fits:
            raise InputError(
                f'{self.session.path}: its input is {spec.size[0]} x {spec.size[1]} (height x width), the '
                f'test pipeline of the config gives {size[0]} x {size[1]}: both must be the same'
            )


def _instances(outputs: Sequence[np.ndarray], sample: Any) -> InstanceData:
    """A detector's outputs for one image, in pixels of its file; masks where it has them."""
    boxes, scores, labels, *more = outputs
    kept = scores > 0
    found = boxes[kept] / np.tile(np.array(sample.scale_factor, np.float32), 2)
    instances = InstanceData(
        bboxes=torch.from_numpy(found),
        scores=torch.from_numpy(scores[kept]),
        labels=torch.from_numpy(labels[kept]),
    )
    if more and more[0].ndim == 3:  # landmarks are not evaluated
        instances.masks = torch.from_numpy(np.asarray(Masks.of_boxes(more[0][kept], found, sample.ori_shape)))
    return instances
