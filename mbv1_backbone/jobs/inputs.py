"""Images that a job works on: folders, lists, tar and Parquet files, on a disk or at any fsspec URL."""

from __future__ import annotations

import os
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from mbv1_backbone.common.errors import InputError, Mbv1Error, NotInstalledError, one_line
from mbv1_backbone.common.files import decode, shown
from mbv1_backbone.common.folders import SUFFIXES, walk_images
from mbv1_backbone.common.images import MAX_BYTES, read_file
from mbv1_backbone.common.prefetch import prefetch

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
    'read_images',
]

IMAGE, TAR, PARQUET = 'image', 'tar', 'parquet'
_TARS = ('.tar', '.tar.gz', '.tgz', '.tar.bz2', '.tar.xz')
_GLOB = '*?['
_READERS, _AHEAD = 4, 8  # files that are read at once, and that are held
_ROWS = 16  # of a Parquet file that are held
# What a damaged archive raises while it is read as a stream.
_DAMAGED = (tarfile.TarError, zlib.error, EOFError)
# What is said of one file, and is no fault of the disk or the network.
_OF_A_FILE = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


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
    """What is to be read, in the same order every time.

    Args:
        names: Folders of images, lists (``.txt``, a path or URL a line, paths from the list's folder), tar
            files, Parquet files, single images, and globs of these.

    Raises:
        InputError: If one names nothing.
        NotInstalledError: If its kind of URL needs a package that is not there.
    """
    for name in names:
        found = False
        for one in _inputs_of(name):
            found = True
            yield one
        if not found:
            raise InputError(
                f'{shown(name)}: nothing to read there: give folders of images, lists (.txt), tar or Parquet '
                'files, or globs of these'
            )


def _inputs_of(name: str) -> Iterator[Input]:
    with _reading(name):
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
        folder = name.rpartition('/')[0]
        for line in dict.fromkeys(line.strip() for line in lines):
            if line:
                yield Input(IMAGE, '', line if '://' in line or line[0] == '/' else f'{folder}/{line}')
    elif lower.endswith(SUFFIXES):
        folder, _, file = name.rpartition('/')
        yield Input(IMAGE, folder, file)
    else:
        raise InputError(f'{shown(name)}: not an image, a list (.txt), a tar or a Parquet file')


def read_images(inputs: Sequence[Input], columns: Columns) -> Iterator[Encoded]:
    """The images of a part of a job, a few at a time.

    What is wrong with one image, or a damaged file, is told as an ``Encoded`` without content.

    Args:
        inputs: Single images, or one tar or Parquet file.
        columns: Of Parquet files.

    Raises:
        InputError: If the disk or the network fails: trying again may help. Also if a Parquet file has not
            these columns.
        NotInstalledError: If a kind of URL needs a package that is not there.
    """
    if inputs[0].kind == IMAGE:
        yield from prefetch(_read_one, inputs, _READERS, _AHEAD)
    for one in inputs:
        if one.kind == TAR:
            yield from _in_tar(one.source)
        elif one.kind == PARQUET:
            yield from _in_parquet(one.source, columns)


def _read_one(one: Input) -> Encoded:
    path = f'{one.source}/{one.file}' if one.source else one.file
    try:
        if '://' not in path:
            return Encoded(one.source, one.file, read_file(path))
        with _reading(path), fsspec.open(path) as file:
            return _checked(one.source, one.file, file.read(MAX_BYTES + 1))
    except InputError as error:
        system = isinstance(error.__cause__, OSError) or '://' in path
        if system and not isinstance(error.__cause__, _OF_A_FILE):
            raise
        return Encoded(one.source, one.file, None, str(error))


def _checked(source: str, file: str, content: bytes | None) -> Encoded:
    if content is None:
        return Encoded(source, file, None, 'no image in this row')
    if len(content) > MAX_BYTES:
        return Encoded(source, file, None, f'more than {MAX_BYTES} bytes')
    return Encoded(source, file, content)


def _in_tar(source: str) -> Iterator[Encoded]:
    count = 0
    try:
        with _reading(source), fsspec.open(source) as file, tarfile.open(fileobj=file, mode='r|*') as archive:
            for member in archive:
                path = PurePosixPath(member.name)
                if not member.isfile() or path.suffix.lower() not in SUFFIXES or path.name.startswith('.'):
                    continue
                stream = archive.extractfile(member)
                content = stream.read(MAX_BYTES + 1) if stream is not None else None
                if content is not None and len(content) < min(member.size, MAX_BYTES):
                    raise tarfile.ReadError('unexpected end of data')
                count += 1
                yield _checked(source, member.name, content)
    except InputError as error:
        if not isinstance(error.__cause__, _DAMAGED):
            raise
        yield Encoded(source, '', None, f'damaged after {count} images: {one_line(error.__cause__)}')


def _in_parquet(source: str, columns: Columns) -> Iterator[Encoded]:
    wanted = [columns.image] + ([columns.name] if columns.name else [])
    count = 0
    try:
        with _reading(source), fsspec.open(source) as file, pq.ParquetFile(file) as table:
            there = table.schema_arrow.names
            if missing := [name for name in wanted if name not in there]:
                raise InputError(f'{source}: no column {missing[0]} (--image-column, --name-column): {there}')
            _check_column(source, columns.image, table.schema_arrow.field(columns.image).type)
            for batch in table.iter_batches(_ROWS, columns=wanted):
                for row in batch.to_pylist():
                    image = row[columns.image]
                    content = image.get('bytes') if isinstance(image, dict) else image
                    name = str(row[columns.name]) if columns.name else f'row {count}'
                    count += 1
                    yield _checked(source, name, content)
    except InputError as error:
        if not isinstance(error.__cause__, pa.ArrowInvalid):
            raise
        yield Encoded(source, '', None, f'damaged after {count} images: {one_line(error.__cause__)}')


def _check_column(source: str, name: str, kind: Any) -> None:
    if pa.types.is_struct(kind) and kind.get_field_index('bytes') >= 0:
        kind = kind.field('bytes').type
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise InputError(f'{source}: column {name} holds {kind}, not bytes of images (--image-column)')


@contextmanager
def _reading(name: str) -> Iterator[None]:
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
