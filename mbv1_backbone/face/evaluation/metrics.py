"""The field's measures of verification and identification, from similarity scores.

A score is higher where two faces are more alike; with embeddings of length 1 it is their cosine, and the
squared Euclidean distance of FaceNet is 2 - 2 * score. A score equal to a threshold is accepted. NumPy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = [
    'Folds',
    'Ranks',
    'Roc',
    'area_under',
    'best_threshold',
    'detect_and_identify',
    'equal_error_rate',
    'identify',
    'mean_average_precision',
    'roc',
    'tar_at_far',
    'verify_folds',
]


@dataclass(frozen=True)
class Roc:
    """Rates at every threshold, from the strictest to the loosest.

    Attributes:
        far: Share of impostor pairs that are accepted, 0..1, from 0 to 1.
        tar: Share of genuine pairs that are accepted.
        thresholds: The first is infinite and accepts nothing.
    """

    far: np.ndarray
    tar: np.ndarray
    thresholds: np.ndarray


@dataclass(frozen=True)
class Folds:
    """Accuracy by LFW's protocol (Huang et al. 2007, http://vis-www.cs.umass.edu/lfw/).

    Attributes:
        accuracy: Mean over the folds.
        error: Standard error of the mean; 0 of a single fold.
        thresholds: Of each fold, from the others.
    """

    accuracy: float
    error: float
    thresholds: np.ndarray


def roc(scores: np.ndarray, same: np.ndarray) -> Roc:
    """The curve of pairs.

    Args:
        scores: (N,).
        same: bool (N,).

    Raises:
        ValueError: If a score is not finite, or there are no genuine or no impostor pairs.
    """
    scores, same = _pairs(scores, same)
    order = np.argsort(-scores, kind='stable')
    last: np.ndarray = np.append(
        np.flatnonzero(np.diff(scores[order])), len(scores) - 1
    )  # ties stand or fall together
    tar = np.cumsum(same[order])[last] / same.sum()
    far = np.cumsum(~same[order])[last] / (~same).sum()
    return Roc(np.append(0, far), np.append(0, tar), np.append(np.inf, scores[order][last]))


def area_under(curve: Roc) -> float:
    """AUC, by trapezoids: ties count half."""
    return float(np.sum(np.diff(curve.far) * (curve.tar[1:] + curve.tar[:-1]) / 2))


def equal_error_rate(curve: Roc) -> float:
    """EER: where FAR equals 1 - TAR, on the straight line between the thresholds beside it."""
    gap = curve.far - (1 - curve.tar)
    right = int(np.argmax(gap >= 0))
    left = max(right - 1, 0)
    share = 0.0 if gap[right] == gap[left] else -gap[left] / (gap[right] - gap[left])
    return float(curve.far[left] + share * (curve.far[right] - curve.far[left]))


def tar_at_far(curve: Roc, far: float) -> tuple[float, float]:
    """The greatest TAR at which FAR is at most ``far``, and its threshold."""
    allowed = int(np.searchsorted(curve.far, far, side='right')) - 1
    return float(curve.tar[allowed]), float(curve.thresholds[allowed])


def verify_folds(scores: np.ndarray, same: np.ndarray, folds: np.ndarray) -> Folds:
    """Accuracy of each fold at the threshold that is best on all others.

    Of several best thresholds the middle one of the highest run is taken, between two scores.

    Args:
        scores: (N,).
        same: bool (N,).
        folds: (N,), the fold of each pair; at least two folds.

    Raises:
        ValueError: If there is only one fold, or a score is not finite.
    """
    scores, same = np.asarray(scores, np.float64), np.asarray(same, bool)
    if not np.isfinite(scores).all():
        raise ValueError('scores must be finite')
    names = np.unique(folds)
    if len(names) < 2:
        raise ValueError(f'needs two folds or more, got {len(names)}')
    accuracies, thresholds = [], []
    for name in names:
        out = np.asarray(folds) == name
        threshold = best_threshold(scores[~out], same[~out])
        thresholds.append(threshold)
        accuracies.append(((scores[out] >= threshold) == same[out]).mean())
    error = np.std(accuracies, ddof=1) / np.sqrt(len(names))
    return Folds(float(np.mean(accuracies)), float(error), np.array(thresholds))


def best_threshold(scores: np.ndarray, same: np.ndarray) -> float:
    """The threshold with the most pairs on their right side, half-way between two scores."""
    values = np.unique(scores)[::-1]
    cuts = np.concatenate([[values[0] + 1], (values[1:] + values[:-1]) / 2, [values[-1] - 1]])
    accepted_genuine = np.searchsorted(np.sort(-scores[same]), -cuts, side='right')
    accepted_impostor = np.searchsorted(np.sort(-scores[~same]), -cuts, side='right')
    right = accepted_genuine + (~same).sum() - accepted_impostor
    first = int(np.argmax(right))
    run = int(np.argmin(np.append(right[first:] == right[first], False)))
    return float(cuts[first + (run - 1) // 2])


@dataclass(frozen=True)
class Ranks:
    """Closed-set identification.

    Attributes:
        ranks: int (N,) of each probe: 1 + the people who score at least as high as its own.
        average_precision: (N,) of each probe over the gallery's images.
    """

    ranks: np.ndarray
    average_precision: np.ndarray

    def within(self, rank: int) -> float:
        """Share of probes at this rank or better (CMC)."""
        return float((self.ranks <= rank).mean())


def identify(scores: np.ndarray, gallery: np.ndarray, probes: np.ndarray) -> Ranks:
    """Rank each probe's own person among the gallery's; ties go against it.

    Args:
        scores: (probes, gallery images).
        gallery: Identity of each gallery image.
        probes: Identity of each probe, all of them in the gallery.

    Raises:
        ValueError: If a probe's person is not in the gallery, there is none, or a score is not finite.
    """
    scores, own = _against_gallery(scores, gallery, probes)
    if not len(scores) or not own.any(1).all():
        raise ValueError('needs at least one probe, and every person of the probes in the gallery')
    people, columns = np.unique(gallery, return_inverse=True)
    best = np.full((len(scores), len(people)), -np.inf)
    for person in range(len(people)):
        best[:, person] = scores[:, columns == person].max(1)
    mine = np.where(own, scores, -np.inf).max(1, keepdims=True)
    ranks = (best >= mine).sum(1)
    return Ranks(ranks, _average_precision(scores, own))


def detect_and_identify(
    known: np.ndarray,
    gallery: np.ndarray,
    probes: np.ndarray,
    unknown: np.ndarray,
    fpirs: Sequence[float],
) -> dict[float, tuple[float, float]]:
    """Open-set identification: DIR at wanted FPIRs (https://nvlpubs.nist.gov/nistpubs/ir/2019/NIST.IR.8271.pdf).

    The threshold is the lowest at which no more than the wanted share of non-mated probes has a best score
    of at least it. DIR is the share of known probes whose own person comes first, alone, and reaches it.

    Args:
        known: Scores (probes, gallery images).
        gallery: Identity of each gallery image.
        probes: Identity of each known probe.
        unknown: Scores (non-mated probes, gallery images).
        fpirs: Wanted rates, 0..1.

    Returns:
        FPIR -> (DIR, threshold).

    Raises:
        ValueError: If there are no non-mated probes, or a score is not finite.
    """
    if not len(unknown) or not np.isfinite(unknown).all():
        raise ValueError('needs scores of non-mated probes, all of them finite')
    first = identify(known, gallery, probes).ranks == 1
    mine = np.where(_against_gallery(known, gallery, probes)[1], known, -np.inf).max(1)
    non_mated = np.sort(unknown.max(1))[::-1]
    found = {}
    for fpir in fpirs:
        allowed = int(np.floor(fpir * len(non_mated) + 1e-9))
        limit = non_mated[allowed] if allowed < len(non_mated) else -np.inf
        threshold = float(np.nextafter(limit, np.inf))
        found[fpir] = (float((first & (mine >= threshold)).mean()), threshold)
    return found


def mean_average_precision(
    scores: np.ndarray, positive: np.ndarray, known: np.ndarray | None = None
) -> float:
    """Mean over columns of average precision, as of face attributes (paper, Table 12); ties go against it.

    Columns without a positive row are left out.

    Args:
        scores: (N, attributes).
        positive: bool (N, attributes).
        known: bool (N, attributes); what is not known is left out. By default all is.

    Raises:
        ValueError: If no column has a positive row, or a score is not finite.
    """
    if not np.isfinite(scores).all():
        raise ValueError('scores must be finite')
    known = np.ones_like(positive) if known is None else known
    columns = [
        _average_precision(scores[rows, i][None], positive[rows, i][None])[0]
        for i, rows in enumerate(known.T)
        if positive[rows, i].any()
    ]
    if not columns:
        raise ValueError('needs an attribute that some image has')
    return float(np.mean(columns))


def _average_precision(scores: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Of each row; among equal scores the relevant come last."""
    order = np.lexsort((relevant, -scores), axis=1)
    hits = np.take_along_axis(relevant, order, axis=1)
    precision = np.cumsum(hits, 1) / np.arange(1, hits.shape[1] + 1)
    return (precision * hits).sum(1) / hits.sum(1)


def _against_gallery(
    scores: np.ndarray, gallery: np.ndarray, probes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and which gallery images are of the probe's own person."""
    scores = np.asarray(scores, np.float64)
    if scores.shape != (len(probes), len(gallery)):
        raise ValueError(f'scores must be ({len(probes)}, {len(gallery)}), got {scores.shape}')
    if not np.isfinite(scores).all():
        raise ValueError('scores must be finite')
    return scores, np.asarray(probes)[:, None] == np.asarray(gallery)[None]


def _pairs(scores: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores, same = np.asarray(scores, np.float64), np.asarray(same, bool)
    if not np.isfinite(scores).all():
        raise ValueError('scores must be finite')
    if same.all() or not same.any():
        raise ValueError(f'needs genuine and impostor pairs, got {int(same.sum())} and {int((~same).sum())}')
    return scores, same
