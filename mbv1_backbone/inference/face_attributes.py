"""Attributes of faces, by any network here with heads for them: CelebA's attributes; age, gender and race."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from torch import Tensor

from mbv1_backbone.common.errors import InputError, user_errors
from mbv1_backbone.common.prefetch import batched
from mbv1_backbone.compat.registry import use_scope
from mbv1_backbone.face.age_gender import MALE_FROM, AgeGender, gender_of, years_of
from mbv1_backbone.face.age_gender_race import AgeGenderRace
from mbv1_backbone.face.geometry import fit_square
from mbv1_backbone.face.utkface import GENDERS, RACES
from mbv1_backbone.inference.age_gender import SOURCE, age_gender_model
from mbv1_backbone.models.layers import folded
from mbv1_backbone.training.checkpoint import Checkpoint, fill, read_checkpoint
from mbv1_backbone.training.config import load_config
from mbv1_backbone.weights.parts import is_tfjs
from mbv1_backbone.weights.sources import local_file
from mbv1_backbone.weights.zoo import config_of

__all__ = ['AttributeEstimator', 'FaceAttributes']

_MODELS = ('AgeGenderRaceModel', 'FaceAttributeModel')


@dataclass(frozen=True)
class FaceAttributes:
    """What a network says of a face; no fact about a person. What it has no head for is not there.

    Attributes:
        years: Age.
        male: Probability of being male, 0..1.
        gender: ``male`` or ``female``.
        races: Probability of each, by the data set's words.
        attributes: Probability of each.
        male_from: Probability of being male from which ``gender`` is that, 0..1.
    """

    years: float | None = None
    male: float | None = None
    gender: str | None = None
    races: dict[str, float] = field(default_factory=dict)
    attributes: dict[str, float] = field(default_factory=dict)
    male_from: float = 0.5

    def parts(self, least: float = 0.5) -> list[str]:
        """In words, each with its probability (of gender that of being male).

        Attributes are those that reach ``least``, the likeliest first.

        Example:
            >>> FaceAttributes(34.2, 0.02, 'female', attributes={'Smiling': 0.97, 'Bald': 0.1}).parts()
            ['34 years', 'female (P(male) 0.02, male from 0.50)', 'Smiling 0.97']
        """
        found = [] if self.years is None else [f'{self.years:.0f} years']
        if self.male is not None:
            found.append(f'{self.gender} (P(male) {self.male:.2f}, male from {self.male_from:.2f})')
        if self.races:
            race = max(self.races, key=self.races.__getitem__)
            found.append(f'{race} {self.races[race]:.2f}')
        ranked = sorted(self.attributes.items(), key=lambda item: -item[1])
        return found + [f'{name} {value:.2f}' for name, value in ranked if value >= least]

    def as_json(self) -> dict[str, Any]:
        """What is there, to write as JSON."""
        bound = None if self.male is None else self.male_from
        values = dict(
            years=self.years, gender=self.gender, male_probability=self.male, male_from_probability=bound
        )
        found: dict[str, Any] = {name: value for name, value in values.items() if value is not None}
        maps = dict(races=self.races, attributes=self.attributes)
        return found | {name: value for name, value in maps.items() if value}


class AttributeEstimator:
    """Estimates attributes of faces: aligned ones, in the loose square of ``mbv1 faces crop``.

    Args:
        model: ``FaceAttributeModel``, ``AgeGenderRaceModel`` or ``AgeGenderModel``, with its weights.
        names: Of the attributes of a ``FaceAttributeModel``.

    Attributes:
        input_size: Side of the square that the network takes, in pixels.

    Example:
        >>> estimator = AttributeEstimator.load(  # doctest: +SKIP
        ...     'configs/face/age_gender_race_mbv1_0.25-128_utkface.py', 'epoch_12.pth'
        ... )
        >>> estimator.estimate([read_image('crop.png')])[0].parts()  # doctest: +SKIP
        ['34 years', 'female (P(male) 0.02, male from 0.50)', 'White 0.71']
    """

    def __init__(self, model: Any, names: Sequence[str] = ()) -> None:
        self.input_size = int(model.data_preprocessor.input_size)
        self.names = tuple(names)
        self._model = folded(model.eval())

    @classmethod
    def load(
        cls, source: str | os.PathLike[str] = SOURCE, checkpoint: str | os.PathLike[str] | None = None
    ) -> AttributeEstimator:
        """The estimator that a user names.

        Args:
            source: A config, with ``checkpoint``; a name in the zoo; published weights of ``mbv1 publish``;
                ``faceres.json`` of the network that the default names, for age and gender.
            checkpoint: Of the config.

        Raises:
            InputError: If it cannot be had, or is no network of attributes.
        """
        name = os.fspath(source)
        if Path(name).suffix == '.py':
            if checkpoint is None:
                raise InputError(f'config {name}: needs a checkpoint')
            return cls._of_config(load_config(name), read_checkpoint(local_file(checkpoint)))
        if checkpoint is not None:
            raise InputError(f'{name}: a second checkpoint {checkpoint} goes with a config only')
        if name == SOURCE or (Path(name).is_file() and is_tfjs(Path(name))):
            return cls(age_gender_model(name))
        config = config_of(name)
        found = read_checkpoint(local_file(name))
        if config is not None:
            return cls._of_config(load_config(config), found)
        return cls._of_config(_config_of_weights(found, name), found)

    @classmethod
    def _of_config(cls, config: Config, found: Checkpoint) -> AttributeEstimator:
        kind = str(config.model.get('type')).rpartition('.')[2]
        if kind not in _MODELS:
            raise InputError(f'config {config.filename}: not one of {", ".join(_MODELS)}, but {kind}')
        with user_errors(f'config {config.filename}'):
            use_scope('mmengine')
            model = MODELS.build(dict(config.model, _scope_='mmengine'))
        fill(model, found)
        names = (found.meta.get('dataset_meta') or {}).get('classes') or ()
        if kind == 'FaceAttributeModel' and len(names) != model.fc.out_features:
            names = [f'attribute {number}' for number in range(model.fc.out_features)]
        return cls(model, names)

    @torch.inference_mode()
    def estimate(self, faces: Iterable[np.ndarray], batch_size: int = 8) -> list[FaceAttributes]:
        """Attributes of faces, RGB uint8 (H, W, 3), of which the middle square is taken.

        Args:
            faces: Aligned.
            batch_size: Faces that go through the network at once.

        Raises:
            ValueError: If the batch size is not positive.
        """
        found: list[FaceAttributes] = []
        for batch in batched(faces, batch_size):
            squares = [torch.from_numpy(fit_square(face, self.input_size)).permute(2, 0, 1) for face in batch]
            # The model takes B, G, R, as files of training are read.
            data = self._model.data_preprocessor(dict(inputs=[square.flip(0) for square in squares]))
            found += self._read(self._model(data['inputs']))
        return found

    def _read(self, said: AgeGenderRace | AgeGender | Tensor) -> list[FaceAttributes]:
        """Outputs of the network, by what they are."""
        if isinstance(said, AgeGenderRace):
            return [
                FaceAttributes(years, male, GENDERS[male <= 0.5], dict(zip(RACES, races, strict=False)))
                for years, male, races in zip(*_lists(said.years, said.male, said.races), strict=True)
            ]
        if isinstance(said, AgeGender):
            pairs = zip(years_of(said.ages).tolist(), said.male.tolist(), strict=True)
            return [
                FaceAttributes(years, male, gender_of(male), male_from=MALE_FROM) for years, male in pairs
            ]
        rows = said.sigmoid().tolist()
        return [FaceAttributes(attributes=dict(zip(self.names, row, strict=True))) for row in rows]


def _lists(*tensors: Tensor) -> list[list[Any]]:
    return [tensor.tolist() for tensor in tensors]


def _config_of_weights(found: Checkpoint, name: str) -> Config:
    """The config of weights that say how their network is built."""
    state, recipe = found.state, found.recipe
    kind = next(
        (k for k, head in zip(_MODELS, ('race', 'fc'), strict=True) if f'{head}.weight' in state), None
    )
    if kind is None or recipe is None:
        raise InputError(f'{name}: not a network of attributes; a checkpoint of a run needs its config')
    sizes: dict[str, Any] = (
        dict(num_attributes=len(state['fc.weight']))
        if kind == 'FaceAttributeModel'
        else dict(num_ages=len(state['age.weight']), num_races=len(state['race.weight']))
    )
    fed = dict(input_size=recipe.input_size, gray=recipe.gray, window=recipe.window)
    model = dict(
        type=kind,
        backbone=dict(type='MobileNetV1', **recipe.backbone()),
        data_preprocessor=dict(**recipe.preprocessor(), **fed),
        **sizes,
    )
    return Config(dict(model=model), cfg_text=name, filename=name)  # it would read the file
