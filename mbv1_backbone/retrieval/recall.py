"""Recall of an index, and the narrowest search that reaches a wanted one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import faiss
import numpy as np

from mbv1_backbone.retrieval.index import SearchIndex
from mbv1_backbone.retrieval.vectors import Vectors, nearest
from mbv1_backbone.retrieval.width import Width

__all__ = ['RecallProbe', 'Tuned']

_SEED = 1234
_NEWEST = 0.1  # share of the entries whose recall is looked at by itself
_MOST_CANDIDATES = 1200


@dataclass(frozen=True)
class Tuned:
    """What was measured.

    Attributes:
        width: Of the search; the widest where the recall was not reached.
        recall: Mean share of the truly nearest that are found.
        newest: The same of the newest tenth of the entries, which may have come after training.
        reached: Whether both are what was wanted.
    """

    width: Width
    recall: float
    newest: float
    reached: bool


class RecallProbe:
    """Some rows of an index, and the rows that are truly nearest to each, itself left out.

    Args:
        index: The index.
        k: Nearest rows that count.
        probes: How many rows: half of them of the newest tenth, half of all.
        vectors: Of the index's rows.
        some: Rows that a filtered search is to find, ascending; None for all. For indexes with a matrix.
    """

    def __init__(
        self,
        index: SearchIndex,
        k: int,
        probes: int,
        vectors: Vectors,
        some: np.ndarray | None = None,
    ) -> None:
        self.index = index
        present = np.flatnonzero(~index.removed) if some is None else some
        self._bitmap = None if some is None else index.bitmap_of(some)
        self._share = len(present) / max(1, index.count)
        self.k = min(k, len(present) - 1)
        newest = present[-max(1, round(_NEWEST * len(present))) :]
        rng = np.random.default_rng(_SEED)
        parts = (newest, max(1, probes // 2)), (present, probes - probes // 2)
        drawn = np.unique(np.concatenate([rng.permutation(rows)[:count] for rows, count in parts]))
        self.rows = drawn
        self._newest = drawn >= newest[0]
        self.vectors = np.ascontiguousarray(vectors.some(drawn), np.float32)
        if index.matrix is not None:
            selector = None if self._bitmap is None else faiss.IDSelectorBitmap(self._bitmap)
            found = index.compare_all(self.vectors, self.k + 1, selector)[1]
        else:
            found = nearest(self.vectors, vectors, self.k + 1)
        self._truth = [
            set([row for row in rows if row != own][: self.k])
            for own, rows in zip(drawn.tolist(), found.tolist(), strict=True)
        ]

    def _search(self, k: int, width: Width) -> np.ndarray:
        if self._bitmap is None:
            return self.index.search(self.vectors, k, width)[1]
        return self.index.search_some(self.vectors, k, self._bitmap, self._share, width)[1]

    def measure(self, width: Width) -> tuple[float, float]:
        """Recall of all probes, and of the newest."""
        found = self._search(self.k + 1, width)
        hits = np.array(
            [
                len(truth & set([row for row in rows if row != own][: self.k])) / max(1, len(truth))
                for own, truth, rows in zip(self.rows.tolist(), self._truth, found.tolist(), strict=True)
            ]
        )
        return float(hits.mean()), float(hits[self._newest].mean())

    def narrowest(self, recall: float) -> Tuned:
        """The narrowest search that reaches a recall for all and for the newest."""
        limits = self.index.limits()
        width = self.index.filled(Width(), self.k)
        while True:
            if limits.nprobe is not None or limits.ef_search is not None:
                option = 'nprobe' if limits.nprobe is not None else 'ef_search'
                wide = _least(
                    lambda value: min(self.measure(replace(width, **{option: value}))),  # noqa: B023
                    recall,
                    int(getattr(limits, option)),
                )
                width = replace(width, **{option: wide})
            overall, newest = self.measure(width)
            reached = min(overall, newest) >= recall
            if reached or limits.candidates is None or (width.candidates or 0) >= _MOST_CANDIDATES:
                return Tuned(width, overall, newest, reached)
            width = replace(width, candidates=min(_MOST_CANDIDATES, 2 * (width.candidates or 1)))


def _least(reached: Callable[[int], float], recall: float, max_width: int) -> int:
    """The least width that reaches the recall: doubled until it does, then halved; at most ``max_width``."""
    low, high = 0, 1
    while reached(high) < recall:
        if high >= max_width:
            return max_width
        low, high = high, min(2 * high, max_width)
    while high - low > max(1, low // 8):
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) >= recall else (middle, high)
    return high
