"""Changing a gallery: its entries."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval import writes
from mbv1_backbone.retrieval.checks import (
    check_box,
    check_id,
    check_ids,
    check_landmarks,
    check_number,
    check_sha256,
    check_text,
    check_time,
    check_vectors,
)
from mbv1_backbone.retrieval.conditions import metadata_json
from mbv1_backbone.retrieval.records import FOLDER, Correction, Entry
from mbv1_backbone.retrieval.searching import SearchableGallery

__all__ = ['Added', 'WritableGallery', 'checked_entry']

_BATCH = 500  # entries that are checked at once


@dataclass(frozen=True)
class Added:
    """What became of entries that were to be added.

    Attributes:
        ids: Id of each, None where its face was there already, or was corrected not to be that person.
        message: What else happened, e.g. that the index was trained anew; empty if nothing.
    """

    ids: tuple[int | None, ...]
    message: str = ''

    @property
    def new(self) -> int:
        """How many were added."""
        return sum(i is not None for i in self.ids)


def checked_entry(entry: Entry) -> Entry:
    """An entry as a gallery takes it, without its id.

    Raises:
        InputError: If a value is wrong.
    """
    return Entry(
        id=0,
        identity=check_text(entry.identity, 'identity'),
        file=check_text(entry.file, 'file'),
        sha256=check_sha256(entry.sha256),
        added=check_time(entry.added),
        metadata=entry.metadata,
        box=check_box(entry.box),
        landmarks=check_landmarks(entry.landmarks),
        detector_score=check_number(entry.detector_score, 'detector_score'),
        quality=check_number(entry.quality, 'quality'),
    )


class WritableGallery(SearchableGallery):
    """A gallery's writing half. Every method is one change: after an error nothing of it is there."""

    def add(
        self,
        vectors: Any,
        identities: Sequence[str],
        files: Sequence[str],
        hashes: Sequence[str],
        metadata: Sequence[Mapping[str, Any]] | None = None,
        boxes: Sequence[Any] | None = None,
        landmarks: Sequence[Any] | None = None,
        detector_scores: Sequence[float | None] | None = None,
        qualities: Sequence[float | None] | None = None,
    ) -> Added:
        """Add faces of people, in one change: all of them or, after an error, none.

        Args:
            vectors: (N, dimension), normalised here.
            identities: Whose face each is.
            files: Where each image came from.
            hashes: SHA-256 of each image file; a face (file and box) that is there already is skipped.
            metadata: Free values for each.
            boxes: Of each face in its image, (x0, y0, x1, y1) in pixels, kept as whole ones; None for an
                image that is the face.
            landmarks: Of each face, (x, y) pairs in pixels, or None.
            detector_scores: How sure the detector was of each, or None.
            qualities: Of each face for recognition, or None.

        Raises:
            InputError: If a value is wrong.
            LockedError: If another writer is at work.
            NoSpaceError: If the disk is full.
        """
        array = check_vectors(vectors, self.dim)
        columns: dict[str, Sequence[Any]] = dict(identities=identities, files=files, hashes=hashes)
        optional = (metadata, boxes, landmarks, detector_scores, qualities)
        names = ('metadata', 'boxes', 'landmarks', 'detector scores', 'qualities')
        for name, column in zip(names, optional, strict=True):
            nothing: Any = {} if name == 'metadata' else None
            columns[name] = [nothing] * len(array) if column is None else list(column)
        if wrong := [name for name, column in columns.items() if len(column) != len(array)]:
            raise InputError(f'{len(array)} embeddings need as many {wrong[0]}, got {len(columns[wrong[0]])}')
        now = time.time()
        entries = (
            Entry(0, identity, file, sha256, now, *rest)
            for identity, file, sha256, *rest in zip(*columns.values(), strict=True)
        )
        return self.add_entries(zip(entries, array, strict=True))

    def add_entries(
        self, pairs: Iterable[tuple[Entry, np.ndarray]], corrections: Iterable[Correction] = ()
    ) -> Added:
        """Add entries with their embeddings, as another gallery has them; they get ids of this one.

        They are written as they come, so there may be more of them than memory holds; after an error none
        is there.

        Args:
            pairs: The entries and their embeddings (dimension,).
            corrections: What was corrected there; where this gallery knows better it stays.

        Raises:
            InputError: As ``add``.
        """
        checked = self._checked(iter(pairs))
        with self._writing('add'):
            ids = writes.add(self._store, checked, map(writes.checked_correction, corrections))
            return Added(tuple(ids), self._changed())

    def _checked(self, pairs: Iterator[tuple[Entry, np.ndarray]]) -> Iterator[tuple[Entry, np.ndarray]]:
        while batch := list(islice(pairs, _BATCH)):
            try:
                array = np.stack([np.asarray(vector) for _, vector in batch])
            except ValueError as error:
                raise InputError(f'embeddings must be of shape (N, {self.dim}): {error}') from error
            for (entry, _), vector in zip(batch, check_vectors(array, self.dim), strict=True):
                yield checked_entry(entry), vector

    def remove(self, ids: Iterable[int] = (), identity: str | None = None, file: str | None = None) -> int:
        """Remove entries by id, by identity or by file, in one change.

        Args:
            ids: Of entries.
            identity: A person, all of whose entries go.
            file: A file, all of whose entries go; of the person only, where both are given.

        Returns:
            How many there were.

        Raises:
            InputError: If a value is wrong; nothing is removed then.
        """
        wanted = check_ids(ids)
        with self._writing('remove'):
            if identity is not None or file is not None:
                wanted += self._store.select_ids(identity, file).tolist()
            count = writes.remove(self._store, wanted)
            self._changed()
            return count

    def update(
        self,
        entry_id: int,
        metadata: Mapping[str, Any] | None = None,
        file: str | None = None,
        quality: float | None = None,
        keep: bool = False,
    ) -> None:
        """Replace what an entry says of itself; what is not given stays.

        Args:
            entry_id: The entry.
            metadata: All of its metadata, but for the key ``folder``: where its file lies, it stays unless it
                is given.
            file: Where its image lies now.
            quality: Of its face.
            keep: Whether keys that ``metadata`` does not name stay, as they are at that moment.

        Raises:
            InputError: If there is no such entry, or a value is wrong.
        """
        number = check_id(entry_id)
        new: dict[str, Any] = {}
        given: dict[str, Any] | None = None
        if metadata is not None:
            metadata_json(metadata)
            given = dict(metadata)
        if file is not None:
            new['file'] = check_text(file, 'file')
        if quality is not None:
            new['quality'] = check_number(quality, 'quality')

        def changed(entry: Entry) -> Entry:
            if given is None:
                return replace(entry, **new)
            kept = {key: value for key, value in entry.metadata.items() if keep or key == FOLDER}
            return replace(entry, metadata={**kept, **given}, **new)

        with self._writing('update'):
            writes.rewrite(self._store, [number], changed)
            self._changed()

    @contextmanager
    def bulk(self) -> Iterator[None]:
        """Put the upkeep of the index off to the end: for many additions, one after the other."""
        self._bulk += 1
        try:
            yield
        finally:
            self._bulk -= 1
        if not self._bulk:
            with self._writing('optimize'):
                self._live.optimize()
