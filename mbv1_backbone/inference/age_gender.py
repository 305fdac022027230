"""The network of age and gender that the zoo's strongest embedder is a part of."""

from __future__ import annotations

import os
from pathlib import Path

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.face.age_gender import AgeGenderModel
from mbv1_backbone.weights.external import external_models, fetch_external
from mbv1_backbone.weights.parts import is_tfjs
from mbv1_backbone.weights.tfjs import read_age_gender

__all__ = ['SOURCE', 'age_gender_model']

SOURCE = 'vladmandic/facenet_mobilenetv1_vggface2'  # in the zoo


def age_gender_model(source: str | os.PathLike[str] = SOURCE) -> AgeGenderModel:
    """The network of a file or of a name in the zoo, with its weights.

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
    weights = read_age_gender(path)
    recipe = weights.recipe
    model = AgeGenderModel(
        backbone=dict(type='MobileNetV1', **recipe.backbone()),
        shared_dims=len(weights.state['shared.bias']),
        num_ages=len(weights.state['age.bias']),
        data_preprocessor=dict(**recipe.preprocessor(), input_size=recipe.input_size, window=recipe.window),
    )
    model.load_state_dict(weights.state, strict=False)
    return model
