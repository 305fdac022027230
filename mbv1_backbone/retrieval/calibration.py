"""A threshold that means something: computed for one gallery, from its own people and non-mated probes.

A non-mated probe, of somebody who is not enrolled, is a false positive where its best score reaches the
threshold; FPIR is the share of them for which it does, DIR the share of enrolled people's probes whose own
person comes first and reaches it (ISO/IEC 19795-1;
https://nvlpubs.nist.gov/nistpubs/ir/2019/NIST.IR.8271.pdf, section 3).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval.checks import check_vectors
from mbv1_backbone.retrieval.gallery import Gallery

__all__ = ['Calibration', 'calibrate']

_SEED = 1234
_DRAWS = 500  # of the bootstrap
_BLOCK = 512  # probes compared with all at once


@dataclass(frozen=True)
class Calibration:
    """A gallery's threshold.

    Attributes:
        fpir: Wanted share of non-mated probes that are taken for somebody, 0..1.
        threshold: Score that keeps to it.
        low: Lower end of the threshold's 95 % confidence interval.
        high: Upper end.
        non_mated: Non-mated probes that it was computed from.
        dir: Share of enrolled people's probes that are found and named rightly at it, None without any.
        probes: Such probes.
        change: The gallery's change that it was computed at.
    """

    fpir: float
    threshold: float
    low: float
    high: float
    non_mated: int
    dir: float | None
    probes: int
    change: int


def calibrate(gallery: Gallery, fpir: float, non_mated: Any = None, sample: int = 20_000) -> Calibration:
    """Compute a gallery's threshold and store it in the gallery.

    Every enrolled image stands in for a non-mated probe, compared with all other people's images; where
    embeddings of people who are not enrolled are given, they are compared with all. For DIR every image of
    a person with several is compared with all the others.

    Args:
        gallery: At least two people, or one and non-mated probes.
        fpir: Wanted rate, in (0, 1).
        non_mated: Embeddings (N, dimension) of people who are not in the gallery, in place of the stand-ins.
        sample: At most so many images are compared, drawn without order.

    Raises:
        InputError: If the rate is out of its range, or there are too few non-mated probes: 1 / fpir.
    """
    if not 0 < fpir < 1:
        raise InputError(f'fpir must lie between 0 and 1, got {fpir}')
    with gallery.snapshot() as change:
        pairs = list(gallery.entries_with_vectors())
    names = np.array([entry.identity for entry, _ in pairs], dtype=object)
    people = np.unique(names.astype(str), return_inverse=True)[1] if len(names) else np.zeros(0, int)
    vectors = np.array([vector for _, vector in pairs], np.float32).reshape(-1, gallery.dim)
    probes = _drawn(len(vectors), sample)
    other, own = _best_scores(vectors, people, probes)
    if non_mated is not None:
        given = check_vectors(non_mated, gallery.dim, 'non-mated probes')
        best, groups = _best_of(given, vectors), np.arange(len(given))
    else:
        best, groups = other, people[probes]
    best, groups = best[np.isfinite(best)], groups[np.isfinite(best)]
    if len(best) * fpir < 1:
        raise InputError(
            f'an FPIR of {fpir:g} needs {int(np.ceil(1 / fpir))} non-mated probes or more, got {len(best)}'
        )
    threshold = _threshold(best, fpir)
    low, high = _interval(best, groups, fpir)
    several = np.isfinite(own)
    hit = (own >= threshold) & (own > other)
    found = Calibration(
        fpir=fpir,
        threshold=threshold,
        low=low,
        high=high,
        non_mated=len(best),
        dir=float(hit[several].mean()) if several.any() else None,
        probes=int(several.sum()),
        change=change,
    )
    gallery.set_calibration(asdict(found))
    return found


def _drawn(count: int, max_items: int) -> np.ndarray:
    if count <= max_items:
        return np.arange(count)
    return np.sort(np.random.default_rng(_SEED).choice(count, max_items, replace=False))


def _best_scores(
    vectors: np.ndarray, people: np.ndarray, probes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each probe its best score with another person's image, and with another image of its own person.

    Where there is none, minus infinity.
    """
    other, own = np.full(len(probes), -np.inf), np.full(len(probes), -np.inf)
    for start in range(0, len(probes), _BLOCK):
        rows = probes[start : start + _BLOCK]
        scores = vectors[rows] @ vectors.T
        same = people[rows][:, None] == people[None]
        other[start : start + _BLOCK] = np.where(same, -np.inf, scores).max(axis=1)
        scores[np.arange(len(rows)), rows] = -np.inf
        own[start : start + _BLOCK] = np.where(same, scores, -np.inf).max(axis=1)
    return other, own


def _best_of(probes: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    if not len(vectors):
        return np.full(len(probes), -np.inf)
    blocks = [probes[i : i + _BLOCK] for i in range(0, len(probes), _BLOCK)]
    return np.concatenate([(block @ vectors.T).max(axis=1) for block in blocks] or [np.zeros(0)])


def _threshold(best: np.ndarray, fpir: float) -> float:
    """The lowest score that at most a share of ``fpir`` of the probes reach: just above the next one."""
    ordered = np.sort(best)[::-1]
    allowed = int(np.floor(fpir * len(ordered) + 1e-9))
    return float(np.nextafter(np.float32(ordered[min(allowed, len(ordered) - 1)]), np.float32(2)))


def _interval(best: np.ndarray, groups: np.ndarray, fpir: float) -> tuple[float, float]:
    """95 % of the thresholds of bootstrap draws; people are drawn, not images, as images of one are alike."""
    generator = np.random.default_rng(_SEED)
    order = np.argsort(groups, kind='stable')
    members = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    thresholds = []
    for _ in range(_DRAWS):
        drawn = generator.integers(0, len(members), len(members))
        thresholds.append(_threshold(best[np.concatenate([members[i] for i in drawn])], fpir))
    return float(np.quantile(thresholds, 0.025)), float(np.quantile(thresholds, 0.975))
