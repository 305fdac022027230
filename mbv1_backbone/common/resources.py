"""Where configs, tools and model zoo are: beside the package in a clone, inside it once installed.

A wheel holds them in ``mbv1_backbone/.mim``, which is where OpenMMLab's ``mim`` looks for a package's own.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from mbv1_backbone.common.errors import InputError

__all__ = ['SCOPE', 'config_names', 'find_config', 'resource_folder']

SCOPE = 'mbv1_backbone::'  # before a config's name, in the manner of mmengine
_PACKAGE = Path(__file__).resolve().parents[1]


def resource_folder(name: str) -> Path:
    """The folder ``configs``, ``tools`` or ``model_zoo`` of this installation.

    Raises:
        InputError: If the installation lacks it.
    """
    for root in (_PACKAGE / '.mim', _PACKAGE.parent):
        if (root / 'model-index.yml').is_file() and (root / name).is_dir():
            return root / name
    raise InputError(
        f'{name}/ is neither in {_PACKAGE / ".mim"} nor beside {_PACKAGE}: the installation is not whole'
    )


def config_names() -> list[str]:
    """All configs that can be trained, ``ROOM/NAME.py`` each, sorted."""
    folder = resource_folder('configs')
    return sorted(path.relative_to(folder).as_posix() for path in folder.glob('[!_]*/*.py'))


def find_config(config: str | os.PathLike[str]) -> Path:
    """The file of a config.

    Args:
        config: A path; or a config of this project, wherever the program runs: as
            ``mbv1_backbone::detection/ssd_mbv1_coco.py``, ``configs/detection/ssd_mbv1_coco.py``,
            ``detection/ssd_mbv1_coco.py`` or just ``ssd_mbv1_coco``. A file of that path comes first.

    Raises:
        InputError: If there is none.

    Example:
        >>> find_config('ssd_mbv1_coco').name
        'ssd_mbv1_coco.py'
    """
    text = os.fspath(config)
    if Path(text).is_file():
        return Path(text)
    if Path(text).is_absolute():
        raise InputError(f'config {text}: no such file')
    name = text.removeprefix(SCOPE).removeprefix('configs/')
    folder = resource_folder('configs')
    for path in (folder / name, folder / f'{name}.py'):
        if path.is_file() and folder in path.resolve().parents:
            return path
    names = config_names()
    stem = Path(name).name.removesuffix('.py')
    if '/' not in name and (found := [n for n in names if Path(n).stem == stem]):
        return folder / found[0]
    near = difflib.get_close_matches(stem, [Path(n).stem for n in names], n=1)
    guess = f'; did you mean {near[0]}?' if near else ''
    raise InputError(f'config {text}: no such file, and no such config of mbv1_backbone{guess}')
