"""Whose an error is: the project's own code's, or that of a config that a library was building from."""

from __future__ import annotations

import os
import typing
from pathlib import Path
from traceback import extract_tb, walk_tb
from types import FrameType
from typing import Any

__all__ = ['failed_assertion', 'is_defect', 'is_of_config', 'misfits']

_PACKAGE = Path(__file__).resolve().parents[1]
_ERRORS = Path(__file__).with_name('errors.py')
# Libraries that build what a config names: an error raised in them is the config's.
_BUILDERS = ('mmengine', 'mmdet', 'mmcv', 'mmpretrain', 'mmseg', 'mmpose')


def is_of_config(error: Exception) -> bool:
    """Whether an error was raised while mmengine built what a config names, and is the config's.

    So are a library's complaints about values, and those of our own classes about values that are not what
    their annotations ask for.
    """
    frames = [frame for frame, _ in walk_tb(_first(error).__traceback__)]
    building = any(_in_mmengine(frame) and frame.f_code.co_name.startswith('build') for frame in frames)
    return building and not is_defect(error)


def misfits(error: BaseException) -> list[str]:
    """Values of a config that are not what the class that was being built asks for, a sentence each."""
    from beartype import BeartypeConf
    from beartype.door import is_bearable

    found: list[str] = []
    numbers = BeartypeConf(is_pep484_tower=True)  # whole numbers are floats, too
    for kind, values in _built(_first(error)):
        try:
            hints = typing.get_type_hints(kind.__init__)
        except (NameError, TypeError, AttributeError):  # annotations for type checkers alone, or none
            continue
        found += [
            f'{kind.__name__}: {name} must be {_shown(hint)}, got {values[name]!r}'
            for name, hint in hints.items()
            if name in values and not is_bearable(values[name], hint, conf=numbers)
        ]
    return found


def failed_assertion(error: AssertionError) -> str:
    """The condition of an assertion without a message, and the class of a config in which it stands."""
    first = _first(error)
    place = extract_tb(first.__traceback__)[-1:]
    kinds = ''.join(f'{kind.__name__}: ' for kind, _ in _built(first))
    return f'{kinds}{place[0].line} failed' if place and place[0].line else f'{kinds}AssertionError'


def _first(error: BaseException) -> BaseException:
    """The first of a chain: mmengine's registry raises anew what a constructor raised."""
    while (inner := error.__cause__ or error.__context__) is not None and type(inner) is type(error):
        error = inner
    return error


def is_defect(error: BaseException) -> bool:
    """Whether the innermost code that is ours or a builder's is ours, and was given values that it takes."""
    error = _first(error)
    files = [frame.f_code.co_filename for frame, _ in walk_tb(error.__traceback__)]
    if isinstance(error, AssertionError) and files:  # a library's are about what it was given
        return Path(files[-1]).is_relative_to(_PACKAGE)
    for file in reversed(files):
        if file.startswith('<frozen'):  # the import system
            continue
        path = Path(file)
        if path.is_relative_to(_PACKAGE):
            if path == _ERRORS:  # where it was caught
                return False
            return not misfits(error)
        if any(name in path.parts for name in _BUILDERS) or not os.path.exists(file):
            return False
    return False


def _built(error: BaseException) -> list[tuple[Any, dict[str, Any]]]:
    """The class that mmengine's registry was building when an error was raised, and the values for it."""
    for frame, _ in reversed(list(walk_tb(error.__traceback__))):
        if _in_mmengine(frame) and frame.f_code.co_name == 'build_from_cfg':
            kind, values = (frame.f_locals.get(name) for name in ('obj_cls', 'args'))
            return [(kind, values)] if isinstance(kind, type) and isinstance(values, dict) else []
    return []


def _in_mmengine(frame: FrameType) -> bool:
    return 'mmengine' in Path(frame.f_code.co_filename).parts


def _shown(hint: object) -> str:
    return (
        hint.__name__
        if isinstance(hint, type)
        else str(hint).replace('typing.', '').replace('collections.abc.', '')
    )
