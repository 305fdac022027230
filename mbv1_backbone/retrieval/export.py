"""Galleries as single files: pieces of some thousand entries in a ``.npz``, without pickle.

``about.npy`` holds JSON: what the gallery is tied to and what people call that, how many entries
there are, what was corrected, and the calibration.
Piece ``i`` is ``vectors_i.npy``, float32 (N, dimension), and ``entries_i.npy``, JSON as UTF-8 bytes: a list
of N objects with the fields of ``Entry``. So neither writing nor reading ever holds more than a piece.
"""

from __future__ import annotations

import io
import json
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import InputError, Mbv1Error, NoSpaceError, is_full
from mbv1_backbone.common.files import atomic_file
from mbv1_backbone.retrieval.interface import GalleryLike
from mbv1_backbone.retrieval.maintenance import counted
from mbv1_backbone.retrieval.records import Correction, Entry
from mbv1_backbone.retrieval.writes import checked_correction

__all__ = ['export', 'import_file', 'read_about', 'read_entries']

_PIECE = 1000  # entries
_PIECE_CHARACTERS = 4 << 20  # of its entries as JSON, after which a piece ends
_PIECE_BYTES = 64 << 20  # a larger piece is not ours
_LAYOUT = 2
_FIELDS = tuple(field.name for field in fields(Entry) if field.name != 'id')
_COLUMNS_1 = ('identities', 'files', 'sha256', 'metadata', 'added', 'vectors')


def export(gallery: GalleryLike, path: str | os.PathLike[str]) -> int:
    """Write all entries to a ``.npz`` file; how many there are.

    Raises:
        InputError: If the path does not end in ``.npz``, or cannot be written.
        NoSpaceError: If the disk is full.
    """
    path = Path(path)
    if path.suffix != '.npz':
        raise InputError(f'a gallery is exported to a .npz file, got {path}')
    try:
        with (
            gallery.snapshot(),
            atomic_file(path) as file,
            zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        ):
            corrections = [asdict(correction) for correction in gallery.corrections()]
            about = dict(
                gallery.model_identity,
                layout=_LAYOUT,
                entries=len(gallery),
                corrections=corrections,
                made_with=gallery.made_with,
                calibration=gallery.calibration,
            )
            _put(archive, 'about', _bytes_of(about))
            count = 0
            for number, (vectors, texts) in enumerate(_pieces(gallery.entries_with_vectors())):
                _put(archive, f'vectors_{number}', np.array(vectors, np.float32))
                _put(archive, f'entries_{number}', np.frombuffer(f'[{",".join(texts)}]'.encode(), np.uint8))
                count += len(vectors)
    except Mbv1Error:
        raise
    except OSError as error:
        kind = NoSpaceError if is_full(error) else InputError
        raise kind(f'{path}: cannot be written: {error.strerror or error}') from error
    return count


def import_file(
    gallery: GalleryLike, path: str | os.PathLike[str], progress: Callable[[int], object] | None = None
) -> tuple[int, int]:
    """Add the entries of a file of ``export``: all of them or, after an error, none.

    The exported gallery's calibration comes with them where this gallery was empty, has none, and takes all.

    Args:
        gallery: The gallery that grows.
        path: The file.
        progress: Called with a number of further entries that are done.

    Returns:
        How many entries the file has, and how many of them are new.

    Raises:
        InputError: If the file is damaged, or of another model, preprocessing or dimension.
    """
    about = read_about(path)
    gallery.check_model_identity(about, str(path))
    calibration = _calibration(path, about)
    with gallery.bulk():
        corrections = [_correction(path, values) for values in about.get('corrections', [])]
        added = gallery.add_entries(counted(read_entries(path), progress), corrections)
    if (
        calibration is not None
        and gallery.calibration is None
        and len(gallery) == added.new == len(added.ids)
    ):
        gallery.set_calibration(calibration)
    return len(added.ids), added.new


