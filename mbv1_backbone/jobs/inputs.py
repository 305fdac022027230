"""What a job works on: folders, lists, tar and Parquet files, on a disk or at any fsspec URL."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import fsspec

from mbv1_backbone.common.errors import InputError, Mbv1Error, NotInstalledError, one_line
from mbv1_backbone.common.files import decode, shown
from mbv1_backbone.common.folders import SUFFIXES, walk_images

__all__ = [
    'IMAGE',
    'PARQUET',
    'TAR',
    'Columns',
    'Encoded',
    'Input',
    'absolute',
    'check_inputs',
    'list_inputs',
    'reading',
]

IMAGE, TAR, PARQUET = 'image', 'tar', 'parquet'
_TARS = ('.tar', '.tar.gz', '.tgz', '.tar.bz2', '.tar.xz')
_GLOB = '*?['


@dataclass(frozen=True)
class Input:
    """What one part of a job reads, or one of the images in it.

    Attributes:
        kind: ``IMAGE``, ``TAR`` or ``PARQUET``.
        source: Folder of an image, empty in a list; else the file or URL.
        file: Of an image, relative to its folder, or as the list names it; else empty.
    """

    kind: str
    source: str
    file: str = ''

    @property
    def path(self) -> str:
        """Of the file, or its URL."""
        return f'{self.source}/{self.file}' if self.source and self.file else self.source or self.file


@dataclass(frozen=True)
class Encoded:
    """An image file's content, or why there is none.

    Attributes:
        source: Folder, tar or Parquet file that it is in; empty in a list.
        file: Its name there.
        content: The file's bytes; None where it cannot be read.
        reason: Why not.
    """

    source: str
    file: str
    content: bytes | None
    reason: str = ''


@dataclass(frozen=True)
class Columns:
    """Where images are in Parquet files.

    Attributes:
        image: Column of bytes, or of records with ``bytes``, as Hugging Face's data sets have them.
        name: Column of their names; None where they have none, and are named by their row.
    """

    image: str = 'image'
    name: str | None = None


def absolute(name: str) -> str:
    """An input as every process finds it: a path from the root, or a URL as it is."""
    return name if '://' in name else os.path.abspath(name)


def check_inputs(names: Iterable[str]) -> None:
    """Check what costs nothing: that paths are there, before a network is loaded.

    Raises:
        InputError: If one is not, and is neither a glob nor a URL.
    """
    for name in names:
        if '://' not in name and not any(sign in name for sign in _GLOB) and not os.path.exists(name):
            raise InputError(f'{shown(name)}: no such file or folder')


def list_inputs(names: Iterable[str]) -> Iterator[Input]:
    """What is to be read, in the same order every time, and each file once.

    Args:
        names: Folders of images, lists (``.txt``, a path or URL a line, paths from the list's folder), tar
            files, Parquet files, single images, and globs of these.

    Raises:
        InputError: If one names nothing.
        NotInstalledError: If its kind of URL needs a package that is not there.
    """
    given = list(dict.fromkeys(names))
    taken: set[str] | None = set() if _may_meet(given) else None
    for name in given:
        found = False
        for one in _inputs_of(name):
            found = True
            if taken is not None:
                if one.path in taken:
                    continue
                taken.add(one.path)
            yield one
        if not found:
            raise InputError(
                f'{shown(name)}: nothing to read there: give folders of images, lists (.txt), tar or Parquet '
                'files, or globs of these'
            )


def _may_meet(names: Sequence[str]) -> bool:
    """Whether two names may lead to one file; of very many images no set is held where none can."""
    starts = sorted(re.split(r'[*?[]', absolute(name))[0] for name in names)
    lists = any(name.lower().endswith('.txt') for name in names)
    return lists or any(map(str.startswith, starts[1:], starts))


def _inputs_of(name: str) -> Iterator[Input]:
    with reading(name):
        files, path = fsspec.core.url_to_fs(name)
        if fsspec.utils.get_protocol(name) == 'file' and os.path.isdir(path):
            folder = Path(path)
            images = walk_images(folder)
            images.log(shown(name))
            yield from (Input(IMAGE, path, image.relative_to(folder).as_posix()) for image in images)
        elif files.isdir(path):
            for file in sorted(files.find(path)):
                inside = PurePosixPath(file).relative_to(path)
                if inside.suffix.lower() in SUFFIXES and not any(part[0] == '.' for part in inside.parts):
                    yield Input(IMAGE, name.rstrip('/'), str(inside))
        elif files.exists(path):
            yield from _of_file(name)
        else:
            matches = sorted(files.glob(path)) if any(sign in path for sign in _GLOB) else []
            for match in matches:
                yield from _of_file(files.unstrip_protocol(match) if '://' in name else match)


def _of_file(name: str) -> Iterator[Input]:
    lower = name.lower()
    if lower.endswith(_TARS):
        yield Input(TAR, name)
    elif lower.endswith('.parquet'):
        yield Input(PARQUET, name)
    elif lower.endswith('.txt'):
        with fsspec.open(name) as file:
            lines = decode(file.read()).splitlines()
        folder = absolute(name).rpartition('/')[0]
        for line in dict.fromkeys(line.strip() for line in lines):
            if line:
                yield Input(IMAGE, '', line if '://' in line or line[0] == '/' else f'{folder}/{line}')
    elif lower.endswith(SUFFIXES):
        folder, _, file = name.rpartition('/')
        yield Input(IMAGE, folder, file)
    else:
        raise InputError(f'{shown(name)}: not an image, a list (.txt), a tar or a Parquet file')


@contextmanager
def reading(name: str) -> Iterator[None]:
    """What file systems and readers raise, as one line about ``name``.

    Raises:
        InputError: In place of any of theirs, which is its cause.
        NotInstalledError: If a package for this kind of URL is not there.
    """
    try:
        yield
    except (Mbv1Error, GeneratorExit):
        raise
    except ImportError as error:
        raise NotInstalledError(f'{shown(name)}: {one_line(error)}', name=error.name) from error
    except Exception as error:  # of botocore, gcsfs, aiohttp, ...: any kind
        missing = (
            'no such file' if isinstance(error, FileNotFoundError) else ''
        )  # of object stores: a bare key
        reason = getattr(error, 'strerror', None) or missing or one_line(error) or type(error).__name__
        raise InputError(f'{shown(name)}: {reason}') from error
