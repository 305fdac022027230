"""Searching among the entries that match a filter: exactly where they are few, else by the index."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

from mbv1_backbone.common.errors import DamagedFileError
from mbv1_backbone.retrieval.building import matching_index
from mbv1_backbone.retrieval.conditions import Condition
from mbv1_backbone.retrieval.kept import KEPT_BYTES, Kept
from mbv1_backbone.retrieval.matching_index import MatchingIndex
from mbv1_backbone.retrieval.matrix import bytes_of
from mbv1_backbone.retrieval.saved import IndexState
from mbv1_backbone.retrieval.store import Store
from mbv1_backbone.retrieval.width import GATHERED, OWN_WIDTH, Width

__all__ = ['MatchingEntries']

_WORTH_AN_INDEX = 1000  # vectors to be searched for, from which an index of the entries that match pays
_LARGE = 0.1  # share of those that match: for more, all of them are compared
_NEARLY_ALL = 0.9  # share that match, from which too few others are there to measure a search with


class MatchingEntries:
    """A search among the entries that match; what is made for it is kept until the gallery changes.

    Up to some number, and until so much was asked for that an index of their own pays, they are compared one
    by one: in a copy of their vectors, or where that is too large to be kept in the matrix of all rows.
    """

    def __init__(
        self,
        store: Store,
        kept: Kept,
        standing: IndexState,
        names: tuple[str, ...] | None,
        conditions: tuple[Condition, ...],
    ) -> None:
        self._store = store
        self._kept = kept
        self._standing = standing
        self._names = names
        self._conditions = conditions
        self._key = (names, repr(conditions))
        self._rows: np.ndarray = kept.get(('rows', *self._key), self._matching, _nbytes)

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
        rows, index = self._rows, self._standing.index
        k = min(k, len(rows))
        if k == 0 or not len(vectors):
            return np.zeros((len(vectors), 0), np.float32), np.zeros((len(vectors), 0), np.int64)
        if len(rows) <= GATHERED:
            return self._compare_copied(vectors, k)
        if len(rows) == index.count:
            return index.search(vectors, k, width)
        share = len(rows) / index.count
        if width != OWN_WIDTH or index.matrix is None:
            return index.search_some(vectors, k, self._bitmap(), share, width)
        if k > _LARGE * len(rows):
            return index.compare_all(vectors, k, faiss.IDSelectorBitmap(self._bitmap()))
        if share > _NEARLY_ALL:
            return index.search_some(vectors, k, self._bitmap(), share, width)
        if (own := self._own_index(len(vectors))) is not None:
            return own.search(vectors, k)
        if len(rows) * int(index.matrix.code_size) > KEPT_BYTES:
            return index.compare_all(vectors, k, faiss.IDSelectorBitmap(self._bitmap()))
        return self._compare_copied(vectors, k)

    def _compare_copied(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        some = self._kept.get(('copy', *self._key), self._copy, bytes_of)
        scores, places = some.search(vectors, k)
        return scores, self._rows[places]

    def _copy(self) -> Any:
        index = self._standing.index
        if (some := index.gathered(self._rows)) is None:
            some = faiss.IndexFlatIP(self._store.dim)
            some.add(self._store.vectors(self._standing.catalog.ids[self._rows]))
        return some

    def _bitmap(self) -> np.ndarray:
        index = self._standing.index
        return self._kept.get(('bitmap', *self._key), lambda: index.bitmap_of(self._rows), _nbytes)

    def _own_index(self, more: int) -> MatchingIndex | None:
        """The index of what matches, where as much was asked for as pays for it; None while it is made.

        It takes the time of some thousand comparisons with all.

        Args:
            more: Vectors that are searched for now.
        """
        kept, key = self._kept, ('index', *self._key)
        own: MatchingIndex | None = kept.find(key)
        if (
            own is None
            and kept.count(self._key, more) > _WORTH_AN_INDEX
            and kept.making.acquire(blocking=False)
        ):
            try:
                own = kept.get(key, lambda: matching_index(self._standing, self._rows), _nbytes)
                kept.forget(('copy', *self._key))
                kept.count_anew(self._key)
            finally:
                kept.making.release()
        return own


def _nbytes(value: np.ndarray | MatchingIndex) -> int:
    return value.nbytes
