"""Keeping galleries: checking, compacting, merging, moving to files and back, and to another model."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import write_atomically
from mbv1_backbone.retrieval.gallery import Gallery
from mbv1_backbone.retrieval.lock import writer_lock
from mbv1_backbone.retrieval.manifest import NAME
from mbv1_backbone.retrieval.records import Entry

_BATCH = 2000  # entries in one change
_SAMPLE = 256  # vectors that verify compares with the index
_FIELDS = ('identities', 'files', 'sha256', 'metadata')


def _nobody(_: int) -> None:
    """Nobody is told how far it is."""


@dataclass(frozen=True)
class Report:
    """What ``verify`` found.

    Attributes:
        entries: Entries whose digests are right.
        indexed: Vectors in the index.
        problems: What is wrong, one line each; empty if nothing is.
    """

    entries: int
    indexed: int
    problems: tuple[str, ...]


def verify(gallery: Gallery) -> Report:
    """Check every entry's digest, the counts, the files, and a sample of vectors and names by searching."""
    problems: list[str] = []
    problems += gallery.problems()
    entries, vectors = 0, []
    try:
        for entry, vector in gallery.entries_with_vectors():
            entries += 1
            if entry.id % max(1, len(gallery) // _SAMPLE) == 0:
                vectors.append((entry, vector))
            if abs(float(vector @ vector) - 1) > 1e-3:
                problems.append(f'entry {entry.id}: its vector is not of length 1')
    except InputError as error:
        problems.append(str(error))
    indexed = gallery.indexed()
    if indexed != entries:
        problems.append(f'the index holds {indexed} vectors, the gallery {entries}')
    for entry, vector in vectors:
        [matches] = gallery.search(vector[None], k=5, threshold=None)
        own = [match for match in matches if match.id == entry.id]
        if not own and not any(match.score > 0.999 for match in matches):
            problems.append(f'entry {entry.id}: the index does not find its own vector')
        if any((match.identity, match.file) != (entry.identity, entry.file) for match in own):
            problems.append(f'entry {entry.id}: it is found under another name')
    return Report(entries, indexed, tuple(problems))


def repair(folder: str | os.PathLike[str], timeout: float = 10.0) -> Gallery:
    """Open a gallery whose manifest or index is lost or damaged, and make both anew from its entries.

    Raises:
        InputError: If the entries themselves are damaged, or another writer is at work.
    """
    folder = Path(folder)
    if (folder / NAME).exists():
        with writer_lock(folder, 'repair', timeout):
            (folder / NAME).unlink(missing_ok=True)
    gallery = Gallery(folder, timeout)
    gallery.rebuild()
    return gallery


def merge(
    target: Gallery, sources: Iterable[Gallery], told: Callable[[int], object] = _nobody
) -> list[tuple[int, int]]:
    """Add the entries of other galleries of the same model; files that are there already are skipped.

    Args:
        target: The gallery that grows.
        sources: The others, left as they are.
        told: Called with the number of entries that are done, batch after batch.

    Returns:
        For each source how many entries it has, and how many of them are new.

    Raises:
        InputError: If a source's model, preprocessing or dimension is another.
    """
    sources = list(sources)
    for source in sources:
        target.check_same(source)
    counts = []
    for source in sources:
        seen = new = 0
        for batch in _batches(source.entries_with_vectors()):
            seen += len(batch)
            new += target.add_entries(batch).new
            told(len(batch))
        counts.append((seen, new))
    target.settle()
    return counts


def export(gallery: Gallery, path: str | os.PathLike[str]) -> int:
    """Write all entries to a ``.npz`` file, without pickle; how many there are.

    Raises:
        InputError: If the path does not end in ``.npz``.
    """
    path = Path(path)
    if path.suffix != '.npz':
        raise InputError(f'a gallery is exported to a .npz file, got {path}')
    pairs = list(gallery.entries_with_vectors())
    entries = [entry for entry, _ in pairs]
    content = io.BytesIO()
    np.savez_compressed(
        content,
        about=np.array(json.dumps(gallery.pins)),
        vectors=np.array([vector for _, vector in pairs], np.float32).reshape(-1, gallery.dim),
        added=np.array([entry.added for entry in entries], np.float64),
        identities=_texts(entry.identity for entry in entries),
        files=_texts(entry.file for entry in entries),
        sha256=_texts(entry.sha256 for entry in entries),
        metadata=_texts(json.dumps(dict(entry.metadata), ensure_ascii=False) for entry in entries),
    )
    write_atomically(path, content.getvalue())
    return len(entries)


def import_file(
    gallery: Gallery, path: str | os.PathLike[str], told: Callable[[int], object] = _nobody
) -> tuple[int, int]:
    """Add the entries of a file of ``export``.

    Args:
        gallery: The gallery that grows.
        path: The file.
        told: Called with the number of entries that are done, batch after batch.

    Returns:
        How many entries the file has, and how many of them are new.

    Raises:
        InputError: If the file is damaged, or of another model, preprocessing or dimension.
    """
    content = read_export(path)
    gallery.check_pins(content['about'], str(path))
    entries = [
        (Entry(0, identity, file, sha256, float(added), metadata), vector)
        for identity, file, sha256, metadata, added, vector in zip(
            *(content[field] for field in _FIELDS), content['added'], content['vectors'], strict=True
        )
    ]
    new = 0
    for batch in _batches(iter(entries)):
        new += gallery.add_entries(batch).new
        told(len(batch))
    gallery.settle()
    return len(entries), new


def read_export(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a file of ``export`` holds, checked.

    Raises:
        InputError: If it is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            content = {name: file[name] for name in ('about', 'vectors', 'added', *_FIELDS)}
        content['about'] = json.loads(str(content['about']))
        content['metadata'] = [json.loads(text) for text in content['metadata'].tolist()]
        for field in _FIELDS[:-1]:
            content[field] = content[field].tolist()
        if len({len(content[name]) for name in ('vectors', 'added', *_FIELDS)}) != 1:
            raise ValueError('its columns are not of one length')
        if not isinstance(content['about'], dict):
            raise ValueError('it does not say what it is')
    except Exception as error:  # zipfile, zlib and numpy raise many kinds for a damaged file
        raise InputError(f'{path}: not a readable export of a gallery: {error}') from error
    return content


def reembed(
    gallery: Gallery,
    folder: str | os.PathLike[str],
    model: str,
    preprocessing: dict[str, Any],
    dim: int,
    embed: Callable[[Sequence[Entry]], Sequence[np.ndarray | None]],
) -> tuple[Gallery, list[str]]:
    """Make a gallery of another model, from the source files of this one.

    Args:
        gallery: The old one, left as it is.
        folder: Of the new one.
        model: The new model's fingerprint.
        preprocessing: How it prepares images.
        dim: Values in its embeddings.
        embed: From entries, whose image files it finds, to embeddings; None for one without a usable face.

    Returns:
        The new gallery, and the files that could not be embedded.
    """
    made, lost = Gallery.create(folder, dim, model, preprocessing), []
    for batch in _batches(gallery.entries_with_vectors(), 64):
        vectors = embed([entry for entry, _ in batch])
        pairs = [(entry, v) for (entry, _), v in zip(batch, vectors, strict=True) if v is not None]
        lost += [e.file for (e, _), v in zip(batch, vectors, strict=True) if v is None]
        made.add_entries(pairs)
    made.settle()
    return made, lost


def _texts(values: Iterable[str]) -> np.ndarray:
    """Text as fixed-width Unicode, which needs no pickle."""
    return np.array(list(values), dtype=np.str_)


def _batches(
    pairs: Iterator[tuple[Entry, np.ndarray]], size: int = _BATCH
) -> Iterator[list[tuple[Entry, np.ndarray]]]:
    while batch := list(islice(pairs, size)):
        yield batch
