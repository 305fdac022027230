"""Whether a file or folder can be written, asked before the work that fills it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mbv1_backbone.common.errors import InputError, NoSpaceError, is_full

__all__ = ['check_output_file', 'check_output_folder']


def check_output_file(
    path: str | os.PathLike[str], suffixes: Sequence[str] = (), name: str = 'output file'
) -> Path:
    """Check that a file can be written, or replaced; nothing is left behind.

    Args:
        path: Of the file; folders on the way to it need not exist.
        suffixes: Of which it must have one; none for any.
        name: Of the value, such as the option that it was given by.

    Returns:
        The path.

    Raises:
        InputError: If its suffix is another, a folder or a device is in its place, something on the way is no
            folder, or the system refuses to write there.
        NoSpaceError: If the disk is full.
    """
    path = Path(path)
    if suffixes and path.suffix not in suffixes:
        raise InputError(f'{name} must end in {" or ".join(suffixes)}, got {path}')
    with _system_errors(f'{name} {path}'):
        _check_place(path, f'{name} {path}')
        _check_folder(path.parent, f'{name} {path}')
    return path


def check_output_folder(
    path: str | os.PathLike[str],
    files: Sequence[str] = (),
    empty: bool = False,
    name: str = 'output folder',
) -> Path:
    """Check that a folder can be made, or written in; nothing is left behind.

    Args:
        path: Of the folder; it and those on the way to it need not exist.
        files: Names, relative to it, that will be written.
        empty: Whether there may be nothing in it.
        name: Of the value, such as the option that it was given by.

    Returns:
        The path.

    Raises:
        InputError: If something that is no folder is in its place or on the way, there is something in it
            and must not be, a folder is in a file's place, or the system refuses to write there.
        NoSpaceError: If the disk is full.
    """
    path = Path(path)
    with _system_errors(f'{name} {path}'):
        _check_folder(path, f'{name} {path}')
        if empty and path.is_dir() and any(path.iterdir()):
            raise InputError(f'{name} {path}: is not an empty folder')
        for file in files:
            _check_place(path / file, f'{name} {path / file}')
        for folder in {(path / file).parent for file in files} - {path}:
            _check_folder(folder, f'{name} {folder}')
    return path


@contextmanager
def _system_errors(subject: str) -> Iterator[None]:
    try:
        yield
    except (InputError, NoSpaceError):
        raise
    except OSError as error:
        kind = NoSpaceError if is_full(error) else InputError
        raise kind(f'{subject}: {error.strerror or error}') from error


def _check_place(path: Path, subject: str) -> None:
    """A file is written to a place where there is nothing, or a file."""
    if path.is_dir():
        raise InputError(f'{subject}: is a folder, not a file')
    if path.exists() and not path.is_file():
        raise InputError(f'{subject}: is not a regular file')


def _check_folder(folder: Path, subject: str) -> None:
    """Write a nameless file into the folder, or into the nearest above it that exists."""
    while not folder.exists():
        if folder.is_symlink():
            raise InputError(f'{subject}: {folder} is a link to what does not exist')
        folder = folder.parent
    if not folder.is_dir():
        raise InputError(f'{subject}: {folder} is a file, not a folder')
    room = os.statvfs(folder)
    if (room.f_blocks and not room.f_bavail) or (room.f_files and not room.f_favail):
        raise NoSpaceError(f'{subject}: the disk of {folder} is full')
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if is_full(error):
            raise
        raise InputError(f'{subject}: cannot write in {folder}: {error.strerror or error}') from error
