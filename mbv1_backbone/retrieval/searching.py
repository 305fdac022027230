"""Searching a gallery: entries, people, and reading what it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from mbv1_backbone.retrieval.answering import CALIBRATED, best_images, check_by, floor_of, person_of
from mbv1_backbone.retrieval.checks import check_count, check_names, check_sha256, check_vectors
from mbv1_backbone.retrieval.conditions import Where, check_conditions
from mbv1_backbone.retrieval.filtering import MatchingEntries
from mbv1_backbone.retrieval.opening import OpenGallery
from mbv1_backbone.retrieval.records import Entry, IdentityMatch, Match, SearchResults
from mbv1_backbone.retrieval.width import OWN_WIDTH, Width

__all__ = ['SearchableGallery']


class SearchableGallery(OpenGallery):
    """A gallery's reading half."""

    def __len__(self) -> int:
        return self._store.count()

    def get(self, entry_id: int) -> Entry:
        """An entry.

        Raises:
            InputError: If there is none of that id.
        """
        return self._store.entry(entry_id)[0]

    def entries(
        self,
        identity: str | Sequence[str] | None = None,
        file: str | None = None,
        metadata: Where | None = None,
    ) -> Iterator[Entry]:
        """Entries, by id.

        They are read some hundred at a time, so the gallery may be changed meanwhile; within ``snapshot``
        all are of one state.

        Args:
            identity: Of these people only.
            file: Of this file only.
            metadata: With these values only: a dict of equal ones, or a list of ``Condition``.
        """
        return (entry for entry, _ in self._store.select(identity, file, metadata))

    def entries_with_vectors(self, **which: Any) -> Iterator[tuple[Entry, np.ndarray]]:
        """The same, each with its embedding (dimension,)."""
        return self._store.select(**which)

    def ids(self, **which: Any) -> np.ndarray:
        """Ids of the same entries, int64 (N,), ascending."""
        return self._store.select_ids(**which)

    def some(self, ids: np.ndarray) -> Iterator[tuple[Entry, np.ndarray]]:
        """Entries of some ascending ids with their embeddings; those that are not there are left out."""
        return self._store.some(ids)

    def faces(self, hashes: Sequence[str]) -> dict[str, list[Entry]]:
        """Entries of image files, by SHA-256; files that are not there are left out."""
        return self._store.faces([check_sha256(value) for value in hashes])

    def known(self, hashes: Sequence[str]) -> set[str]:
        """Those of some SHA-256 whose files are in the gallery: they need not be embedded again."""
        return set(self.faces(hashes))

    def identities(self) -> dict[str, int]:
        """Number of images of each person."""
        return self._store.identities()

    def images_of(self, identities: Sequence[str]) -> dict[str, int]:
        """Number of images of those of some people that are there."""
        return self._store.images_of(check_names(identities))

    def metadata_kinds(self, key: str) -> set[str]:
        """Of which kinds the values of a metadata key are; of none where no entry has the key.

        Args:
            key: Of the metadata.

        Returns:
            Some of ``text``, ``int``, ``real``, ``bool``, ``null`` and ``json`` (lists, dicts).
        """
        return self._store.kinds_of(key)

    @contextmanager
    def snapshot(self) -> Iterator[int]:
        """One state of the gallery for this thread, whatever is written meanwhile.

        The index stays as it is for all threads, so keep it short. What this thread itself writes inside is
        seen afterwards.

        Yields:
            The number of its last change.
        """
        with self._live.snapshot() as standing:
            yield standing.change

    @contextmanager
    def one_state(self) -> Iterator[int]:
        """The same of the entries alone, however long it takes: the index moves on for other threads.

        Yields:
            The number of the last change.
        """
        with self._store.reading():
            yield self._store.stamp().change

    def search(
        self,
        vectors: Any,
        k: int = 5,
        threshold: float | str | None = CALIBRATED,
        identity: str | Sequence[str] | None = None,
        metadata: Where | None = None,
        nprobe: int | None = None,
        ef_search: int | None = None,
        candidates: int | None = None,
    ) -> SearchResults:
        """The ``k`` most alike entries of each embedding.

        How widely an index searches is tuned when it is made; ``nprobe``, ``ef_search`` and ``candidates``
        set it for one search (see ``tune``).

        Args:
            vectors: (N, dimension), normalised here.
            k: At least 1; where there are fewer that match, all of them come.
            threshold: Lowest score, -1..1; by default the calibrated one where the gallery has one. An empty
                list then says: unknown. None gives all.
            identity: Look among these people only.
            metadata: Look among entries with these values only: a dict of equal ones, or a list of
                ``Condition``. Up to 20,000 entries that match are compared one by one: that is exact.
            nprobe: Lists of an IVF index to look through.
            ef_search: Breadth of an HNSW search.
            candidates: Entries of short codes that are compared exactly.

        Returns:
            For each embedding its matches, by descending score.

        Raises:
            InputError: If a value is wrong.
        """
        array = check_vectors(vectors, self.dim, 'probes')
        k = check_count(k, 'k')
        width = _width(nprobe, ef_search, candidates)
        conditions = check_conditions(metadata)
        if identity is None and not conditions:
            with self._live.current() as standing:
                floor = floor_of(threshold, standing.calibration)
                scores, rows = standing.index.search(array, k, width)
        else:
            names = None if identity is None else tuple(sorted(set(check_names(identity))))
            with self._live.snapshot() as standing:
                floor = floor_of(threshold, standing.calibration)
                among = MatchingEntries(self._store, self._live.kept, standing, names, conditions)
                scores, rows = among.search(array, k, width)
        return SearchResults(standing.catalog.__getitem__, *_found(standing.catalog.ids, rows, scores, floor))

    def search_identities(
        self,
        vectors: Any,
        k: int = 5,
        by: str = 'best',
        threshold: float | str | None = CALIBRATED,
        identity: str | Sequence[str] | None = None,
        metadata: Where | None = None,
        nprobe: int | None = None,
        ef_search: int | None = None,
        candidates: int | None = None,
    ) -> list[list[IdentityMatch]]:
        """The ``k`` most alike people of each embedding.

        Args:
            vectors: (N, dimension), normalised here.
            k: How many people.
            by: ``'best'``, the score of a person's most alike image, or ``'mean'``, of all of them; means
                are taken of the people whose best images come first, four times as many as asked.
            threshold: Lowest score, as for ``search``.
            identity: As for ``search``.
            metadata: As for ``search``.
            nprobe: As for ``search``.
            ef_search: As for ``search``.
            candidates: As for ``search``.

        Returns:
            For each embedding its people, by descending score.

        Raises:
            InputError: If a value is wrong.
        """
        check_by(by)
        k = check_count(k, 'k')
        array = check_vectors(vectors, self.dim, 'probes')
        search = dict(
            identity=None if identity is None else check_names(identity),  # read once: it may be an iterator
            metadata=check_conditions(metadata),
            **dict(nprobe=nprobe, ef_search=ef_search, candidates=candidates),
        )
        found = []
        with self._live.snapshot() as standing:
            floor = floor_of(threshold, standing.calibration)
            for probe in array:
                best = self._best_images(probe, k if by == 'best' else 4 * k, search)
                images = self._store.images_of(best)
                people = [self._person(name, match, images[name], probe, by) for name, match in best.items()]
                people.sort(key=lambda person: -person.score)
                found.append([person for person in people if person.score >= floor][:k])
        return found

    def _best_images(self, probe: np.ndarray, people: int, search: Mapping[str, Any]) -> dict[str, Match]:
        """The most alike image of each of the ``people`` whose best images come first."""
        return best_images(lambda k: self.search(probe[None], k, None, **search)[0], people)

    def _person(self, name: str, best: Match, images: int, probe: np.ndarray, by: str) -> IdentityMatch:
        own = None if by == 'best' else (vector for _, vector in self._store.select(identity=name))
        return person_of(best, images, probe, own)

    @property
    def dim(self) -> int:
        """Values in an embedding."""
        return int(self._tied['dim'])


def _width(nprobe: int | None, ef_search: int | None, candidates: int | None) -> Width:
    if nprobe is ef_search is candidates is None:
        return OWN_WIDTH
    given = dict(nprobe=nprobe, ef_search=ef_search, candidates=candidates)
    return Width(**{key: None if value is None else check_count(value, key) for key, value in given.items()})


def _found(
    ids: np.ndarray, rows: np.ndarray, scores: np.ndarray, floor: float
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Ids (N, k) and scores (N, k), and how many of each row are entries that reach the floor.

    Args:
        ids: Of all rows of the index.
        rows: int64 (N, k) that were found, -1 where there are no more.
        scores: Theirs, descending from left to right.
        floor: Lowest score of a match.
    """
    count, k = rows.shape
    if not rows.size:
        return rows, scores, [0] * count
    # a single search is usual, and a reduction costs NumPy more than all the rest
    last, lowest = (rows[0, -1], scores[0, -1]) if count == 1 else (rows[:, -1].min(), scores[:, -1].min())
    if last >= 0 and lowest >= floor:
        return ids[rows], scores, [k] * count
    there = rows >= 0
    return np.where(there, ids[rows], -1), scores, (there & (scores >= floor)).sum(axis=1).tolist()
