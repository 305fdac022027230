"""Stands in for ``mmcv._ext``, mmcv's compiled operators, where they are not installed.

mmcv-lite is mmcv without the compiled module, and importing ``mmdet.models`` fails on it
(https://github.com/open-mmlab/mmdetection/issues/10619). ``install`` adds a finder of last resort for
``mmcv._ext``: Python asks it only when every other finder has found nothing, so a compiled mmcv is always
preferred and never touched. Operators are those of ``mmcv_ops``; any other raises an error that names it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ['in_use', 'install']

_NAME = 'mmcv._ext'


class _Operators(ModuleType):
    """The stand-in module: every name is an operator, those we lack raise when called."""

    operators: dict[str, Callable[..., Any]]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith('__'):
            raise AttributeError(name)

        def missing(*_: Any, **__: Any) -> None:
            raise NotImplementedError(
                f"mmcv's operator {name!r} needs the compiled mmcv: pip install mmcv "
                '(with mmcv-lite, mbv1_backbone provides those that mmdet calls)'
            )

        return self.operators.get(name, missing)


class _Finder(MetaPathFinder, Loader):
    """Finds ``mmcv._ext`` when nobody else does."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self, origin=__file__) if fullname == _NAME else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Operators(spec.name, __doc__)

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__['operators'] = import_module('mbv1_backbone.compat.mmcv_ops').OPERATORS


def install() -> None:
    """Add the finder; a second call adds nothing."""
    if not any(
        type(finder).__qualname__ == '_Finder' and type(finder).__module__ == __name__
        for finder in sys.meta_path
    ):
        sys.meta_path.append(_Finder())


def in_use() -> bool:
    """Whether ``mmcv._ext`` has been imported and is the stand-in."""
    return isinstance(sys.modules.get(_NAME), _Operators)
