"""Reading a config file, which is code of the user's: whatever it does wrong is one line."""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.fileio import load

from mbv1_backbone.common.errors import InputError, Mbv1Error, one_line
from mbv1_backbone.common.resources import SCOPE, resource_folder

__all__ = ['read_config']


def read_config(path: str | os.PathLike[str]) -> Config:
    """Read a config and its bases.

    Raises:
        InputError: If the file is missing, is its own base, raises anything, or has no model.
    """
    if not Path(path).is_file():
        raise InputError(f'config {path}: no such file')
    _check_bases(Path(path), ())
    try:
        cfg = Config.fromfile(str(path))
    except Mbv1Error:
        raise
    except (Exception, SystemExit) as error:
        reason = one_line(error) or type(error).__name__
        raise InputError(reason if str(path) in reason else f'config {path}: {reason}') from error
    if not isinstance(cfg.get('model'), dict) or not cfg.model:
        raise InputError(f'config {path}: has no model, which is a dict')
    return cfg


def _check_bases(path: Path, children: tuple[Path, ...]) -> None:
    """Follow ``_base_`` through files; mmengine follows a circle until Python's stack is full."""
    here = path.resolve()
    if here in children:
        circle = ' -> '.join(p.name for p in (*children[children.index(here) :], here))
        raise InputError(f'config {children[0]}: is its own base: {circle}')
    for base in _bases(path):
        following = path.parent / base
        if '::' in base or '{{' in base:  # mmengine finds or fills in these
            continue
        if not following.is_file():
            raise InputError(
                f'config {path}: its base {base} is not there ({following.resolve()}){_ours(base)}'
            )
        _check_bases(following, (*children, here))


def _ours(base: str) -> str:
    """What to write for a base that a copy of one of our configs has left behind."""
    folder = resource_folder('configs')
    tail = base.replace('../', '')
    found = sorted(path.relative_to(folder).as_posix() for path in folder.glob(f'*/{tail}')) if tail else []
    return f'; ours is {" or ".join(SCOPE + name for name in found)}' if found else ''


def _bases(path: Path) -> list[str]:
    """The ``_base_`` of a file, where it is written out."""
    try:
        value: Any = _base_of_code(path) if path.suffix == '.py' else load(str(path)).get('_base_')
    except Exception:  # whatever is wrong with the file, reading it says
        return []
    return [value] if isinstance(value, str) else [v for v in value or () if isinstance(v, str)]


def _base_of_code(path: Path) -> Any:
    for line in ast.parse(path.read_text()).body:
        if isinstance(line, ast.Assign) and any(getattr(t, 'id', None) == '_base_' for t in line.targets):
            return ast.literal_eval(line.value)
    return None
