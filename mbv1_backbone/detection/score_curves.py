"""Precision, recall and F1 of each class by the least score that counts, and what is taken for what."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mbv1_backbone.detection.matching import IGNORED, MATCHED, Sample

__all__ = ['ScoreCurve', 'confusion_counts', 'score_curves']


@dataclass(frozen=True)
class ScoreCurve:
    """Of one class.

    Attributes:
        objects: How many there are.
        scores: (D,) of its detections, descending: each taken for the least that counts.
        precision: (D,) 0..1.
        recall: (D,) 0..1; NaN without objects.
    """

    objects: int
    scores: np.ndarray
    precision: np.ndarray
    recall: np.ndarray

    @property
    def f1(self) -> np.ndarray:
        """(D,) harmonic mean of precision and recall, 0..1."""
        total = self.precision + self.recall
        return np.where(total > 0, 2 * self.precision * self.recall / np.where(total > 0, total, 1), 0.0)

    @property
    def best(self) -> int | None:
        """Place of the greatest F1; None without detections or objects."""
        return int(self.f1.argmax()) if len(self.scores) and self.objects else None

    @property
    def told(self) -> float | None:
        """The threshold to three digits, rounded down: so ``--score-thr`` keeps its detection."""
        return None if self.best is None else math.floor(float(self.scores[self.best]) * 1000) / 1000

    @property
    def threshold(self) -> float:
        """The score with the greatest F1; above 1 where there is none."""
        return 1.01 if self.best is None else float(self.scores[self.best])


def score_curves(samples: Sequence[Sample], classes: int) -> list[ScoreCurve]:
    """The curve of every class.

    Args:
        samples: Images with matched detections.
        classes: Number of classes.
    """
    kept = [s.matched != IGNORED for s in samples]
    labels = np.concatenate([s.labels[k] for s, k in zip(samples, kept, strict=True)])
    scores = np.concatenate([s.scores[k] for s, k in zip(samples, kept, strict=True)])
    right = np.concatenate([s.matched[k] >= 0 for s, k in zip(samples, kept, strict=True)])
    objects = np.bincount([label for s in samples for label in s.truth_labels], minlength=classes)
    return [_curve(scores[labels == k], right[labels == k], int(objects[k])) for k in range(classes)]


def _curve(scores: np.ndarray, right: np.ndarray, objects: int) -> ScoreCurve:
    """Equal scores count together: a threshold takes all of them or none."""
    order = np.argsort(-scores, kind='stable')
    scores, hits = scores[order], np.cumsum(right[order])
    last = np.append(scores[1:] != scores[:-1], True)[: len(scores)]
    counts = np.arange(1, len(scores) + 1)
    recall = hits / objects if objects else np.full(len(hits), np.nan)
    return ScoreCurve(objects, scores[last], (hits / counts)[last], recall[last])


def confusion_counts(samples: Sequence[Sample], thresholds: Sequence[float]) -> np.ndarray:
    """What is taken for what: pairs of ``MATCHED`` overlap, whatever their classes, the closest first.

    Args:
        samples: Images.
        thresholds: Least score that counts, by class.

    Returns:
        (K + 1, K + 1): objects of a class in a row, detections of one in a column; the last row has
        detections without an object, the last column objects without a detection.
    """
    background = len(thresholds)
    counts = np.zeros((background + 1, background + 1), dtype=np.int64)
    least = np.asarray(thresholds)
    for sample in samples:
        kept = (sample.scores >= least[sample.labels]) & (sample.matched != IGNORED)
        labels, ious = sample.labels[kept], sample.ious[kept]
        mine, theirs = np.nonzero(ious >= MATCHED)
        free, open_objects = np.ones(len(labels), bool), np.ones(len(sample.truth), bool)
        for pair in np.argsort(-ious[mine, theirs], kind='stable'):
            detection, target = mine[pair], theirs[pair]
            if free[detection] and open_objects[target]:
                free[detection] = open_objects[target] = False
                counts[sample.truth_labels[target], labels[detection]] += 1
        size = background + 1
        counts[background] += np.bincount(labels[free], minlength=size)
        counts[:, background] += np.bincount(sample.truth_labels[open_objects], minlength=size)
    return counts
