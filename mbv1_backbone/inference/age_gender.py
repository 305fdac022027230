"""Age and gender of faces, estimated by the network that the zoo's strongest embedder is a part of."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.prefetch import batched
from mbv1_backbone.face.age_gender import MALE_FROM, AgeGenderModel, years_of
from mbv1_backbone.face.geometry import fit_square
from mbv1_backbone.models.layers import folded
from mbv1_backbone.weights.external import external_models, fetch_external
from mbv1_backbone.weights.store import Weights
from mbv1_backbone.weights.tfjs import is_tfjs, read_age_gender

__all__ = ['SOURCE', 'AgeGenderEstimator', 'Estimate']

SOURCE = 'vladmandic/facenet_mobilenetv1_vggface2'  # in the zoo


class Estimate(NamedTuple):
    """What the network says of a face; no fact about a person.

    Attributes:
        years: Age.
        male: Probability of being male, 0..1.
    """

    years: float
    male: float

    @property
    def gender(self) -> str:
        """``male`` or ``female``, by the bound of the network's authors."""
        return 'male' if self.male >= MALE_FROM else 'female'


class AgeGenderEstimator:
    """Estimates age and gender of faces: aligned ones, in the loose square of ``mbv1 faces crop``.

    Args:
        weights: Of ``read_age_gender``.

    Example:
        >>> estimator = AgeGenderEstimator.load()  # doctest: +SKIP
        >>> estimator.estimate([read_image('crop.png')])  # doctest: +SKIP
        [Estimate(years=34.2, male=0.98)]
    """

    def __init__(self, weights: Weights) -> None:
        recipe = weights.recipe
        model = AgeGenderModel(
            backbone=dict(type='MobileNetV1', **recipe.backbone()),
            shared_dims=len(weights.state['shared.bias']),
            num_ages=len(weights.state['age.bias']),
            data_preprocessor=dict(
                **recipe.preprocessor(), input_size=recipe.input_size, window=recipe.window
            ),
        )
        model.load_state_dict(weights.state, strict=False)
        self.input_size = recipe.input_size
        self.model = folded(model.eval())

    @classmethod
    def load(cls, source: str | os.PathLike[str] = SOURCE) -> AgeGenderEstimator:
        """The estimator of a file or of a name in the zoo.

        Args:
            source: ``faceres.json`` with its shard beside it, or ``vladmandic/facenet_mobilenetv1_vggface2``.

        Raises:
            InputError: If it cannot be had, or has no heads of age and gender.
        """
        others = external_models()
        path = fetch_external(others[name])[0] if (name := os.fspath(source)) in others else Path(name)
        if not path.is_file():
            raise InputError(f'{source}: no such file, and not {SOURCE}')
        if not is_tfjs(path):
            raise InputError(f'{source}: no TensorFlow.js model, as the one with heads of age and gender is')
        return cls(read_age_gender(path))

    @torch.inference_mode()
    def estimate(self, faces: Iterable[np.ndarray], batch_size: int = 8) -> list[Estimate]:
        """Age and gender of faces, RGB uint8 (H, W, 3), of which the middle square is taken.

        Args:
            faces: Aligned.
            batch_size: Faces that go through the network at once.

        Raises:
            ValueError: If the batch size is not positive.
        """
        found: list[Estimate] = []
        for batch in batched(faces, batch_size):
            found += self._of_batch(batch)
        return found

    def _of_batch(self, faces: Sequence[np.ndarray]) -> list[Estimate]:
        squares = [torch.from_numpy(fit_square(face, self.input_size)).permute(2, 0, 1) for face in faces]
        # The model takes B, G, R, as files of training are read.
        data = self.model.data_preprocessor(dict(inputs=[square.flip(0) for square in squares]))
        said = self.model(data['inputs'])
        years = years_of(said.ages)
        return [Estimate(float(y), float(m)) for y, m in zip(years, said.male, strict=True)]
