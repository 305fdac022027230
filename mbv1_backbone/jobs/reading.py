"""The images of a part of a job: files, and what is in tar and Parquet files, a few at a time."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from mbv1_backbone.common.errors import InputError, one_line
from mbv1_backbone.common.files import shown
from mbv1_backbone.common.folders import SUFFIXES
from mbv1_backbone.common.images import MAX_BYTES, read_file
from mbv1_backbone.common.prefetch import prefetch
from mbv1_backbone.jobs.inputs import IMAGE, PARQUET, TAR, Columns, Encoded, Input, reading

__all__ = ['read_images']

_READERS, _AHEAD = 4, 8  # files that are read at once, and that are held
_ROWS = 16  # of a Parquet file that are held
# What a damaged archive raises while it is read as a stream.
_DAMAGED = (tarfile.TarError, zlib.error, EOFError)
# What is said of one file, and is no fault of the disk or the network.
_OF_A_FILE = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


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
    path = one.path
    try:
        if '://' not in path:
            return Encoded(one.source, one.file, read_file(path))
        with reading(path), fsspec.open(path) as file:
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


class _Member(tarfile.TarInfo):
    """A member of a tar file. A damaged header is an error, where ``tarfile`` takes it for the file's end."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> _Member:
        """Read the next header.

        Raises:
            EOFHeaderError: At the mark of the file's end.
            ReadError: If the header is damaged, cut short, or neither it nor the mark is there.
        """
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # typeshed leaves it out
            raise
        except tarfile.EmptyHeaderError:  # type: ignore[attr-defined]
            raise tarfile.ReadError('it ends without the mark of its end') from None
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None


def _in_tar(source: str) -> Iterator[Encoded]:
    count = 0
    try:
        with (
            reading(source),
            fsspec.open(source) as file,
            tarfile.open(fileobj=file, mode='r|*', tarinfo=_Member) as archive,
        ):
            for member in archive:
                path = PurePosixPath(member.name)
                if path.suffix.lower() not in SUFFIXES or path.name.startswith('.'):
                    continue
                if member.islnk() or member.issym():
                    reason = f'a link to {shown(member.linkname)}: give the file itself'
                    yield Encoded(source, member.name, None, reason)
                if not member.isfile():
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


class _Watched:
    """A file that remembers whether it could not be read.

    PyArrow says by an ``OSError`` that a page is damaged, too.

    Attributes:
        failed: Whether reading has raised something.
    """

    def __init__(self, file: Any) -> None:
        self._file, self.failed = file, False

    def read(self, size: int = -1) -> bytes:
        """See ``io.RawIOBase``."""
        try:
            content: bytes = self._file.read(size)
        except BaseException:
            self.failed = True
            raise
        return content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _in_parquet(source: str, columns: Columns) -> Iterator[Encoded]:
    wanted = [columns.image] + ([columns.name] if columns.name else [])
    count, watched = 0, None
    try:
        with reading(source), fsspec.open(source) as file, pq.ParquetFile(watched := _Watched(file)) as table:
            there = table.schema_arrow.names
            if missing := [name for name in wanted if name not in there]:
                raise InputError(f'{source}: no column {missing[0]} (--image-column, --name-column): {there}')
            _check_column(source, columns.image, table.schema_arrow.field(columns.image).type)
            for batch in table.iter_batches(_ROWS, columns=wanted):
                for row in batch.to_pylist():
                    image = row[columns.image]
                    content = image.get('bytes') if isinstance(image, dict) else image
                    name = row[columns.name] if columns.name else None
                    yield _checked(source, f'row {count}' if name is None else str(name), content)
                    count += 1
    except InputError as error:
        is_read = watched is not None and not watched.failed
        if not (is_read and isinstance(error.__cause__, pa.ArrowInvalid | OSError)):
            raise
        yield Encoded(source, '', None, f'damaged after {count} images: {one_line(error.__cause__)}')


def _check_column(source: str, name: str, kind: Any) -> None:
    if pa.types.is_struct(kind) and kind.get_field_index('bytes') >= 0:
        kind = kind.field('bytes').type
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise InputError(f'{source}: column {name} holds {kind}, not bytes of images (--image-column)')
