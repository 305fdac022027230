"""The packages of the extra ``[video]``, where they are installed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mbv1_backbone.common.errors import NotInstalledError

__all__ = ['needed']


def needed(package: str, what: str) -> Any:
    """Import a package of the extra.

    Args:
        package: Its name.
        what: It is for, for the message.

    Raises:
        NotInstalledError: If it is not installed.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise NotInstalledError(
            f"{what} need {error.name or package}: pip install 'mbv1-backbone[video]'", name=error.name
        ) from error
