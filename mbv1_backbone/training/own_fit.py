"""What boxes ask of a detector: how large its input is to be, and which anchors cover them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmengine.config import Config

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.detection.anchor_fit import (
    COVERED,
    AnchorFit,
    anchor_generator_of,
    best_ious,
    fit_anchors,
    scaled_boxes,
)
from mbv1_backbone.detection.formats.coco import CocoAnnotations, learnable

__all__ = ['AnchorReport', 'anchors_for', 'boxes_of', 'fitted_anchors', 'input_size', 'merge']

_SIZES = (320, 416, 512, 640)  # multiples of the greatest stride
_PERCENTILE = 10  # of the boxes' sides: nine of ten are to be seen as large as a cell of the finest map
_FEW = 10  # boxes of a class that decide nothing


@dataclass(frozen=True)
class AnchorReport:
    """The anchors that would be proposed, in lines for people, and the boxes that they do not cover."""

    lines: list[str]
    uncovered: list[dict[str, Any]]


def anchors_for(found: Mapping[str, CocoAnnotations], cfg: Config, size: int | None = None) -> AnchorReport:
    """Which boxes no anchor covers, of the detector that is proposed for a data set.

    Args:
        found: Annotations by part; the anchors are fitted to the first, as they are to what is trained on.
        cfg: Of the detector that it is made from.
        size: Side of the input in pixels; None for that which the boxes ask for.

    Raises:
        InputError: If there is no box.
    """
    first = next(iter(found.values()))
    boxes = boxes_of(first)
    if not len(boxes[0]):
        raise InputError(f'{first.path}: no box is left, of {first.report.stated}: {first.report.reasons()}')
    side, why = input_size(cfg, boxes, first.classes, size)
    changes: dict[str, Any] = {}
    scaled = scaled_boxes(boxes[0], boxes[2], side)
    lines = [why, *fitted_anchors(cfg, changes, scaled, boxes[1], first.classes, side)]
    known = anchor_generator_of(cfg.model)
    if known is None:
        return AnchorReport(lines, [])
    (head, key), generator = known
    merge(generator, changes.get(head, {}).get(key, {}))
    uncovered = [box for part, one in found.items() for box in _uncovered(part, one, generator, side)]
    return AnchorReport(lines, sorted(uncovered, key=lambda box: box['iou']))


def _uncovered(
    part: str, found: CocoAnnotations, generator: Mapping[str, Any], size: int
) -> list[dict[str, Any]]:
    boxes, labels, sizes = boxes_of(found)
    ious = best_ious(scaled_boxes(boxes, sizes, size), generator, size)
    names = {image['id']: image['file_name'] for image in found.images}
    kept = [a for a in found.annotations if learnable(a)]
    return [
        {
            'part': part,
            'image': names[annotation['image_id']],
            'class': found.classes[label],
            'bbox': [round(v, 1) for v in annotation['bbox']],
            'iou': round(float(iou), 3),
        }
        for annotation, label, iou in zip(kept, labels, ious, strict=True)
        if iou < COVERED
    ]


def boxes_of(found: CocoAnnotations) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (N, 4) that are learnt from, their labels, and the sizes (N, 2) of their pictures."""
    sizes = {image['id']: (image['width'], image['height']) for image in found.images}
    label = {category['id']: k for k, category in enumerate(found.categories)}
    kept = [a for a in found.annotations if learnable(a)]
    return (
        np.array([a['bbox'] for a in kept], dtype=np.float64),
        np.array([label[a['category_id']] for a in kept]),
        np.array([sizes[a['image_id']] for a in kept], dtype=np.float64),
    )


