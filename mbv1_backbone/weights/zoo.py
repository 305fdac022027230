"""The model zoo: what this project has trained, by name, in ``model_zoo/``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.resources import find_config, resource_folder


def zoo_folder() -> Path:
    """The folder of metafile, model cards and weights: the clone's, or the installed package's."""
    return resource_folder('model_zoo')


def zoo_models() -> dict[str, dict[str, Any]]:
    """Entries of ``model_zoo/metafile.yml`` by name."""
    metafile = zoo_folder() / 'metafile.yml'
    return {model['Name']: model for model in yaml.safe_load(metafile.read_text())['Models']}


def find_checkpoint(checkpoint: str | os.PathLike[str]) -> Path:
    """The file of a checkpoint, given by its path or by its name in the zoo.

    Raises:
        InputError: If it is neither; the message lists the zoo's names.
    """
    path = Path(checkpoint)
    if path.is_file():
        return path
    models = zoo_models()
    if os.fspath(checkpoint) in models:
        return zoo_folder() / models[os.fspath(checkpoint)]['Weights']
    raise InputError(
        f'checkpoint {checkpoint}: no such file, and no such model in the zoo ({", ".join(models)})'
    )


def config_of(name: str) -> Path:
    """The config that a model of the zoo was trained with.

    Raises:
        InputError: If the zoo has no such model.
    """
    models = zoo_models()
    if name not in models:
        raise InputError(f'{name}: no such model in the zoo ({", ".join(models)})')
    return find_config(resource_folder('configs').parent / models[name]['Config'])


def find_any_config(config: str | os.PathLike[str]) -> Path:
    """The config of a model of the zoo, or any other that ``find_config`` finds.

    Raises:
        InputError: If there is none.
    """
    name = os.fspath(config)
    return config_of(name) if name in zoo_models() else find_config(name)
