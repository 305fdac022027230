"""Public names of a package that are loaded when they are first asked for (PEP 562)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lazy_loader

from mbv1_backbone.common.errors import NotInstalledError

__all__ = ['public_names']

# What to install for a module that is not there, where pip has another name for it.
_DISTRIBUTIONS = {
    'PIL': 'pillow',
    'cv2': 'opencv-python',
    'faiss': 'faiss-cpu',
    'mmcv': 'mmcv-lite (or mmcv)',
    'mmengine': 'mmengine (or onedl-mmengine)',
    'yaml': 'pyyaml',
}


def public_names(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Make the names of a package's ``__init__.pyi`` its own, each loaded at its first use.

    The stub is the one list of names: type checkers read it, and so does this.

    Args:
        package: Its ``__name__``.
        file: Its ``__file__``; the stub lies beside it.

    Returns:
        ``__getattr__``, ``__dir__`` and ``__all__`` for the package. ``__getattr__`` raises an
        ``NotInstalledError`` that says what to install where a name needs a library that is not there.
    """
    load, names, public = lazy_loader.attach_stub(package, file)

    def get(name: str) -> Any:
        try:
            return load(name)
        except ModuleNotFoundError as error:
            missing = (error.name or '').partition('.')[0]
            if not missing or missing == package.partition('.')[0]:
                raise
            install = _DISTRIBUTIONS.get(missing, missing)
            message = f'{package}.{name} needs {missing}: pip install {install}'
            raise NotInstalledError(message, name=error.name) from error

    return get, names, public
