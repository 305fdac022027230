"""Writing files so that a kill, a full disk or a power cut leaves the old content or all of the new."""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

__all__ = [
    'HashedWriter',
    'atomic_file',
    'decode',
    'replace_folder',
    'shown',
    'write_atomically',
    'write_json',
]


@contextmanager
def atomic_file(path: str | os.PathLike[str], mode: int | None = None) -> Iterator[BinaryIO]:
    """A file to write to that takes the place of ``path`` when all is well; folders are made.

    Until then it is a temporary file beside it, synced at the end, removed after an error.

    Args:
        path: Of the file.
        mode: Who may read and write it, from its first moment on; None for what the umask lets.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.', suffix='.tmp')
    try:
        with os.fdopen(descriptor, 'wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask() if mode is None else mode)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class HashedWriter:
    """Writes to a file piece by piece.

    Args:
        file: Open for writing.

    Attributes:
        digest: SHA-256 of what was written.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def __call__(self, piece: bytes | memoryview) -> int:
        """Write a piece; how long it is."""
        self.digest.update(piece)
        self._file.write(piece)
        return len(piece)


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Replace ``path`` by ``content``."""
    with atomic_file(path) as file:
        file.write(content)


def replace_folder(made: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Move a folder to where another may be, which is removed; all may read what the umask lets them.

    Args:
        made: The new folder, on the same disk.
        path: Its place.
    """
    path = Path(path)
    for inside in (Path(made), *Path(made).rglob('*')):
        inside.chmod((0o777 if inside.is_dir() else 0o666) & ~_umask())
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f'.{path.name}.') as aside:
        former = Path(aside) / path.name
        if path.exists():
            os.rename(path, former)
        try:
            os.rename(made, path)
        except OSError:
            if former.exists():
                os.rename(former, path)
            raise


def write_json(path: str | os.PathLike[str], value: Any, indent: int | None = None) -> None:
    """Write ``value`` as JSON, atomically.

    Args:
        path: Of the file; its folder is made.
        value: What ``json`` can write.
        indent: Spaces a level; None for one line.
    """
    write_atomically(path, json.dumps(value, indent=indent).encode())


def decode(content: bytes) -> str:
    """The text of a file: UTF-8, or UTF-16 with its byte order mark, as editors and spreadsheets write it.

    Raises:
        UnicodeDecodeError: If it is neither.
    """
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode('utf-16' if wide else 'utf-8-sig')


def shown(path: str | os.PathLike[str]) -> str:
    """A path for a message of one line: escaped where it holds line breaks or is no valid text."""
    text = os.fspath(path)
    return text if text.isprintable() else ascii(text)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
