"""Age, gender and race of a face: a network of three heads, trained on labels, and its measures.

The age head gives a distribution, and the age is its mean: it learns a normal distribution about the label,
and the label itself (DLDL-v2, arXiv:1807.01114). The words for gender and race are those of the data set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import METRICS, MODELS
from mmengine.structures import BaseDataElement
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from mbv1_backbone.face.utkface import MAX_AGE, RACES

__all__ = ['AgeGenderRace', 'AgeGenderRaceMetric', 'AgeGenderRaceModel', 'age_gender_race_figures']


class AgeGenderRace(NamedTuple):
    """What the network says of faces.

    Attributes:
        ages: Probabilities of 0, 1, 2, ... years, float (N, ages).
        male: Probability of being male, float (N,).
        races: Probabilities, float (N, races).
    """

    ages: Tensor
    male: Tensor
    races: Tensor

    @property
    def years(self) -> Tensor:
        """Mean of the distribution of ages, float (N,)."""
        return self.ages @ torch.arange(self.ages.shape[1], device=self.ages.device, dtype=self.ages.dtype)


@MODELS.register_module()
class AgeGenderRaceModel(BaseModel):
    """Backbone, global average pooling, and a linear layer for each of age, gender and race.

    Args:
        backbone: With ``taps``; the last is read.
        num_ages: Ages that are told apart, from 0 years.
        num_races: As the data set has.
        sigma: Of the normal distribution about a label, in years.
        years_weight: Of the absolute error of the mean age, in the loss; a cross-entropy has 1.
        dropout: Share of pooled features dropped in training, in [0, 1).
        data_preprocessor: ``FacePreprocessor``.
        init_cfg: mmengine's initialisation.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        num_ages: int = MAX_AGE + 1,
        num_races: int = len(RACES),
        sigma: float = 2.0,
        years_weight: float = 0.1,
        dropout: float = 0.2,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__({'type': 'FacePreprocessor', **(data_preprocessor or {})}, init_cfg)
        if min(num_ages, num_races) < 2 or sigma <= 0:
            raise ValueError(
                f'num_ages and num_races must be at least 2 and sigma above 0, got {num_ages}, {num_races}, '
                f'{sigma}'
            )
        self.backbone = MODELS.build(backbone)
        channels = self.backbone.taps[-1].channels
        self.dropout = nn.Dropout(dropout)
        self.age = nn.Linear(channels, num_ages)
        self.gender = nn.Linear(channels, 1)
        self.race = nn.Linear(channels, num_races)
        self.sigma = sigma
        self.years_weight = years_weight

    def forward(
        self, inputs: Tensor, data_samples: list[BaseDataElement] | None = None, mode: str = 'tensor'
    ) -> AgeGenderRace | dict[str, Tensor] | list[BaseDataElement]:
        """Judge prepared images.

        Args:
            inputs: Float (N, 3, S, S), from the data preprocessor.
            data_samples: N samples; for ``loss`` with ``age``, ``gender`` and ``race``.
            mode: ``tensor`` gives ``AgeGenderRace``, ``loss`` a dict, ``predict`` the samples with ``years``,
                ``male`` and ``races`` (R,) set.

        Raises:
            ValueError: If the mode is none of these, or a label is larger than the network has.
        """
        if mode not in ('tensor', 'loss', 'predict'):
            raise ValueError(f'mode must be tensor, loss or predict, got {mode!r}')
        pooled = self.dropout(self.backbone(inputs)[-1].mean((2, 3)))
        age, gender, race = (head(pooled).float() for head in (self.age, self.gender, self.race))
        said = AgeGenderRace(age.softmax(1), gender.sigmoid()[:, 0], race.softmax(1))
        if mode == 'tensor':
            return said
        samples = data_samples or [BaseDataElement() for _ in inputs]
        if mode == 'loss':
            return self._losses(samples, age, gender[:, 0], race, said.years)
        for sample, years, male, races in zip(samples, said.years, said.male, said.races, strict=True):
            sample.set_field(years, 'years')
            sample.set_field(male, 'male')
            sample.set_field(races, 'races')
        return samples

    def _losses(
        self, samples: list[BaseDataElement], age: Tensor, gender: Tensor, race: Tensor, years: Tensor
    ) -> dict[str, Tensor]:
        """Losses of logits (N, ages), (N,) and (N, races), and of mean ages (N,)."""
        ages, genders, races = (
            torch.tensor([int(getattr(sample, name)) for sample in samples], device=age.device)
            for name in ('age', 'gender', 'race')
        )
        for name, labels, count in (('num_ages', ages, age.shape[1]), ('num_races', races, race.shape[1])):
            if labels.max() >= count:
                raise ValueError(f'{name}={count}: there is a label {int(labels.max())}')
        all_ages = torch.arange(age.shape[1], device=age.device)
        wanted = (-((all_ages - ages[:, None]) ** 2) / (2 * self.sigma**2)).softmax(1)
        return dict(
            loss_age=F.cross_entropy(age, wanted),
            loss_years=self.years_weight * F.l1_loss(years, ages.float()),
            loss_gender=F.binary_cross_entropy_with_logits(gender, (genders == 0).float()),
            loss_race=F.cross_entropy(race, races),
        )


@METRICS.register_module()
class AgeGenderRaceMetric(BaseMetric):
    """Shares of faces whose gender and race are right, and the mean absolute error of the age in years."""

    default_prefix = 'face'

    @override
    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        for sample in data_samples:
            self.results.append(
                dict(
                    years=float(sample['years']),
                    male=float(sample['male']),
                    races=torch.as_tensor(sample['races']).cpu().numpy(),
                    labels=tuple(int(sample[name]) for name in ('age', 'gender', 'race')),
                )
            )

    @override
    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        said = {name: np.array([result[name] for result in results]) for name in ('years', 'male', 'races')}
        said['is_male'] = said.pop('male') > 0.5
        return age_gender_race_figures(said, np.array([result['labels'] for result in results]))


def age_gender_race_figures(said: Mapping[str, np.ndarray], labels: np.ndarray) -> dict[str, float]:
    """Figures of what a network says; of a network without one of the heads that figure is not there.

    Args:
        said: ``years`` float (N,), ``is_male`` bool (N,), ``races`` float (N, R).
        labels: int (N, 3): years, 0 of men, race.

    Returns:
        ``gender_accuracy`` and ``race_accuracy``, 0..1, and ``age_error`` in years.
    """
    figures: dict[str, float] = {}
    if 'is_male' in said:
        figures['gender_accuracy'] = float((said['is_male'] == (labels[:, 1] == 0)).mean())
    if 'races' in said:
        figures['race_accuracy'] = float((said['races'].argmax(1) == labels[:, 2]).mean())
    if 'years' in said:
        figures['age_error'] = float(np.abs(said['years'] - labels[:, 0]).mean())
    return figures
