"""Age and gender of a face, as the VGGFace2 MobileNetV1 estimates them.

The network is https://github.com/HSE-asavchenko/HSE_FaceRec_tf's (arXiv:1807.07718): two heads behind the
features of an embedder. Both outputs are what a network says of a picture, and no facts about a person.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn

__all__ = ['MALE_FROM', 'AgeGender', 'AgeGenderModel', 'gender_of', 'years_of']

_FIRST_AGE = 1  # years of the first of the probabilities
MALE_FROM = 0.6  # probability from which its authors call a face a man's


class AgeGender(NamedTuple):
    """What the network says of faces.

    Attributes:
        ages: Probabilities of 1, 2, ... years, float (N, 100).
        male: Probability of being male, float (N,).
    """

    ages: Tensor
    male: Tensor


@MODELS.register_module()
class AgeGenderModel(BaseModel):
    """Backbone, global average pooling, a layer that age and gender share, and a head of each.

    Args:
        backbone: With ``taps``; the last is read.
        shared_dims: Values of the shared layer.
        num_ages: Ages that are told apart, from one year.
        data_preprocessor: ``FacePreprocessor``.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        shared_dims: int = 256,
        num_ages: int = 100,
        data_preprocessor: dict[str, Any] | None = None,
    ) -> None:
        super().__init__({'type': 'FacePreprocessor', **(data_preprocessor or {})})
        self.backbone = MODELS.build(backbone)
        self.shared = nn.Linear(self.backbone.taps[-1].channels, shared_dims)
        self.age = nn.Linear(shared_dims, num_ages)
        self.gender = nn.Linear(shared_dims, 1)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> AgeGender:
        """Judge prepared images (N, 3, S, S), from the data preprocessor.

        Args:
            inputs: Of faces.
            data_samples: Ignored.
            mode: ``tensor``; the network is imported, and not trained here.

        Raises:
            ValueError: If the mode is another.
        """
        if mode != 'tensor':
            raise ValueError(f'mode must be tensor, got {mode!r}')
        shared = self.shared(self.backbone(inputs)[-1].mean((2, 3))).relu()
        return AgeGender(self.age(shared).float().softmax(1), self.gender(shared).float().sigmoid()[:, 0])


def years_of(ages: Tensor | np.ndarray) -> np.ndarray:
    """Years, float (N,): the mean of the two likeliest ages by their probabilities, as the authors take it.

    Args:
        ages: Probabilities (N, A) of 1, 2, ... years.
    """
    likeliest, index = torch.as_tensor(ages).topk(2, dim=1)
    years = (likeliest * (index + _FIRST_AGE)).sum(1) / likeliest.sum(1)
    found: np.ndarray = years.numpy()
    return found


def gender_of(male: float) -> str:
    """``male`` or ``female``, by the bound of the network's authors.

    Args:
        male: Probability of being male, 0..1.
    """
    return 'male' if male >= MALE_FROM else 'female'
