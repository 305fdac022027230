"""Changing a gallery: its entries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from mbv1_backbone.retrieval import writes
from mbv1_backbone.retrieval.checks import check_id, check_ids, check_vectors
from mbv1_backbone.retrieval.incoming import changed_entry, checked_pairs, pairs_of
from mbv1_backbone.retrieval.records import Added, Correction, Entry
from mbv1_backbone.retrieval.searching import SearchableGallery

__all__ = ['WritableGallery']

_PART = 500  # entries of one change, where all are changed


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
        required = dict(identities=identities, files=files, hashes=hashes)
        optional = dict(
            metadata=metadata,
            boxes=boxes,
            landmarks=landmarks,
            **{'detector scores': detector_scores, 'qualities': qualities},
        )
        return self.add_entries(pairs_of(array, required, optional))

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
        checked = checked_pairs(iter(pairs), self.dim)
        with self._writing('add'):
            ids = writes.add(self._store, checked, map(writes.checked_correction, corrections))
            return Added(tuple(ids), self._changed())

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
        changed = changed_entry(metadata, file, quality, keep)
        with self._writing('update'):
            writes.rewrite(self._store, [number], changed)
            self._changed()

    def remove_metadata(self, key: str) -> int:
        """Take a key out of the metadata of all entries that have it, 500 in a change: others may write.

        Args:
            key: Of the metadata.

        Returns:
            How many entries had it.

        Raises:
            InputError: If the gallery is open for reading only, or an entry is damaged; what was changed
                before stays so.
        """
        ids, count = self.ids(), 0
        for start in range(0, len(ids), _PART):
            there = [one.id for one, _ in self.some(ids[start : start + _PART]) if key in one.metadata]
            if there or self.read_only:
                with self._writing('remove metadata'):
                    count += writes.remove_key(self._store, there, key)
                    self._changed()
        return count

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
