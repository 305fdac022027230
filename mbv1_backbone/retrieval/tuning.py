"""How widely to search for a wanted recall: measured on the gallery itself, against comparing with all."""

from __future__ import annotations

from typing import Any

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval.gallery import Gallery

_SEED = 1234
_BLOCK = 4096  # entries compared with all probes at once
_GROWN = 2  # times the entries it was measured with: then it is measured anew


def tune(gallery: Gallery, recall: float, k: int = 10, probes: int = 200) -> dict[str, int]:
    """The narrowest search that finds a wanted share of the true nearest entries.

    Some of the gallery's own entries are searched for, each without itself. What is found is stored in the
    gallery, and measured anew once the gallery has another index or has doubled.

    Args:
        gallery: With at least two entries.
        recall: Wanted share of the ``k`` truly nearest, in (0, 1].
        k: Nearest entries that count.
        probes: Entries to measure with.

    Returns:
        ``nprobe`` or ``ef_search`` for ``Gallery.search``; empty for an index that compares with all.

    Raises:
        InputError: If the recall is out of its range, or the index cannot reach it however widely it
            searches, since it keeps vectors in short codes.
    """
    if not 0 < recall <= 1:
        raise InputError(f'recall must lie in 0..1 and above 0, got {recall}')
    kind = gallery.breadth()
    if kind is None:
        return {}
    option, most = kind
    about = dict(recall=recall, k=k, factory=gallery.stats()['factory'])
    old = gallery.tuning or {}
    same = all(old.get(key) == value for key, value in about.items())
    if same and old['entries'] <= len(gallery) < _GROWN * old['entries']:
        return {option: int(old[option])}
    ids, vectors, nearest = _exact(gallery, k, probes)

    def reached(width: int) -> float:
        wide: dict[str, Any] = {option: width}
        found = gallery.search(vectors, k + 1, None, **wide)
        return _recall(ids, nearest, [[match.id for match in row] for row in found])

    width = _least(reached, recall, most)
    if width is None:
        raise InputError(
            f'recall {recall:g} is out of reach of index {about["factory"]}: it keeps vectors in short codes'
        )
    gallery.set_tuning({**about, 'entries': len(gallery), option: width})
    return {option: width}


def _exact(gallery: Gallery, k: int, probes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids and vectors of some entries, and the ids (N, k) of the entries that are truly nearest to each."""
    ids: list[int] = []
    blocks: list[np.ndarray] = []
    for entry, vector in gallery.entries_with_vectors():
        ids.append(entry.id)
        blocks.append(vector)
    if len(ids) < 2:
        raise InputError(f'{gallery.folder}: {len(ids)} entries are too few to measure recall')
    everyone, every = np.array(ids), np.array(blocks, np.float32)
    drawn = np.random.default_rng(_SEED).permutation(len(everyone))[:probes]
    k = min(k, len(everyone) - 1)
    scores: np.ndarray = np.full((len(drawn), k), -np.inf, np.float32)
    nearest = np.full((len(drawn), k), -1)
    for start in range(0, len(every), _BLOCK):
        block = every[drawn] @ every[start : start + _BLOCK].T
        names = everyone[start : start + _BLOCK]
        block[everyone[drawn][:, None] == names] = -np.inf
        scores = np.concatenate([scores, block], 1)
        nearest = np.concatenate([nearest, np.broadcast_to(names, block.shape)], 1)
        best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        scores, nearest = (np.take_along_axis(values, best, 1) for values in (scores, nearest))
    return everyone[drawn], every[drawn], nearest


def _recall(ids: np.ndarray, nearest: np.ndarray, found: list[list[int]]) -> float:
    """Mean share of the nearest that were found, beside the probe itself."""
    hits = [
        len(set(truth.tolist()) & set(row) - {own}) / len(truth)
        for own, truth, row in zip(ids.tolist(), nearest, found, strict=True)
    ]
    return float(np.mean(hits))


def _least(reached: Any, recall: float, most: int) -> int | None:
    """The least width that reaches the recall: doubled until it does, then halved between."""
    low, high = 0, 1
    while reached(high) < recall:
        if high >= most:
            return None
        low, high = high, min(2 * high, most)
    while high - low > max(1, low // 8):
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) >= recall else (middle, high)
    return high
