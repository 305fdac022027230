"""Making a gallery's index of its entries, and setting how widely it is searched."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice

import numpy as np

from mbv1_backbone.common.errors import DamagedFileError
from mbv1_backbone.retrieval import vectors
from mbv1_backbone.retrieval.catalog import Catalog
from mbv1_backbone.retrieval.factories import FLAT_LIMIT, choose_factory, usable_factory
from mbv1_backbone.retrieval.index import SearchIndex
from mbv1_backbone.retrieval.matching_index import MatchingIndex
from mbv1_backbone.retrieval.recall import RecallProbe
from mbv1_backbone.retrieval.saved import IndexState
from mbv1_backbone.retrieval.store import Store
from mbv1_backbone.retrieval.training import are_uneven
from mbv1_backbone.retrieval.vectors import MatrixVectors, Vectors
from mbv1_backbone.retrieval.width import MEASURED_K

__all__ = ['RECALL', 'build_index', 'matching_index', 'measure', 'stored_vectors', 'wanted_factory']

RECALL = 0.99  # of the 10 truly nearest, that an index is tuned to find
_PROBES = 200
_MATCHING_PROBES = 100
_MATCHING_ROOM = 1.3  # times the candidates that these need
_MATCHING_LEAST = 150  # candidates: strangers' nearest are less alike than those of the probes
_LEAST_PROBED = 8  # lists
_LEAST_BREADTH = 64  # of the search of a graph
_SCATTERED = 0.25  # share of the lists: when more must be looked through, few lists serve better


def build_index(store: Store, old: IndexState | None) -> IndexState:
    """An index and a catalog made of the store as it is now.

    Args:
        store: Of the gallery.
        old: The index before, which tells whether the vectors fall into clusters; None if not known.

    Raises:
        DamagedFileError: If an entry is damaged or missing.
    """
    with store.reading():
        stamp = store.stamp()
        entries = _Entries(store, stamp.entries)
        uneven = stamp.entries > FLAT_LIMIT and are_uneven(entries)
        factory = wanted_factory(store, stamp.entries, old, uneven)
        fixed = store.meta('factory') is not None
        index = SearchIndex.build(factory, entries)
    built = IndexState(index, entries.catalog, stamp.change, stamp.state, {}, stamp.calibration)
    measure(built, store)
    limits, width = index.limits(), index.width
    scattered = limits.nprobe is not None and (width.nprobe or 0) > _SCATTERED * limits.nprobe
    if not fixed and scattered:
        room = store.meta('bytes_per_vector')
        fewer = choose_factory(stamp.entries, store.dim, room, clustered=False, uneven=uneven)
        if fewer != index.factory:
            built.index, built.measured = index.listed_anew(fewer, stored_vectors(built, store)), {}
            measure(built, store)
    return built


def wanted_factory(store: Store, count: int, old: IndexState | None, uneven: bool = False) -> str:
    """The factory string that a gallery's index should have for a number of entries.

    Args:
        store: Of the gallery.
        count: Entries.
        old: The index that stands, None where there is none.
        uneven: Whether the entries' vectors are (see ``are_uneven``).
    """
    fixed = store.meta('factory')
    if fixed is not None:
        return usable_factory(fixed, store.dim, count)
    lists = None if old is None else old.index.limits().nprobe
    clustered = lists is None or old is None or lists > math.sqrt(old.index.trained_for)
    people = store.people()
    return choose_factory(count, store.dim, store.meta('bytes_per_vector'), clustered, people, uneven)


def measure(standing: IndexState, store: Store) -> None:
    """Tune how widely an index is searched, and keep what was measured beside it.

    Args:
        standing: The index.
        store: Of the gallery.
    """
    index = standing.index
    if index.exact or index.count < 2:
        standing.measured = {}
        return
    tuned = RecallProbe(index, MEASURED_K, _PROBES, stored_vectors(standing, store)).narrowest(RECALL)
    nprobe, ef_search = tuned.width.nprobe, tuned.width.ef_search
    index.width = replace(
        tuned.width,  # the probes are alike to those of training: others get some room
        nprobe=nprobe and min(max(nprobe, _LEAST_PROBED), index.limits().nprobe or 1),
        ef_search=ef_search and max(ef_search, _LEAST_BREADTH),
    )
    standing.measured = dict(
        all=tuned.recall,
        newest=tuned.newest,
        entries=index.count,
        lists_at_training=standing.measured.get('lists_at_training', index.width.nprobe),
    )


def matching_index(standing: IndexState, rows: np.ndarray) -> MatchingIndex:
    """An index of the rows that match a filter, as widely searched as finds what the whole index does.

    Args:
        standing: The index, which keeps full vectors.
        rows: int64 (N,), ascending.
    """
    made = MatchingIndex(standing.index, rows)
    read = MatrixVectors(standing.index.matrix)
    width = RecallProbe(standing.index, MEASURED_K, _MATCHING_PROBES, read, made).narrowest(RECALL).width
    candidates = max(_MATCHING_LEAST, math.ceil(_MATCHING_ROOM * (width.candidates or 1)))
    made.parameters.own = replace(width, candidates=min(candidates, len(rows)))
    return made


def stored_vectors(standing: IndexState, store: Store) -> Vectors:
    """The vectors of an index's rows: as the index keeps them, or where it does not, of the entries."""
    index = standing.index
    rows = np.flatnonzero(~index.removed)
    if index.matrix is not None:
        return MatrixVectors(index.matrix, rows)
    return _StoredRows(store, standing.catalog.ids, rows)


