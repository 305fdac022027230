"""Keeping galleries: checking, repairing, copying, merging, and moving to another model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import DamagedFileError, InputError, Mbv1Error, NoSpaceError, is_full
from mbv1_backbone.retrieval import acknowledged, integrity, writes
from mbv1_backbone.retrieval.gallery import Gallery
from mbv1_backbone.retrieval.interface import GalleryLike
from mbv1_backbone.retrieval.lock import writer_lock
from mbv1_backbone.retrieval.manifest import NAME
from mbv1_backbone.retrieval.migration import migrate
from mbv1_backbone.retrieval.opening import STORE, discard
from mbv1_backbone.retrieval.records import Entry
from mbv1_backbone.retrieval.store import Store
from mbv1_backbone.retrieval.unnamed import is_unnamed

__all__ = ['Report', 'backup', 'counted', 'merge', 'other_names', 'reembed', 'repair', 'verify']

_SAMPLE = 256  # vectors that verify compares with the index
_PROGRESS = 1000  # entries between two reports of progress


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


def verify(gallery: GalleryLike) -> Report:
    """Check SQLite's structures, every entry, the counts, the files, and a sample of vectors by searching."""
    problems = [*gallery.integrity_problems(), *gallery.index_problems()]
    entries, sample = 0, []
    every = max(1, len(gallery) // _SAMPLE)
    try:
        with gallery.snapshot():
            for entry, vector in gallery.entries_with_vectors():
                entries += 1
                if entry.id % every == 0:
                    sample.append((entry, vector))
                if abs(float(vector @ vector) - 1) > 1e-3:
                    problems.append(f'entry {entry.id}: its vector is not of length 1')
            indexed = gallery.indexed()
            if indexed != entries:
                problems.append(f'the index holds {indexed} vectors, the gallery {entries}')
            problems += _search_problems(gallery, sample)
            gallery.corrections()  # refuses a damaged one
    except InputError as error:
        return Report(entries, 0, (*problems, str(error)))
    return Report(entries, indexed, tuple(problems))


def _search_problems(gallery: GalleryLike, sample: Sequence[tuple[Entry, np.ndarray]]) -> list[str]:
    problems = []
    for entry, vector in sample:
        [matches] = gallery.search(vector[None], k=5, threshold=None)
        own = [match for match in matches if match.id == entry.id]
        if not own and not any(match.score > 0.999 for match in matches):
            problems.append(f'entry {entry.id}: the index does not find its own vector')
        if any((match.identity, match.file) != (entry.identity, entry.file) for match in own):
            problems.append(f'entry {entry.id}: it is found under another name')
    return problems


def repair(folder: str | os.PathLike[str], timeout: float = 10.0) -> Gallery:
    """Open a gallery whose manifest, index or SQLite structures are lost or damaged: they are made anew.

    A database that has lost changes, or is another than was there, is taken as it is.

    Raises:
        InputError: If the entries themselves are damaged.
        LockedError: If another writer is at work.
        NoSpaceError: If the disk is full.
    """
    folder = Path(folder)
    if not (folder / STORE).is_file():
        raise InputError(f'{folder}: not a gallery, it has no {STORE}')
    migrate(folder / STORE, False, timeout)
    store = Store(folder / STORE)
    try:
        with writer_lock(folder, 'repair', timeout):
            integrity.check_tables(store)
            try:
                integrity.check_integrity(store)
            except InputError:
                _make_indexes_anew(store)
            (folder / NAME).unlink(missing_ok=True)
            (folder / acknowledged.NAME).unlink(missing_ok=True)
    finally:
        store.close()
    gallery = Gallery(folder, timeout)
    try:
        gallery.rebuild()
    except BaseException:
        gallery.close()
        raise
    return gallery


def _make_indexes_anew(store: Store) -> None:
    try:
        writes.reindex(store)
        integrity.check_integrity(store)
    except DamagedFileError as error:
        said = str(error).removeprefix(f'{store.path}: ').partition(';')[0]
        raise DamagedFileError(
            f'{store.path}: not all of its entries can be read ({said}), and repair makes only what is made '
            'of them: restore a backup (mbv1 gallery backup), or repair --out-dir saves those that can'
        ) from error


def backup(gallery: Gallery, folder: str | os.PathLike[str]) -> int:
    """Copy a gallery to a new or empty folder, while others search it and write to it.

    The copy is one state of the gallery, whole and checked. Copying the files by other means is only right
    while nobody writes, and then of the folder as a whole.

    Returns:
        The number of its entries.

    Raises:
        InputError: If the folder holds something already, or cannot be written.
        NoSpaceError: If the disk is full.
    """
    folder = Path(folder)
    there = folder.exists()
    if there and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f'{folder} is not an empty folder')
    try:
        folder.mkdir(parents=True, exist_ok=True)
        making = folder / f'.{STORE}.new'
        gallery.copy_database(making)
        for leftover in ('-wal', '-shm'):
            making.with_name(making.name + leftover).unlink(missing_ok=True)
        os.replace(making, folder / STORE)
        with Gallery(folder) as copied:
            copied.rebuild()
            return len(copied)
    except BaseException as error:
        discard(folder, keep=there)
        if isinstance(error, OSError) and not isinstance(error, Mbv1Error):
            kind = NoSpaceError if is_full(error) else InputError
            raise kind(f'{folder}: cannot be written: {error.strerror}') from error
        raise


