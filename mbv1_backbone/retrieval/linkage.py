"""Average linkage among neighbours: agglomerative clustering of vectors that never holds all pairs.

The two clusters that are most alike on average over their pairs become one, until no two reach the threshold
(Sokal and Michener 1958, UPGMA). Where vectors have length 1, the mean cosine of all pairs of two clusters is
the product of their mean vectors. Two clusters can only reach the threshold if one of their pairs does, so
only clusters with such a pair, neighbours, are ever compared. With all those pairs given the outcome is that
of all pairs (scikit-learn's ``AgglomerativeClustering(linkage='average')``, which needs the whole matrix and
knows no pairs that must stay apart).
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np

__all__ = ['average_linkage']

_PAIRS = 1 << 16  # whose scores are computed at once
_NONE: frozenset[Any] = frozenset()


def average_linkage(
    vectors: np.ndarray,
    pairs: np.ndarray,
    threshold: float,
    start: np.ndarray | None = None,
    keys: Sequence[Iterable[Hashable]] | None = None,
    apart: Sequence[tuple[Iterable[int], Iterable[int]]] = (),
) -> np.ndarray:
    """Cluster vectors.

    Args:
        vectors: float32 (N, dimension), of length 1.
        pairs: int (M, 2): neighbours, all pairs of vectors whose cosine reaches the threshold; others do no
            harm, and missing ones may leave a cluster in parts.
        threshold: Mean cosine of the pairs of two clusters from which on they become one, -1..1.
        start: int (N,): the clusters to begin with, which stay together; by default each vector is one.
        keys: Of each vector: clusters with a key in common are kept apart, except those of ``start``.
        apart: Places of vectors, two sets each: those of the one are kept apart likewise from those of the
            other.

    Returns:
        int64 (N,): the cluster of each vector, numbered from 0 in the order of their first vectors.
    """
    _, cluster = np.unique(np.arange(len(vectors)) if start is None else start, return_inverse=True)
    merging = _Merging(vectors, cluster, threshold)
    for place, own in enumerate(keys or ()):
        if own := set(own):
            merging.keys.setdefault(int(cluster[place]), set()).update(own)
    for number, (one, other) in enumerate(apart, 1):
        for side, places in ((number, one), (-number, other)):
            for place in places:
                merging.sides.setdefault(int(cluster[place]), set()).add(side)
    merging.add(cluster[np.asarray(pairs, np.int64).reshape(-1, 2)])
    merging.run()
    return _numbered(merging.labels()[cluster])


def _numbered(labels: np.ndarray) -> np.ndarray:
    """The same clusters, numbered in the order of their first members."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    order: np.ndarray = np.empty(len(first), np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    return order[inverse]


class _Merging:
    """Clusters that become one, the most alike first. A cluster made of two gets a new number.

    Attributes:
        keys: Of each cluster that has any; no two that share one are merged.
        sides: Likewise numbers; no two are merged of which one has the negative of a number of the other.
    """

    def __init__(self, vectors: np.ndarray, cluster: np.ndarray, threshold: float) -> None:
        count = int(cluster.max(initial=-1)) + 1
        self.keys: dict[int, set[Hashable]] = {}
        self.sides: dict[int, set[int]] = {}
        self._threshold = threshold
        self._sums: np.ndarray = np.zeros((count, vectors.shape[1]), np.float32)
        np.add.at(self._sums, cluster, vectors)
        self._sizes = np.bincount(cluster, minlength=count).astype(np.float32)
        self._row = dict(enumerate(range(count)))  # in these, of each cluster that still is one
        self._near: dict[int, set[int]] = {}
        self._heap: list[tuple[float, int, int]] = []
        self._parents = list(range(count))  # into which cluster each went, itself if into none

    def add(self, pairs: np.ndarray) -> None:
        """Make pairs of clusters (M, 2) neighbours."""
        pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)
        for begin in range(0, len(pairs), _PAIRS):
            part = pairs[begin : begin + _PAIRS]
            products = np.einsum('ij,ij->i', self._sums[part[:, 0]], self._sums[part[:, 1]])
            scores = products / (self._sizes[part[:, 0]] * self._sizes[part[:, 1]])
            for (one, other), score in zip(part.tolist(), scores.tolist(), strict=True):
                self._meet(one, other, score)

    def run(self) -> None:
        """Merge while two clusters reach the threshold."""
        while self._heap:
            _, one, other = heapq.heappop(self._heap)
            if one in self._row and other in self._row:
                self._merge(one, other)

    def labels(self) -> np.ndarray:
        """The cluster that each of the first clusters is in now, (count,)."""
        for number in reversed(range(len(self._parents))):  # a parent has a higher number
            self._parents[number] = self._parents[self._parents[number]]
        return np.array(self._parents[: len(self._sizes)], np.int64)

    def _meet(self, one: int, other: int, score: float) -> None:
        """Make two clusters neighbours, unless they are kept apart."""
        if not self.keys.get(one, _NONE).isdisjoint(self.keys.get(other, _NONE)):
            return
        if any(-side in self.sides.get(other, _NONE) for side in self.sides.get(one, _NONE)):
            return
        self._near.setdefault(one, set()).add(other)
        self._near.setdefault(other, set()).add(one)
        if score >= self._threshold:
            heapq.heappush(self._heap, (-score, one, other))

    def _merge(self, one: int, other: int) -> None:
        made = len(self._parents)
        self._parents.append(made)
        self._parents[one] = self._parents[other] = made
        row, gone = self._row.pop(one), self._row.pop(other)
        self._row[made] = row
        self._sums[row] += self._sums[gone]
        self._sizes[row] += self._sizes[gone]
        if keys := self.keys.pop(one, set()) | self.keys.pop(other, set()):
            self.keys[made] = keys
        if sides := self.sides.pop(one, set()) | self.sides.pop(other, set()):
            self.sides[made] = sides
        if near := sorted(self._taken(one, other)):
            rows = [self._row[cluster] for cluster in near]
            scores = self._sums[rows] @ self._sums[row] / (self._sizes[rows] * self._sizes[row])
            for cluster, score in zip(near, scores.tolist(), strict=True):
                self._meet(cluster, made, score)

    def _taken(self, one: int, other: int) -> set[int]:
        """The neighbours of two clusters, which themselves are no longer any."""
        both = (self._near.pop(one, set()) | self._near.pop(other, set())) - {one, other}
        for cluster in both:
            self._near[cluster] -= {one, other}
        return both
