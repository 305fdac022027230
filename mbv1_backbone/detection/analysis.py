"""Why a detector misses things: everything that its detections of a data set show."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mbv1_backbone.common.images import read_image
from mbv1_backbone.detection.drawing import draw_boxes, side_by_side
from mbv1_backbone.detection.formats.coco import CocoAnnotations
from mbv1_backbone.detection.matching import UNMATCHED, Sample, match
from mbv1_backbone.detection.score_curves import ScoreCurve, confusion_counts, score_curves
from mbv1_backbone.detection.tide import Tide, tide

__all__ = ['AREAS', 'Analysis', 'Worst', 'analyze', 'drawn']

AREAS = ('all', 'small', 'medium', 'large')  # COCO's, in pixels of the picture


@dataclass(frozen=True)
class Worst:
    """A picture and what is wrong on it: detections without an object, objects without a detection."""

    sample: Sample
    wrong: int
    missed: int

    @property
    def errors(self) -> int:
        """Both together."""
        return self.wrong + self.missed


@dataclass(frozen=True)
class Analysis:
    """What a detector does on a data set of K classes.

    Attributes:
        annotations: Of the data set.
        detections: Number of them.
        ap: By area, (K,) AP of each class over overlaps .5 to .95; NaN without objects.
        ap50: The same at an overlap of .5.
        curves: Of each class.
        tide: Kinds of error and their costs.
        confusion: (K + 1, K + 1) of ``confusion_counts``, at the best thresholds.
        worst: All pictures with errors at the best thresholds, most errors first.
    """

    annotations: CocoAnnotations
    detections: int
    ap: dict[str, np.ndarray]
    ap50: dict[str, np.ndarray]
    curves: list[ScoreCurve]
    tide: Tide
    confusion: np.ndarray
    worst: list[Worst]

    @property
    def thresholds(self) -> list[float]:
        """Of each class, the score with the greatest F1; above 1 without any."""
        return [curve.threshold for curve in self.curves]

    def report(self) -> dict[str, Any]:
        """All of it, as JSON has it; what is not known is null."""
        classes = {}
        for k, name in enumerate(self.annotations.classes):
            curve = self.curves[k]
            best = {} if curve.best is None else _at(curve, curve.best)
            classes[name] = dict(
                objects=curve.objects,
                ap={area: _known(values[k]) for area, values in self.ap.items()},
                ap50={area: _known(values[k]) for area, values in self.ap50.items()},
                best=best or None,
                curve=[_at(curve, place) for place in _spread(len(curve.scores))],
            )
        return dict(
            annotations=self.annotations.path,
            images=len(self.annotations.images),
            objects=sum(curve.objects for curve in self.curves),
            detections=self.detections,
            ap={area: _mean(values) for area, values in self.ap.items()},
            ap50={area: _mean(values) for area, values in self.ap50.items()},
            tide=asdict(self.tide),
            confusion=dict(
                rows=[*self.annotations.classes, 'background'],
                columns=[*self.annotations.classes, 'missed'],
                counts=self.confusion.tolist(),
            ),
            worst=[
                dict(image=w.sample.image['file_name'], wrong=w.wrong, missed=w.missed) for w in self.worst
            ],
            classes=classes,
        )


def analyze(annotations: CocoAnnotations, detections: Sequence[dict[str, Any]]) -> Analysis:
    """Compare detections with objects.

    Args:
        annotations: The objects.
        detections: Of ``check_detections``.
    """
    samples = match(annotations, detections)
    count = len(annotations.classes)
    curves = score_curves(samples, count)
    thresholds = [curve.threshold for curve in curves]
    ap, ap50 = _coco_ap(annotations, detections)
    worst = [_errors_of(sample, np.array(thresholds)) for sample in samples]
    worst = sorted((w for w in worst if w.errors), key=lambda w: -w.errors)
    confusion = confusion_counts(samples, thresholds)
    return Analysis(annotations, len(detections), ap, ap50, curves, tide(samples, count), confusion, worst)


def drawn(worst: Worst, annotations: CocoAnnotations, thresholds: Sequence[float]) -> np.ndarray:
    """A picture with its objects (left) and its detections (right).

    Args:
        worst: The picture.
        annotations: That it is of, read with their pictures.
        thresholds: Least score that is drawn, by class.
    """
    sample, names = worst.sample, annotations.classes
    kept = sample.scores >= np.asarray(thresholds)[sample.labels]
    image = sample.image
    assert annotations.folder is not None  # they were read with their pictures
    pixels = read_image(Path(annotations.folder) / image['file_name'], (image['height'], image['width']))
    return side_by_side(
        draw_boxes(pixels, _corners(sample.truth), sample.truth_labels.tolist(), names),
        draw_boxes(
            pixels,
            _corners(sample.boxes[kept]),
            sample.labels[kept].tolist(),
            names,
            sample.scores[kept].tolist(),
        ),
    )


def _errors_of(sample: Sample, thresholds: np.ndarray) -> Worst:
    kept = sample.scores >= thresholds[sample.labels]
    found = set(sample.matched[kept].tolist()) - {UNMATCHED}
    missed = sum(k not in found for k in range(len(sample.truth)))
    return Worst(sample, int((kept & (sample.matched == UNMATCHED)).sum()), missed)


def _coco_ap(
    annotations: CocoAnnotations, detections: Sequence[dict[str, Any]]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """AP by area and class, by pycocotools."""
    from pycocotools.cocoeval import COCOeval

    count = len(annotations.classes)
    if not detections:
        objects = {a['category_id'] for a in annotations.annotations if not a['iscrowd']}
        none = np.array([0.0 if c in objects else np.nan for c in annotations.category_ids])
        return dict.fromkeys(AREAS, none), dict.fromkeys(AREAS, none)
    label = {category_id: k for k, category_id in enumerate(annotations.category_ids, 1)}
    with contextlib.redirect_stdout(io.StringIO()):
        truth = annotations.api(by_label=True)
        results = truth.loadRes([{**d, 'category_id': label[d['category_id']]} for d in detections])
        evaluation = COCOeval(truth, results, 'bbox')
        evaluation.params.catIds = list(range(1, count + 1))
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval['precision'][..., -1]  # overlaps, recalls, classes, areas; 100 detections
    precision = np.where(precision < 0, np.nan, precision)
    means = precision.mean(axis=1)  # all recalls of a class and area are known, or none is
    return (
        {area: means[:, :, k].mean(axis=0) for k, area in enumerate(AREAS)},
        {area: means[0, :, k] for k, area in enumerate(AREAS)},
    )


def _at(curve: ScoreCurve, place: int) -> dict[str, float | None]:
    values = dict(precision=curve.precision, recall=curve.recall, f1=curve.f1)
    return dict(score=_known(curve.scores[place])) | {n: _known(v[place]) for n, v in values.items()}


def _spread(count: int, most: int = 100) -> list[int]:
    """Up to ``most`` places of a curve, the first and the last among them."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, most))}) if count else []


def _known(value: Any) -> float | None:
    return None if np.isnan(value) else round(float(value), 5)


def _mean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return _known(known.mean()) if len(known) else None


def _corners(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
