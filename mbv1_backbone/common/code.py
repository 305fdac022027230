"""This project's own code as part of a key: a version's number does not change with every edit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

__all__ = ['hash_of_code']

_PACKAGE = Path(__file__).resolve().parents[1]


@cache
def hash_of_code(rooms: tuple[str, ...]) -> str:
    """SHA-256 of the Python files of some rooms of the package, and of those beside the rooms.

    Args:
        rooms: Names of folders in the package.

    Returns:
        64 hexadecimal digits.
    """
    return _hash([*_PACKAGE.glob('*.py'), *(p for room in rooms for p in (_PACKAGE / room).rglob('*.py'))])


def _hash(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f'{path.relative_to(_PACKAGE).as_posix()} {path.stat().st_size}\n'.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
