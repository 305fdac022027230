"""What embeddings are trained by: triplets, margins on a softmax, a teacher's embeddings.

Each loss is called with embeddings (N, D) of length 1 and N samples, and gives one number. What people's
labels decide comes from pytorch-metric-learning (https://kevinmusgrave.github.io/pytorch-metric-learning/).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

__all__ = ['ArcFaceLoss', 'CosFaceLoss', 'DistillationLoss', 'SemiHardTripletLoss', 'labels_of']


class _Loss(nn.Module):
    """A named, weighted loss."""

    name = 'loss'

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        if not weight > 0:
            raise ValueError(f'weight must be > 0, got {weight}')
        self.weight = weight


@MODELS.register_module()
class SemiHardTripletLoss(_Loss):
    """FaceNet's triplet loss (arXiv:1503.03832, 3.1 and 3.2) over a batch of P people, K images each.

    Every pair of a person's images is an anchor and its positive; with it goes every negative of the batch
    that is further from the anchor than the positive, by less than the margin. The mean is over triplets;
    a batch without any gives 0.

    Args:
        margin: On squared Euclidean distances, > 0.
        weight: Factor of the loss.
        embedding_dims: Ignored; the distance takes any.
    """

    name = 'triplet'

    def __init__(self, margin: float = 0.2, weight: float = 1.0, embedding_dims: int = 0) -> None:
        from pytorch_metric_learning.distances import LpDistance
        from pytorch_metric_learning.losses import TripletMarginLoss
        from pytorch_metric_learning.miners import TripletMarginMiner

        super().__init__(weight)
        if not margin > 0:
            raise ValueError(f'margin must be > 0, got {margin}')
        distance = LpDistance(p=2, power=2)
        self.miner = TripletMarginMiner(margin, type_of_triplets='semihard', distance=distance)
        self.triplets = TripletMarginLoss(margin, distance=distance)

    @override
    def forward(self, embeddings: Tensor, samples: Sequence[BaseDataElement]) -> Tensor:
        labels = labels_of(samples, embeddings)
        return self.weight * self.triplets(embeddings, labels, self.miner(embeddings, labels))


class _MarginSoftmaxLoss(_Loss):
    """A softmax over all people of the training set, with a margin that the right one must win by."""

    def __init__(
        self, num_classes: int, margin: float, scale: float, weight: float, embedding_dims: int
    ) -> None:
        super().__init__(weight)
        if num_classes < 2:
            raise ValueError(f'num_classes must be at least 2, got {num_classes}')
        self.num_classes = num_classes
        self.softmax = self._build(num_classes, embedding_dims, margin, scale)

    @staticmethod
    def _build(num_classes: int, dims: int, margin: float, scale: float) -> nn.Module:
        raise NotImplementedError

    def forward(self, embeddings: Tensor, samples: Sequence[BaseDataElement]) -> Tensor:
        labels = labels_of(samples, embeddings)
        if int(labels.max()) >= self.num_classes:
            raise ValueError(
                f'num_classes={self.num_classes} must be the number of people in the training set: '
                f'there is a label {int(labels.max())}'
            )
        return self.weight * self.softmax(embeddings, labels)


@MODELS.register_module()
class ArcFaceLoss(_MarginSoftmaxLoss):
    """ArcFace (arXiv:1801.07698): the margin is an angle.

    Args:
        num_classes: People in the training set.
        margin: In radians.
        scale: Of the cosines, before the softmax.
        weight: Factor of the loss.
        embedding_dims: Of the embeddings; the model fills it in.
    """

    name = 'arcface'

    def __init__(
        self,
        num_classes: int,
        margin: float = 0.5,
        scale: float = 64.0,
        weight: float = 1.0,
        embedding_dims: int = 128,
    ) -> None:
        super().__init__(num_classes, margin, scale, weight, embedding_dims)

    @staticmethod
    def _build(num_classes: int, dims: int, margin: float, scale: float) -> nn.Module:
        from pytorch_metric_learning.losses import ArcFaceLoss

        return ArcFaceLoss(num_classes, dims, margin=math.degrees(margin), scale=scale)


@MODELS.register_module()
class CosFaceLoss(_MarginSoftmaxLoss):
    """CosFace (arXiv:1801.09414): the margin is subtracted from the cosine.

    Args:
        num_classes: People in the training set.
        margin: Of the cosine.
        scale: Of the cosines, before the softmax.
        weight: Factor of the loss.
        embedding_dims: Of the embeddings; the model fills it in.
    """

    name = 'cosface'

    def __init__(
        self,
        num_classes: int,
        margin: float = 0.35,
        scale: float = 64.0,
        weight: float = 1.0,
        embedding_dims: int = 128,
    ) -> None:
        super().__init__(num_classes, margin, scale, weight, embedding_dims)

    @staticmethod
    def _build(num_classes: int, dims: int, margin: float, scale: float) -> nn.Module:
        from pytorch_metric_learning.losses import CosFaceLoss

        return CosFaceLoss(num_classes, dims, margin=margin, scale=scale)


@MODELS.register_module()
class DistillationLoss(_Loss):
    """Squared difference to a teacher's embedding of the same face (paper, 4.7).

    Both have length 1, so it is the squared Euclidean distance, 0..4; the mean is over the batch.

    Args:
        weight: Factor of the loss.
        embedding_dims: Ignored; the teacher's must equal the student's.
    """

    name = 'distill'

    def __init__(self, weight: float = 1.0, embedding_dims: int = 0) -> None:
        super().__init__(weight)

    @override
    def forward(self, embeddings: Tensor, samples: Sequence[BaseDataElement]) -> Tensor:
        if not all('teacher' in sample for sample in samples):
            raise ValueError(
                'DistillationLoss needs teacher_file in the data set or a teacher in its pipeline'
            )
        teacher = torch.stack([torch.as_tensor(sample.teacher) for sample in samples]).to(embeddings)
        if teacher.shape != embeddings.shape:
            raise ValueError(
                f"embedding_dims={embeddings.shape[1]} must be the teacher's, {teacher.shape[1]}"
            )
        return self.weight * (embeddings - F.normalize(teacher)).square().sum(1).mean()


def labels_of(samples: Sequence[BaseDataElement], like: Tensor) -> Tensor:
    """Labels int64 (N,) of samples, on the device of ``like``."""
    return torch.tensor([int(sample.label) for sample in samples], device=like.device)
