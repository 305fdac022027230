"""Whether a file or folder can be written, asked before the work that fills it."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from glob import has_magic, iglob
from pathlib import Path

from mbv1_backbone.common.errors import InputError, NoSpaceError, is_full
from mbv1_backbone.common.folders import SUFFIXES

__all__ = ['check_apart', 'check_output_file', 'check_output_folder']


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
    _check_named(path, name)
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
    read: Sequence[str | os.PathLike[str]] = (),
) -> Path:
    """Check that a folder can be made, or written in; nothing is left behind.

    Args:
        path: Of the folder; it and those on the way to it need not exist.
        files: Names, relative to it, that will be written.
        empty: Whether there may be nothing in it.
        name: Of the value, such as the option that it was given by.
        read: Files that none of ``files`` may be.

    Returns:
        The path.

    Raises:
        InputError: If something that is no folder is in its place or on the way, there is something in it
            and must not be, a folder is in a file's place, a file is read, or the system refuses.
        NoSpaceError: If the disk is full.
    """
    _check_named(path, name)
    path = Path(path)
    with _system_errors(f'{name} {path}'):
        _check_folder(path, f'{name} {path}')
        if empty and path.is_dir() and any(path.iterdir()):
            raise InputError(f'{name} {path}: is not an empty folder')
        for file in files:
            _check_place(path / file, f'{name} {path / file}')
        _check_unread([path / file for file in files], read, name)
        for folder in {(path / file).parent for file in files} - {path}:
            _check_folder(folder, f'{name} {folder}')
    return path


def check_apart(path: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str]], name: str) -> None:
    """Check that a file to write is none of those that are read, under whatever name.

    Args:
        path: Of the file; it need not exist.
        inputs: Files, folders of images, or globs; what is not there is passed over.
        name: Of the value, such as the option that it was given by.

    Raises:
        InputError: If it is one of them.
    """
    path = Path(path)
    if path.exists():
        for one in inputs:
            if _is_read(path, os.fspath(one)):
                raise InputError(f'{name} {path}: is also read ({one}), and would be overwritten')


def _check_unread(files: Iterable[Path], read: Iterable[str | os.PathLike[str]], name: str) -> None:
    """The same of many files: each is looked at once."""
    there = {number: file for file in files if (number := _number(file)) is not None}
    for one in read if there else ():
        if (number := _number(one)) in there:
            raise InputError(f'{name} {there[number]}: is also read ({one}), and would be overwritten')


def _is_read(path: Path, given: str) -> bool:
    if os.path.isdir(given):
        return path.suffix.lower() in SUFFIXES and path.resolve().is_relative_to(Path(given).resolve())
    if has_magic(given) and not os.path.exists(given):
        return any(_number(path) == _number(one) for one in iglob(given, recursive=True))
    return _number(path) == _number(given)


def _number(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """What is one of a file under all its names; None where it is not there, or it can be no path."""
    try:
        about = os.stat(path)
    except (OSError, ValueError):
        return None
    return about.st_dev, about.st_ino


def _check_named(path: str | os.PathLike[str], name: str) -> None:
    """An empty name, as of a variable that is not set, would be the working folder; an address one, too."""
    if not os.fspath(path):
        raise InputError(f'{name} is empty')
    if re.match('[A-Za-z][A-Za-z0-9+.-]*://', str(path)):
        raise InputError(f'{name} {path}: is an address, and must be a place of this machine')


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
    """A file is written to a place where there is nothing, or a file; Core ML's packages are folders."""
    if path.suffix == '.mlpackage' and (path / 'Manifest.json').is_file():
        return
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
