"""What counts of what a search found, in a gallery of any kind: which score is enough, and whose images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval.records import IdentityMatch, Match, Matches

__all__ = ['CALIBRATED', 'best_images', 'check_by', 'floor_of', 'person_of']

CALIBRATED = 'calibrated'  # a threshold: the one that calibration has stored, if any


def floor_of(threshold: float | str | None, calibration: Mapping[str, Any] | None) -> float:
    """The lowest score of a match, of a threshold as ``search`` takes it.

    Args:
        threshold: A number in -1..1, None for all, or ``CALIBRATED``.
        calibration: The gallery's own, for ``CALIBRATED``.

    Raises:
        InputError: If it is something else.
    """
    if isinstance(threshold, str) and threshold == CALIBRATED:
        return -np.inf if calibration is None else _reachable(float(calibration['threshold']))
    if threshold is None:
        return -np.inf
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float, np.number)):
        raise InputError(f'threshold must be a number, None or {CALIBRATED!r}, got {threshold!r:.60}')
    if not -1 <= threshold <= 1:  # nor NaN
        raise InputError(f'threshold must lie in -1..1, as scores do, got {threshold!r:.60}')
    return _reachable(float(threshold))


def _reachable(threshold: float) -> float:
    """The threshold of unrounded scores, which may lie just outside of -1..1: at -1 all reach it."""
    if threshold <= -1:
        return -np.inf
    return np.inf if threshold > 1 else threshold


def check_by(by: str) -> str:
    """How people are scored: ``'best'`` or ``'mean'``.

    Raises:
        InputError: If it is something else.
    """
    if by not in ('best', 'mean'):
        raise InputError(f"by must be 'best' or 'mean', got {by!r}")
    return by


def best_images(search: Callable[[int], Matches], people: int, most: int | None = None) -> dict[str, Match]:
    """The most alike image of each of the people whose best images come first.

    Args:
        search: The ``k`` most alike images of a probe.
        people: How many people.
        most: The largest ``k`` there is; None for no limit.

    Returns:
        By name, by descending score; fewer where the gallery, or ``most``, ends.
    """
    k = 4 * people
    while True:
        k = k if most is None else min(k, most)
        matches = search(k)
        best: dict[str, Match] = {}
        for match in matches:
            best.setdefault(match.identity, match)
        if len(best) >= people or len(matches) < k or k == most:
            return dict(list(best.items())[:people])
        k *= 4


def person_of(
    best: Match, images: int, probe: np.ndarray, vectors: Iterable[np.ndarray] | None
) -> IdentityMatch:
    """What is said of a person who was found.

    Args:
        best: The person's most alike image.
        images: How many images the person has.
        probe: Embedding (dimension,).
        vectors: Of all of the person's images, whose mean score counts; None for the best one's.
    """
    score = best.score
    if vectors is not None:
        score = float(np.mean([probe @ vector for vector in vectors]))
        score = min(1.0, max(-1.0, score))  # as those of matches
    return IdentityMatch(best.identity, score, 2.0 - 2.0 * score, images, best)
