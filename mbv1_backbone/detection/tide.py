"""TIDE: why a detector's AP at an overlap of .5 is not 1, and what each kind of error costs.

As https://arxiv.org/abs/2008.08115 defines it, and its authors' program computes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mbv1_backbone.detection.matching import MATCHED, UNMATCHED, Sample

__all__ = ['KINDS', 'Tide', 'average_precision', 'tide']

KINDS = {
    'class': 'well placed, of another class',
    'location': 'of the right class, badly placed (overlap .1 to .5)',
    'both': 'of another class and badly placed',
    'duplicate': 'of an object that a better detection has',
    'background': 'where no object is (overlap up to .1)',
    'missed': 'an object that no detection is near to',
}
_BACKGROUND = 0.1  # overlap up to which a detection is of the background


@dataclass(frozen=True)
class Tide:
    """What a detector does wrong.

    Attributes:
        ap: AP at an overlap of .5, 0..1.
        costs: By kind of error, by how much AP would be higher without it.
        counts: By kind of error, how many.
        false_positives: By how much it would be higher if no wrong detection had a score above a right one.
        false_negatives: By how much it would be higher without objects that have no detection.
    """

    ap: float
    costs: dict[str, float]
    counts: dict[str, int]
    false_positives: float
    false_negatives: float


class _Point(NamedTuple):
    """A detection in a curve of precision by recall."""

    label: int
    score: float
    right: bool


class _Error(NamedTuple):
    """A wrong detection: what it is, its point, and the right one that it would be, or None: it would go."""

    kind: str
    point: _Point
    mended: _Point | None


def tide(samples: Sequence[Sample], classes: int) -> Tide:
    """Why the AP is not 1.

    Args:
        samples: Images with matched detections.
        classes: Number of classes; those without objects do not count.
    """
    counts = np.bincount([label for s in samples for label in s.truth_labels], minlength=classes)
    missed = np.zeros(classes, dtype=np.int64)
    unused = np.zeros(classes, dtype=np.int64)
    right: list[_Point] = []
    errors: list[_Error] = []
    in_order: list[_Point] = []
    for sample in samples:
        wrong, hopeless = _errors_of(sample)
        errors += wrong
        missed += np.bincount(sample.truth_labels[hopeless], minlength=classes)
        unused += np.bincount(sample.truth_labels[~sample.used], minlength=classes)
        points = [_point(sample, k) for k in range(len(sample.scores)) if sample.matched[k] >= UNMATCHED]
        in_order += points
        right += [point for point in points if point.right]
    ap = _mean_ap(in_order, counts, counts)
    costs = {}
    for kind in KINDS:
        left = [e.mended if e.kind == kind else e.point for e in errors]
        points = [point for point in left if point is not None]
        costs[kind] = max(_mean_ap([*points, *right], counts - missed * (kind == 'missed'), counts) - ap, 0.0)
    told = {kind: sum(e.kind == kind for e in errors) for kind in KINDS} | dict(missed=int(missed.sum()))
    ranked = [p._replace(score=float(p.right)) for p in in_order]
    return Tide(
        ap,
        costs,
        told,
        _mean_ap(ranked, counts, counts) - ap,
        _mean_ap(in_order, counts - unused, counts) - ap,
    )


def average_precision(scores: Iterable[float], right: Iterable[bool], objects: int) -> float:
    """AP as COCO has it: the mean of 101 precisions, each the best one at that recall or a higher one.

    Args:
        scores: Of the detections.
        right: Whether each is matched.
        objects: Number of objects; without any it is 0.

    Returns:
        0..1.
    """
    if not objects:
        return 0.0
    found = np.array(list(right), dtype=bool)
    order = np.argsort(-np.array(list(scores), dtype=np.float64), kind='stable')
    hits = np.cumsum(found[order])
    precision = hits / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(hits / objects, np.arange(101) / 100, side='left')
    return float(np.append(precision, 0.0)[np.minimum(places, len(precision))].mean())


def _mean_ap(points: Sequence[_Point], objects: np.ndarray, counted: np.ndarray) -> float:
    """Mean of the classes that have objects; ``counted`` says which they are."""
    by_class: list[list[_Point]] = [[] for _ in objects]
    for point in points:
        by_class[point.label].append(point)
    aps = [
        average_precision((p.score for p in some), (p.right for p in some), int(objects[k]))
        for k, some in enumerate(by_class)
        if counted[k]
    ]
    return float(np.mean(aps)) if aps else 0.0


def _point(sample: Sample, place: int) -> _Point:
    return _Point(int(sample.labels[place]), float(sample.scores[place]), bool(sample.matched[place] >= 0))


def _errors_of(sample: Sample) -> tuple[list[_Error], np.ndarray]:
    """The wrong detections of an image, and (G,) which objects nothing is near to.

    Of several detections that could be mended to one free object, the best one is.
    """
    used = sample.used
    near = used.copy()
    taken: set[int] = set()
    errors = []
    for place in np.flatnonzero(sample.matched == UNMATCHED):
        kind, target = _kind_of(sample, int(place), used)
        mended = None
        if target is not None and not used[target]:
            near[target] = True
            if target not in taken:
                taken.add(target)
                label = int(sample.truth_labels[target])
                mended = _Point(label, float(sample.scores[place]), True)
        errors.append(_Error(kind, _point(sample, int(place)), mended))
    return errors, ~near


def _kind_of(sample: Sample, place: int, used: np.ndarray) -> tuple[str, int | None]:
    """What is wrong with a detection, and the object that it is meant for."""
    ious = sample.ious[place]
    if not len(ious):
        return 'background', None
    same = sample.truth_labels == sample.labels[place]
    of_class, of_others = ious * same, ious * ~same
    if _BACKGROUND <= of_class.max() <= MATCHED:
        return 'location', int(of_class.argmax())
    if of_others.max() >= MATCHED:
        return 'class', int(of_others.argmax())
    if (of_class * used).max() >= MATCHED:
        return 'duplicate', None
    return ('background' if ious.max() <= _BACKGROUND else 'both'), None