class _StoredRows:
    """Rows of an index as the vectors of their entries."""

    def __init__(self, store: Store, ids: np.ndarray, rows: np.ndarray) -> None:
        self._store = store
        self._ids = ids
        self._rows = rows
        self.dim = store.dim
        self.people: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def some(self, rows: np.ndarray) -> np.ndarray:
        """As ``Vectors``."""
        return self._store.vectors(self._ids[rows])

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """As ``Vectors``."""
        for start in range(0, len(self._rows), vectors.BLOCK):
            rows = self._rows[start : start + vectors.BLOCK]
            yield rows, self.some(rows)


class _Entries:
    """The vectors of all entries; the catalog of them is made while they are read for the first time.

    Attributes:
        catalog: Of the entries.
        dim: Values in a vector.
        people: int64 (N,), a number for each entry's person.
    """

    def __init__(self, store: Store, count: int) -> None:
        self.catalog = Catalog()
        self.dim = store.dim
        self.people: np.ndarray | None
        self._store = store
        self._ids, self.people = _ids_and_people(store)
        self._check(len(self._ids), count)

    def _check(self, seen: int, count: int) -> None:
        if seen != count:
            raise DamagedFileError(f'{self._store.path}: damaged: {seen} of {count} entries are there')

    def __len__(self) -> int:
        return len(self._ids)

    def some(self, rows: np.ndarray) -> np.ndarray:
        """As ``Vectors``."""
        return self._store.vectors(self._ids[rows])

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """As ``Vectors``."""
        pairs, seen = self._store.select(), 0
        block: np.ndarray = np.empty((vectors.BLOCK, self.dim), np.float32)
        while True:
            names = []
            for place, (entry, vector) in enumerate(islice(pairs, len(block))):
                block[place] = vector
                names.append((entry.id, entry.identity, entry.file))
            if not names:
                break
            if len(self.catalog) == seen:
                self.catalog.add(names)
            yield np.arange(seen, seen + len(names)), block[: len(names)]
            seen += len(names)
        self._check(seen, len(self._ids))


def _ids_and_people(store: Store) -> tuple[np.ndarray, np.ndarray]:
    """All ids (N,), ascending, and a number for the person of each (N,), from 0."""

    def numbered(rows: Iterable[tuple[int, str]]) -> Iterator[tuple[int, int]]:
        number, before = -1, None
        for entry_id, identity in rows:
            number, before = number + (identity != before), identity
            yield entry_id, number

    sql = 'SELECT id, identity FROM entries INDEXED BY by_identity ORDER BY identity, id'
    with store.reading() as connection:
        found = np.fromiter(numbered(connection.execute(sql)), np.dtype([('id', 'i8'), ('person', 'i8')]))
    found.sort(order='id')
    return np.ascontiguousarray(found['id']), np.ascontiguousarray(found['person'])
