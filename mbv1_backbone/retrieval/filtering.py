"""Searching among the entries that match a filter: exactly where they are few, else by the index."""

from __future__ import annotations

import threading
from typing import Any

import faiss
import numpy as np

from mbv1_backbone.common.errors import DamagedFileError
from mbv1_backbone.retrieval.building import matching_index
from mbv1_backbone.retrieval.conditions import Condition
from mbv1_backbone.retrieval.live import LiveIndex
from mbv1_backbone.retrieval.matching_index import MatchingIndex
from mbv1_backbone.retrieval.saved import IndexState
from mbv1_backbone.retrieval.store import Store
from mbv1_backbone.retrieval.width import GATHERED, OWN_WIDTH, Width

__all__ = ['MatchingEntries']

_WORTH_AN_INDEX = 1000  # vectors to be searched for, from which an index of the entries that match pays
_LARGE = 0.1  # share of those that match: for more, all of them are compared
_NEARLY_ALL = 0.9  # share that match, from which too few others are there to measure a search with


class MatchingEntries:
    """A search among the entries that match; what is made for it is kept until the gallery changes."""

    def __init__(
        self,
        store: Store,
        live: LiveIndex,
        standing: IndexState,
        names: tuple[str, ...] | None,
        conditions: tuple[Condition, ...],
    ) -> None:
        self._store = store
        self._live = live
        self._standing = standing
        self._names = names
        self._conditions = conditions
        self._key = (names, repr(conditions))
        self._rows: np.ndarray = live.cached(('rows', *self._key), self._matching)

    def _matching(self) -> np.ndarray:
        store = self._store
        names = None if self._names is None else list(self._names)
        rows = self._standing.catalog.rows_of(store.select_ids(names, None, self._conditions))
        if len(rows) and rows.min() < 0:
            raise DamagedFileError(f'{store.path}: damaged: an entry that matches is not in the index')
        return rows

    def search(self, vectors: np.ndarray, k: int, width: Width) -> tuple[np.ndarray, np.ndarray]:
        """The ``k`` most alike rows of each vector, or as many as match.

        Args:
            vectors: float32 (N, dimension), of length 1.
            k: How many.
            width: How widely, where more match than are compared one by one.

        Returns:
            Scores and rows, as of ``SearchIndex.search``.
        """
        rows, live = self._rows, self._live
        k = min(k, len(rows))
        if k == 0 or not len(vectors):
            return np.zeros((len(vectors), 0), np.float32), np.zeros((len(vectors), 0), np.int64)
        if len(rows) <= GATHERED:
            some = live.cached(('gathered', *self._key), self._gathered)
            scores, places = some.search(vectors, k)
            return scores, rows[places]
        index = self._standing.index
        if len(rows) == index.count:
            return index.search(vectors, k, width)
        share, large = len(rows) / index.count, width == OWN_WIDTH and k > _LARGE * len(rows)
        if width != OWN_WIDTH or index.matrix is None or large or share > _NEARLY_ALL:
            bitmap = live.cached(('bitmap', *self._key), lambda: index.bitmap_of(rows))
            if large and index.matrix is not None:
                return index.compare_all(vectors, k, faiss.IDSelectorBitmap(bitmap))
            return index.search_some(vectors, k, bitmap, share, width)
        matching = live.cached(('index', *self._key), lambda: _IndexOnDemand(self._standing, rows))
        return matching.search(vectors, k)

    def _gathered(self) -> Any:
        index = self._standing.index
        if (some := index.gathered(self._rows)) is None:
            some = faiss.IndexFlatIP(self._store.dim)
            some.add(self._store.vectors(self._standing.catalog.ids[self._rows]))
        return some


class _IndexOnDemand:
    """Compares with all that match, until as much was asked for as an index of them takes to be made.

    That is the time of some thousand comparisons with all.
    """

    def __init__(self, standing: IndexState, rows: np.ndarray) -> None:
        self._standing = standing
        self._rows = rows
        self._asked = 0
        self._exact: Any = standing.index.gathered(rows)
        self._made: MatchingIndex | None = None
        self._making = threading.Lock()

    def search(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As ``MatchingEntries.search``; another thread's search does not wait while the index is made."""
        self._asked += len(vectors)
        exact = self._exact
        if exact is not None and self._asked > _WORTH_AN_INDEX and self._making.acquire(blocking=False):
            try:
                self._made = self._made or matching_index(self._standing, self._rows)
                self._exact = exact = None
            finally:
                self._making.release()
        if exact is None and self._made is not None:
            return self._made.search(vectors, k)
        scores, places = exact.search(vectors, k)
        return scores, self._rows[places]