def merge(
    target: GalleryLike, sources: Iterable[GalleryLike], progress: Callable[[int], object] | None = None
) -> list[tuple[int, int]]:
    """Add the entries of other galleries of the same model; faces that are there already are skipped.

    Args:
        target: The gallery that grows: by all of a source, or after an error by none of it.
        sources: The others, left as they are; what was corrected in them comes too.
        progress: Called with a number of further entries that are done.

    Returns:
        For each source how many entries it has, and how many of them are new.

    Raises:
        InputError: If a source's model, preprocessing or dimension is another.
    """
    sources = list(sources)
    for source in sources:
        target.check_model_identity(source.model_identity, source.place)
    counts = []
    with target.bulk():
        for source in sources:
            with source.snapshot():
                pairs = counted(source.entries_with_vectors(), progress)
                added = target.add_entries(pairs, source.corrections())
            counts.append((len(added.ids), added.new))
    return counts


def other_names(target: GalleryLike, entries: Iterable[Entry]) -> Iterator[tuple[Entry, Entry]]:
    """Of another gallery's entries, those whose face a gallery has under another name, each with its own one.

    What was corrected not to be that person, or has no name there, is no question, and left out.
    """
    wrong = {(one.sha256, one.box, one.identity) for one in target.corrections() if not one.correct}
    entries = (entry for entry in entries if not is_unnamed(entry.identity))
    while batch := list(islice(entries, _PROGRESS)):
        there = target.faces(list({entry.sha256 for entry in batch}))
        for entry in batch:
            for own in there.get(entry.sha256, ()):
                asked = (entry.sha256, entry.box, entry.identity)
                if own.box == entry.box and own.identity != entry.identity and asked not in wrong:
                    yield entry, own


def reembed(
    gallery: GalleryLike,
    folder: str | os.PathLike[str],
    model: str,
    preprocessing: dict[str, Any],
    dim: int,
    embed: Callable[[Sequence[Entry]], Sequence[np.ndarray | None]],
    made_with: Mapping[str, Any] | None = None,
) -> tuple[Gallery, list[str]]:
    """Make a gallery of another model, from the source files of this one.

    Names, metadata and what was corrected are kept; the threshold is not, since it is the old model's. After
    an error, or where no file can be embedded, nothing is left of the new gallery.

    Args:
        gallery: The old one, left as it is.
        folder: Of the new one.
        model: The new model's fingerprint.
        preprocessing: How it prepares images.
        dim: Values in its embeddings.
        embed: From entries, whose image files it finds, to embeddings; None for one without a usable face.
        made_with: What people call the new model and more; see ``Gallery.create``.

    Returns:
        The new gallery, and the files that could not be embedded.

    Raises:
        InputError: If none of the files could be embedded.
    """
    there = Path(folder).exists()
    made, lost = Gallery.create(folder, dim, model, preprocessing, made_with=made_with), []

    def embedded() -> Iterator[tuple[Entry, np.ndarray]]:
        entries = gallery.entries()
        while batch := list(islice(entries, 64)):
            for entry, vector in zip(batch, embed(batch), strict=True):
                if vector is None:
                    lost.append(entry.file)
                else:
                    yield replace(entry, id=0), vector

    try:
        with made.bulk():
            made.add_entries(embedded(), gallery.corrections())
        if lost and not len(made):
            raise InputError(f'{gallery.place}: none of its {len(lost)} files can be embedded: {lost[0]} ...')
    except BaseException:
        made.close()
        discard(Path(folder), keep=there)
        raise
    return made, lost


def counted(
    pairs: Iterator[tuple[Entry, np.ndarray]], progress: Callable[[int], object] | None
) -> Iterator[tuple[Entry, np.ndarray]]:
    """The same entries, while ``progress`` is called with how many have come."""
    while batch := list(islice(pairs, _PROGRESS)):
        yield from batch
        if progress is not None:
            progress(len(batch))
