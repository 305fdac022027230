"""Recall of an index, and the narrowest search that reaches a wanted one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mbv1_backbone.retrieval.index import SearchIndex
from mbv1_backbone.retrieval.matching_index import MatchingIndex
from mbv1_backbone.retrieval.vectors import Vectors, nearest
from mbv1_backbone.retrieval.width import Width

__all__ = ['RecallProbe', 'Tuned']

_SEED = 1234
_NEWEST = 0.1  # share of the entries whose recall is looked at by itself
_MOST_CANDIDATES = 1200
_LOST = 0.003  # recall that a narrower search may lose where the wanted one is out of reach
_DOUBLED = 3  # times that the width is doubled without finding more
_LEVEL = 0.001  # recall, that is not more
_SOME = 0.5  # recall
_CANDIDATE = 150  # codes that are looked at in the time in which a candidate is compared exactly


@dataclass(frozen=True)
class Tuned:
    """What was measured.

    Attributes:
        width: Of the search.
        recall: Mean share of the truly nearest that are found.
        newest: The same of the newest tenth of the entries, which may have come after training; of a filtered
            search, of entries that match.
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
        matching: An index of some of the rows, which is then what is searched. Half of the probes are rows
            of its own then, half of them others, whose people may have no images among them.
    """

    def __init__(
        self,
        index: SearchIndex,
        k: int,
        probes: int,
        vectors: Vectors,
        matching: MatchingIndex | None = None,
    ) -> None:
        present = np.flatnonzero(~index.removed)
        sought = present if matching is None else matching.rows
        self.k = min(k, len(sought) - 1)
        if matching is None:
            others, special = present, present[-max(1, round(_NEWEST * len(present))) :]
        else:
            others, special = np.setdiff1d(present, sought), sought
        rng = np.random.default_rng(_SEED)
        parts = (special, max(1, probes // 2)), (others, probes - probes // 2)
        drawn = np.unique(np.concatenate([rng.permutation(rows)[:count] for rows, count in parts]))
        self.rows = drawn
        self._groups = [np.isin(drawn, rows) for rows in (others, special) if len(rows)]
        self._searched = index if matching is None else matching
        self._count = len(sought)
        self.vectors = np.ascontiguousarray(vectors.some(drawn), np.float32)
        if matching is not None:
            found = matching.compare_all(self.vectors, self.k + 1)[1]
        else:  # block by block: FAISS would go through all rows again for every probe
            found = nearest(self.vectors, vectors.blocks(), self.k + 1)
        self._truth = [
            set([row for row in rows if row != own][: self.k])
            for own, rows in zip(drawn.tolist(), found.tolist(), strict=True)
        ]

    def measure(self, width: Width) -> tuple[float, float]:
        """Recall of all probes and of the newest; or of those that do not match, and of those that do."""
        found = self._searched.search(self.vectors, self.k + 1, width)[1]
        hits = np.array(
            [
                len(truth & set([row for row in rows if row != own][: self.k])) / max(1, len(truth))
                for own, truth, rows in zip(self.rows.tolist(), self._truth, found.tolist(), strict=True)
            ]
        )
        recalls = [float(hits[group].mean()) for group in self._groups]
        return recalls[0], recalls[-1]

    def narrowest(self, recall: float) -> Tuned:
        """The narrowest search that reaches a recall for all and for the newest, or those that match.

        Where short codes cannot reach it however widely they are searched, it is the narrowest that finds
        what the widest does, but for a few in a thousand.
        """
        tuned = self._narrowest(recall)
        found = min(tuned.recall, tuned.newest)
        if tuned.reached or found <= _LOST:
            return tuned
        return replace(self._narrowest(found - _LOST), reached=False)

    def _narrowest(self, recall: float) -> Tuned:
        """The same, or the widest.

        More candidates take time, too, but need fewer lists: what costs least is taken.
        """
        limits = self._searched.limits()
        width = self._searched.filled(Width(), self.k + 1)  # a probe is looked for itself, too
        if limits.nprobe is None and limits.ef_search is None and limits.candidates is not None:
            return self._fewest_candidates(width, recall)
        best: Tuned | None = None
        while True:
            if limits.nprobe is not None or limits.ef_search is not None:
                option = 'nprobe' if limits.nprobe is not None else 'ef_search'
                wide = _least(
                    lambda value: min(self.measure(replace(width, **{option: value}))),  # noqa: B023
                    recall,
                    int(getattr(limits, option)),
                    may_level=option == 'nprobe',
                )
                width = replace(width, **{option: wide})
            overall, newest = self.measure(width)
            tuned = Tuned(width, overall, newest, min(overall, newest) >= recall)
            if best is not None and self._cost(width) >= self._cost(best.width):
                return best
            if tuned.reached:
                best = tuned
            if limits.candidates is None or (width.candidates or 0) >= _MOST_CANDIDATES:
                return best or tuned
            width = replace(width, candidates=min(_MOST_CANDIDATES, 2 * (width.candidates or 1)))
            if best is not None and self._cost(replace(width, nprobe=0)) >= self._cost(best.width):
                return best

    def _fewest_candidates(self, width: Width, recall: float) -> Tuned:
        fewest = _least(
            lambda value: min(self.measure(replace(width, candidates=value))), recall, _MOST_CANDIDATES
        )
        width = replace(width, candidates=max(fewest, 2 * (self.k + 1)))  # so many are compared in any case
        overall, newest = self.measure(width)
        return Tuned(width, overall, newest, min(overall, newest) >= recall)

    def _cost(self, width: Width) -> float:
        """Of a search, in codes that are looked at."""
        share = (width.nprobe or 0) / (self._searched.limits().nprobe or 1)
        return share * self._count + _CANDIDATE * (width.candidates or 0)


def _least(recall_of: Callable[[int], float], recall: float, max_width: int, may_level: bool = False) -> int:
    """The least width that reaches the recall: doubled until it does, then halved; at most ``max_width``.

    Args:
        recall_of: Of a width.
        recall: That is wanted.
        max_width: The widest.
        may_level: Whether to stop where the recall has not risen for some doublings: it is out of reach then,
            and to look through all of ten million entries for nothing takes minutes.
    """
    low, high = 0, 1
    found = [recall_of(high)]
    while found[-1] < recall:
        if high >= max_width or (may_level and _is_level(found)):
            return high
        low, high = high, min(2 * high, max_width)
        found.append(recall_of(high))
    while high - low > max(1, low // 8):
        middle = (low + high) // 2
        low, high = (low, middle) if recall_of(middle) >= recall else (middle, high)
    return high


def _is_level(found: Sequence[float]) -> bool:
    """Whether recalls of widths that were doubled have come to a level: not before some are found at all."""
    return (
        len(found) > _DOUBLED and found[-1 - _DOUBLED] > _SOME and found[-1] - found[-1 - _DOUBLED] < _LEVEL
    )