def read_about(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What an exported file says of itself: ``model``, ``preprocessing``, ``dim``, ``metric`` and more.

    Raises:
        InputError: If it is missing or damaged.
    """
    with _errors(path), zipfile.ZipFile(path) as archive:
        content = _get(archive, 'about')
        about = json.loads(str(content) if content.dtype.kind == 'U' else content.tobytes())
        if not isinstance(about, dict):
            raise ValueError('it does not say what it is')
        return about


def read_entries(path: str | os.PathLike[str]) -> Iterator[tuple[Entry, np.ndarray]]:
    """The entries of an exported file with their vectors (dimension,), piece by piece.

    Raises:
        InputError: If it is missing or damaged; what came before is right all the same.
    """
    about = read_about(path)
    with _errors(path), zipfile.ZipFile(path) as archive:
        if 'layout' not in about:
            yield from _entries_1(archive)
            return
        count = number = 0
        while count < about['entries']:
            vectors, content = _get(archive, f'vectors_{number}'), _get(archive, f'entries_{number}')
            values = json.loads(content.tobytes())
            if len(values) != len(vectors) or not values:
                raise ValueError('its columns are not of one length')
            yield from zip((_entry(one) for one in values), vectors, strict=True)
            count, number = count + len(values), number + 1
        if count != about['entries'] or len(archive.namelist()) != 1 + 2 * number:
            raise ValueError(f'it should hold {about["entries"]} entries, got {count}')


def _entries_1(archive: zipfile.ZipFile) -> Iterator[tuple[Entry, np.ndarray]]:
    """The entries of a file that a version of format 1 has written: a column each."""
    columns = {name: _get(archive, name) for name in _COLUMNS_1}
    if len({len(column) for column in columns.values()}) != 1:
        raise ValueError('its columns are not of one length')
    for identity, file, sha256, metadata, added, vector in zip(*columns.values(), strict=True):
        yield Entry(0, str(identity), str(file), str(sha256), float(added), json.loads(str(metadata))), vector


class _errors:
    """What zipfile, zlib, numpy and json raise over a damaged file, as one line.

    Our own errors pass, and so do those that only a defect raises (``AttributeError``, ``NameError``).
    """

    _PARSERS = (
        *(ValueError, TypeError, LookupError, OverflowError, RecursionError, MemoryError),  # json, numpy
        *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError),
    )

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, self._PARSERS) and not isinstance(error, Mbv1Error):
            raise InputError(f'{self._path}: not a readable export of a gallery: {error}') from error


def _entry(values: Mapping[str, Any]) -> Entry:
    if set(values) != set(_FIELDS):
        raise ValueError(f'an entry has the fields {sorted(values)}')
    return Entry(id=0, **values)


def _correction(path: str | os.PathLike[str], values: Mapping[str, Any]) -> Correction:
    with _errors(path):
        return checked_correction(Correction(**values))
    raise AssertionError


def _calibration(path: str | os.PathLike[str], about: Mapping[str, Any]) -> dict[str, Any] | None:
    found = about.get('calibration')
    with _errors(path):
        if found is None:
            return None
        threshold = found['threshold']
        if type(threshold) not in (int, float) or not math.isfinite(threshold):
            raise ValueError(f'its threshold is {threshold!r:.60}')
        return dict(found)
    raise AssertionError


def _values(entry: Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in _FIELDS} | {'metadata': dict(entry.metadata)}


def _pieces(pairs: Iterator[tuple[Entry, np.ndarray]]) -> Iterator[tuple[list[np.ndarray], list[str]]]:
    """Vectors, and entries as JSON, of a piece each: some thousand, or fewer with much metadata."""
    vectors: list[np.ndarray] = []
    texts: list[str] = []
    size = 0
    for entry, vector in pairs:
        vectors.append(vector)
        texts.append(json.dumps(_values(entry), ensure_ascii=False))
        size += len(texts[-1])
        if len(texts) == _PIECE or size > _PIECE_CHARACTERS:
            yield vectors, texts
            vectors, texts, size = [], [], 0
    if texts:
        yield vectors, texts


def _bytes_of(value: Any) -> np.ndarray:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def _put(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    with archive.open(f'{name}.npy', 'w', force_zip64=True) as file:
        np.lib.format.write_array(file, array, allow_pickle=False)


def _get(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    info = archive.getinfo(f'{name}.npy')
    if name.partition('_')[1] and info.file_size > _PIECE_BYTES:
        raise ValueError(f'{name} is larger than a piece is')
    return np.lib.format.read_array(io.BytesIO(archive.read(info)), allow_pickle=False)
