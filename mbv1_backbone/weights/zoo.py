"""The model zoo by name: what this project has trained, in ``model_zoo/``, and weights of other projects."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.resources import find_config, resource_folder
from mbv1_backbone.weights.cache import cache_folder
from mbv1_backbone.weights.external import external_models, import_external

__all__ = [
    'config_of',
    'find_any_config',
    'find_checkpoint',
    'get',
    'licence_of',
    'zoo_folder',
    'zoo_models',
    'zoo_names',
]

# students of gray faces, by those in colour that do better
_REPLACED = {
    f'facenet_mbv1_{size}_distill': f'facenet_mbv1_{size}_color'
    for size in ('1.0-160', '1.0-128', '0.75-160', '0.75-128', '0.25-112')
}


def zoo_folder() -> Path:
    """The folder of metafile, model cards and weights: the clone's, or the installed package's."""
    return resource_folder('model_zoo')


def zoo_models() -> dict[str, dict[str, Any]]:
    """Entries of ``model_zoo/metafile.yml`` by name."""
    metafile = zoo_folder() / 'metafile.yml'
    return {model['Name']: model for model in yaml.safe_load(metafile.read_text())['Models']}


def zoo_names() -> list[str]:
    """All names: this project's models, then those of other projects."""
    return [*zoo_models(), *external_models()]


def get(name: str) -> Path:
    """The weights of a model of the zoo, as a file of this project's.

    Another project's are fetched from where they were released, held to their hash, imported and kept in the
    cache; the second call needs no network.

    Args:
        name: Of ``model_zoo/metafile.yml`` or ``model_zoo/external.yml``.

    Raises:
        InputError: If the zoo has no such model, or its files cannot be had or read.

    Example:
        >>> get('facenet_mbv1_1.0-160_color').name
        'facenet_mbv1_1.0-160_color.safetensors'
    """
    models = zoo_models()
    if name in models:
        return _file_of(models[name])
    others = external_models()
    if name in others:
        return import_external(others[name])
    raise InputError(f'{name}: no such model in the zoo {_listed(name, [*models, *others])}')


def _file_of(entry: dict[str, Any]) -> Path:
    """The weights of this project's model."""
    return zoo_folder().joinpath(*entry['Weights'].split('/')[-2:])  # of a URL, its end


def find_checkpoint(checkpoint: str | os.PathLike[str]) -> Path:
    """The file of a checkpoint, given by its path or by its name in the zoo; see ``get``.

    Raises:
        InputError: If it is neither; the message says which of the zoo's names is like it.
    """
    path = Path(checkpoint)
    if path.is_file():
        return path
    name = os.fspath(checkpoint)
    models, others = zoo_models(), external_models()
    if name in models or name in others:
        return get(name)
    listed = _listed(name, [*models, *others])
    raise InputError(f'checkpoint {checkpoint}: no such file, and no such model in the zoo {listed}')


def licence_of(path: Path) -> str:
    """What the zoo says of the licence of a file of weights; nothing of files that are not the zoo's.

    Args:
        path: As ``get`` gives it.
    """
    for entry in zoo_models().values():
        if path.resolve() == _file_of(entry).resolve():
            return str(entry['Metadata']['License'])
    for name, model in external_models().items():
        if path.resolve().parent == (cache_folder() / name).resolve():
            return str(model.entry['Metadata']['License'])
    return ''


def _listed(name: str, names: Sequence[str]) -> str:
    """The name that is most like ``name``, and what lists all."""
    if name in _REPLACED:
        return f'any more: {_REPLACED[name]} is in its place (galleries move by mbv1 gallery reembed)'
    near = difflib.get_close_matches(name, names, n=1)
    return '(mbv1 zoo lists them)' + (f'; did you mean {near[0]}?' if near else '')


def config_of(name: str | os.PathLike[str]) -> Path | None:
    """The config that a model of the zoo was trained with, or is built by; None where it has none.

    Args:
        name: Of the zoo; anything else has no config.
    """
    key, others = os.fspath(name), external_models()
    entry = others[key].entry if key in others else zoo_models().get(key, {})
    return find_config(resource_folder('configs').parent / entry['Config']) if 'Config' in entry else None


def find_any_config(config: str | os.PathLike[str]) -> Path:
    """The config of a model of the zoo, or any other that ``find_config`` finds.

    Raises:
        InputError: If there is none.
    """
    name = os.fspath(config)
    if name not in zoo_names():
        return find_config(name)
    path = config_of(name)
    if path is None:
        raise InputError(f'{name}: weights that no config of the zoo belongs to')
    return path
