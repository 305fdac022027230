"""The model zoo: what this project has trained, by name, in ``model_zoo/`` of the repository."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from mbv1_backbone.common.errors import InputError

FOLDER = Path(__file__).resolve().parents[2] / 'model_zoo'


def zoo_models() -> dict[str, dict[str, Any]]:
    """Entries of ``model_zoo/metafile.yml`` by name; none where the package was installed without it."""
    metafile = FOLDER / 'metafile.yml'
    if not metafile.is_file():
        return {}
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
        return FOLDER / models[os.fspath(checkpoint)]['Weights']
    names = ', '.join(models) or 'none here: model_zoo/ comes with a clone'
    raise InputError(f'checkpoint {checkpoint}: no such file, and no such model in the zoo ({names})')
