"""Face attributes (paper, 4.5 and Table 12): a multi-label network, distilled from a teacher's outputs.

The student minimises the cross-entropy to the teacher's probabilities, averaged over the attributes; images
without labels will do. What it is trained on is in ``attribute_data``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import METRICS, MODELS
from mmengine.structures import BaseDataElement
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from mbv1_backbone.face.evaluation.metrics import mean_average_precision

__all__ = ['AttributeMetric', 'FaceAttributeModel', 'soft_attributes', 'soft_cross_entropy']

_RANK = 1e-6  # of the basis' length, below which it does not differ in a direction


@MODELS.register_module()
class FaceAttributeModel(BaseModel):
    """Which attributes a face has: backbone, global average pooling, a logit for each.

    Args:
        backbone: With ``taps``; the last is read.
        num_attributes: A, at least 1.
        data_preprocessor: ``FacePreprocessor``.
        init_cfg: mmengine's initialisation.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        num_attributes: int = 40,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__({'type': 'FacePreprocessor', **(data_preprocessor or {})}, init_cfg)
        if num_attributes < 1:
            raise ValueError(f'num_attributes must be at least 1, got {num_attributes}')
        self.backbone = MODELS.build(backbone)
        self.fc = nn.Linear(self.backbone.taps[-1].channels, num_attributes)

    def forward(
        self, inputs: Tensor, data_samples: list[BaseDataElement] | None = None, mode: str = 'tensor'
    ) -> Tensor | dict[str, Tensor] | list[BaseDataElement]:
        """Judge prepared images.

        Args:
            inputs: Float (N, 3, S, S), from the data preprocessor.
            data_samples: N samples; for ``loss`` with ``attributes`` (A,), probabilities, NaN where unknown.
            mode: ``tensor`` gives logits (N, A), ``loss`` a dict, ``predict`` the samples with ``scores``
                (A,) set, 0..1.

        Raises:
            ValueError: If the mode is none of these, or the samples have another number of attributes.
        """
        if mode not in ('tensor', 'loss', 'predict'):
            raise ValueError(f'mode must be tensor, loss or predict, got {mode!r}')
        logits = self.fc(self.backbone(inputs)[-1].mean((2, 3))).float()
        if mode == 'tensor':
            return logits
        samples = data_samples or [BaseDataElement() for _ in inputs]
        if mode == 'loss':
            wanted = torch.stack([torch.as_tensor(sample.attributes) for sample in samples]).to(logits)
            return dict(loss_attributes=soft_cross_entropy(logits, wanted))
        for sample, scores in zip(samples, logits.sigmoid(), strict=True):
            sample.set_field(scores, 'scores')
        return samples


def soft_cross_entropy(logits: Tensor, wanted: Tensor) -> Tensor:
    """Binary cross-entropy to probabilities, averaged over what is known.

    Args:
        logits: (N, A).
        wanted: (N, A), 0..1, or NaN where unknown.

    Raises:
        ValueError: If the shapes differ.
    """
    if logits.shape != wanted.shape:
        raise ValueError(f'num_attributes={logits.shape[1]} must be that of the data set, {wanted.shape[1]}')
    known = ~wanted.isnan()
    each = F.binary_cross_entropy_with_logits(logits, wanted.nan_to_num(), reduction='none')
    return (each * known).sum() / known.sum().clamp(min=1)


@METRICS.register_module()
class AttributeMetric(BaseMetric):
    """Mean average precision over the attributes (paper, Table 12), and what random scores reach, ``chance``.

    An image has an attribute where its value is above one half.

    Args:
        min_images: Attributes that fewer images have are left out: one image says nothing of a rank.
        kwargs: mmengine's.
    """

    default_prefix = 'attributes'

    def __init__(self, min_images: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if min_images < 1:
            raise ValueError(f'min_images must be at least 1, got {min_images}')
        self.min_images = min_images

    @override
    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        for sample in data_samples:
            scores, values = (
                torch.as_tensor(sample[name]).cpu().numpy() for name in ('scores', 'attributes')
            )
            self.results.append((scores, values))

    @override
    def compute_metrics(self, results: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
        scores, values = (np.array(column) for column in zip(*results, strict=True))
        positive, known = values > 0.5, ~np.isnan(values)
        known &= positive.sum(0) >= self.min_images
        chosen = known.any(0)
        chance = positive[:, chosen].sum(0) / known[:, chosen].sum(0)
        return dict(mAP=mean_average_precision(scores, positive & known, known), chance=float(chance.mean()))


def soft_attributes(embeddings: np.ndarray, basis: np.ndarray, count: int = 40) -> np.ndarray:
    """A stand-in for a teacher of attributes: on which side of its embeddings' main directions a face lies.

    Args:
        embeddings: (N, D), judged.
        basis: (M, D), whose mean and principal directions are the questions.
        count: A, at most the directions in which the basis differs: fewer than M, at most D.

    Returns:
        Probabilities float32 (N, A): the logistic function of twice the standard score.

    Raises:
        ValueError: If there are fewer directions than wanted.
    """
    centre = basis.mean(0)
    _, spread, directions = np.linalg.svd(basis - centre, full_matrices=False)
    most = int((spread > _RANK * max(np.linalg.norm(basis), np.finfo(float).tiny)).sum())
    if not most:
        raise ValueError(f'the {len(basis)} embeddings of the basis are all the same')
    if not 1 <= count <= most:
        raise ValueError(f'count must lie in 1..{most}, got {count}')
    deviations = spread[:count] / np.sqrt(len(basis))
    scores = (embeddings - centre) @ directions[:count].T / deviations
    return (1 / (1 + np.exp(-2 * scores))).astype(np.float32)