def input_size(
    cfg: Config,
    boxes: tuple[np.ndarray, np.ndarray, np.ndarray],
    classes: tuple[str, ...],
    chosen: int | None,
) -> tuple[int, str]:
    """Side of the input, and why: at least a cell of the finest map for nine of ten boxes of every class.

    Args:
        cfg: Of the detector.
        boxes: Of ``boxes_of``.
        classes: Names by label.
        chosen: The side that a user wants; None for none.
    """
    shares, worst = _small_side(*boxes)
    finest = max(8, _finest_stride(cfg))
    first = 300 if str((cfg.model.get('bbox_head') or {}).get('type')).endswith('SSDHead') else 320
    largest = max(first, float(np.median(boxes[2].max(axis=1))))
    able = [first, *(size for size in _SIZES if first < size <= largest)]
    size = chosen or next((size for size in able if size * shares >= finest), able[-1])
    told = (
        f'input       {size} x {size}: nine boxes of ten are {shares * size:.0f} pixels or more, of every '
        f'class (least {classes[worst]}); a cell of the finest map is {finest}'
    )
    if shares * size < finest and chosen is None:
        told += '; pictures are no larger'
    return size, told


def _small_side(boxes: np.ndarray, labels: np.ndarray, sizes: np.ndarray) -> tuple[float, int]:
    """Of the class with the smallest boxes, the side that nine of ten have, as a share of the input's."""
    shares = np.sqrt(boxes[:, 2] / sizes[:, 0] * boxes[:, 3] / sizes[:, 1])
    counts = np.bincount(labels)
    enough = np.flatnonzero(counts >= min(_FEW, counts.max()))
    found = {int(k): float(np.percentile(shares[labels == k], _PERCENTILE)) for k in enough}
    worst = min(found, key=lambda k: found[k])
    return found[worst], worst


def _finest_stride(cfg: Config) -> int:
    """Stride of the first tap, in pixels."""
    taps = cfg.model.backbone.get('out_indices', (11,))
    return next((stride for last, stride in ((1, 2), (3, 4), (5, 8), (11, 16)) if min(taps) <= last), 32)


def fitted_anchors(
    cfg: Config,
    changes: dict[str, Any],
    boxes: np.ndarray,
    labels: np.ndarray,
    classes: tuple[str, ...],
    size: int,
) -> list[str]:
    """Put the anchors that fit into the changes, and say how well they do.

    Args:
        cfg: Of the detector.
        changes: Of its model; anchors are put in.
        boxes: (N, 4) x1, y1, x2, y2 in pixels of the input.
        labels: (N,) of the boxes.
        classes: Names by label.
        size: Side of the input in pixels.
    """
    found = anchor_generator_of(cfg.model)
    if found is None:
        return ['anchors     as the model has them, of a kind that is not fitted here']
    (head, key), generator = found
    if 'input_size' in generator:
        generator['input_size'] = size
        merge(changes, {head: {key: dict(input_size=size)}})
    fit = fit_anchors(boxes, labels, len(classes), generator, size)
    merge(changes, {head: {key: fit.changes}} if fit.changes else {})
    return _told_anchors(fit, classes)


def _told_anchors(fit: AnchorFit, classes: tuple[str, ...]) -> list[str]:
    mean = [float(np.nanmean(shares)) for shares in (fit.before, fit.after)]
    if fit.changes:
        values = ', '.join(f'{name} {value}' for name, value in fit.changes.items())
        line = (
            f'anchors     {values}: cover {mean[1]:.1%} of the boxes of a class, {mean[0]:.1%} as they were'
        )
    else:
        line = f'anchors     as the model has them: cover {mean[0]:.1%} of the boxes of a class'
    worst = [k for k in np.argsort(fit.after) if fit.after[k] < 0.9][:3]  # NaN is not below
    told = ', '.join(f'{classes[k]} {fit.after[k]:.1%}' for k in worst)
    return [line + (f'; least {told}' if worst else '')]


def merge(target: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Put nested values into nested ones."""
    for key, value in more.items():
        if isinstance(value, Mapping):
            merge(target.setdefault(key, {}), value)
        else:
            target[key] = value
