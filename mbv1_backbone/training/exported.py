"""An exported network in the place of a model that is tested: ``mbv1 test CONFIG file.onnx``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import Tensor

from mbv1_backbone.common.errors import InputError
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
        """Samples with what was found in ``inputs``, a list of BGR uint8 (3, H, W)."""
        rgb = [image.numpy()[::-1].transpose(1, 2, 0) for image in data['inputs']]
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
        for sample, boxes, scores, labels in zip(samples, *self.session.run(images), strict=True):
            kept = scores > 0
            scale = np.tile(np.array(sample.scale_factor, np.float32), 2)
            sample.pred_instances = InstanceData(
                bboxes=torch.from_numpy(boxes[kept] / scale),
                scores=torch.from_numpy(scores[kept]),
                labels=torch.from_numpy(labels[kept]),
            )
        return list(samples)
