"""How well a detector's anchors cover the boxes of a data set, and which anchors would cover them better."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from mmengine.registry import TASK_UTILS

from mbv1_backbone.common.errors import user_errors
from mbv1_backbone.compat.registry import use_scope

__all__ = [
    'COVERED',
    'AnchorFit',
    'anchor_generator_of',
    'best_ious',
    'coverage',
    'fit_anchors',
    'scaled_boxes',
]

COVERED = 0.5  # overlap from which an anchor is an object's whatever others there are (SSD, RetinaNet)
_GAIN = 0.02  # of the mean coverage of the classes, from which other anchors are proposed
_SMALLEST, _FIRST, _LAST = (0.025, 0.05, 0.075, 0.1), (0.075, 0.1, 0.15, 0.2), (0.6, 0.8, 0.95)
_FACTORS = (0.25, 0.5, 1.0, 2.0)


@dataclass(frozen=True)
class AnchorFit:
    """Anchors that are proposed.

    Attributes:
        changes: Values of the generator's config that are to change; empty where it is good as it is.
        before: Coverage by label of the anchors as they are, 0..1; NaN of a class without boxes.
        after: The same of the proposed ones.
    """

    changes: dict[str, Any]
    before: np.ndarray
    after: np.ndarray


def anchor_generator_of(model: Mapping[str, Any]) -> tuple[tuple[str, ...], dict[str, Any]] | None:
    """The config of the anchors that a model config matches to boxes, and the keys that lead to it.

    Args:
        model: Of a one-stage detector, or of a two-stage one with its proposals.

    Returns:
        None where the network has no anchors of a kind that is known here.
    """
    for head in ('rpn_head', 'bbox_head'):
        found = model.get(head)
        generator = found.get('anchor_generator') if isinstance(found, Mapping) else None
        if isinstance(generator, Mapping):
            kind = str(generator.get('type')).rpartition('.')[2]
            return ((head, 'anchor_generator'), dict(generator)) if kind in _CANDIDATES else None
    return None


def scaled_boxes(boxes: np.ndarray, sizes: np.ndarray, input_size: int) -> np.ndarray:
    """Boxes in pixels of the square input.

    Args:
        boxes: (N, 4) COCO's x, y, width, height in pixels of their pictures.
        sizes: (N, 2) width and height of the picture of each.
        input_size: Side of the input, in pixels.

    Returns:
        (N, 4) x1, y1, x2, y2.
    """
    factor = input_size / np.tile(np.asarray(sizes, dtype=np.float64).reshape(-1, 2), 2)
    x, y, w, h = np.asarray(boxes, dtype=np.float64).reshape(-1, 4).T
    return np.stack([x, y, x + w, y + h], axis=1) * factor


def best_ious(boxes: np.ndarray, generator: Mapping[str, Any], input_size: int) -> np.ndarray:
    """The greatest overlap of each box with any anchor of an input.

    Of anchors of one shape the one with the nearest centre overlaps most, so that only that is looked at.

    Args:
        boxes: (N, 4) x1, y1, x2, y2 in pixels of the input.
        generator: Config of the anchors.
        input_size: Side of the square input, in pixels.

    Returns:
        N intersections over unions, 0..1.
    """
    use_scope('mmdet')
    with user_errors('anchor_generator'):
        built = TASK_UTILS.build(dict(generator))
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    best = np.zeros(len(boxes))
    for base, (stride_w, stride_h) in zip(built.base_anchors, built.strides, strict=True):
        counts = math.ceil(input_size / stride_w - 1e-6), math.ceil(input_size / stride_h - 1e-6)
        for anchor in base.double().numpy():
            best = np.maximum(best, _ious_of_nearest(boxes, anchor, (stride_w, stride_h), counts))
    return best


def _ious_of_nearest(
    boxes: np.ndarray, anchor: np.ndarray, strides: tuple[float, float], counts: tuple[int, int]
) -> np.ndarray:
    """Overlaps with the anchor of a grid whose centre is nearest; ``anchor`` is that of the first place."""
    shared = np.ones(len(boxes))
    for axis in range(2):
        low, high = boxes[:, axis], boxes[:, axis + 2]
        centre = (anchor[axis] + anchor[axis + 2]) / 2
        place = np.round(((low + high) / 2 - centre) / strides[axis]).clip(0, counts[axis] - 1)
        shift = place * strides[axis]
        reach = np.minimum(high, anchor[axis + 2] + shift) - np.maximum(low, anchor[axis] + shift)
        shared *= reach.clip(min=0)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    own = (anchor[2] - anchor[0]) * (anchor[3] - anchor[1])
    return shared / np.maximum(areas + own - shared, 1e-9)


def coverage(ious: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Share of the boxes of each class with an anchor of ``COVERED`` overlap; NaN of one without boxes.

    Args:
        ious: (N,) of ``best_ious``.
        labels: (N,) of the boxes.
        classes: Number of classes.
    """
    counts = np.bincount(labels, minlength=classes)
    covered = np.bincount(labels[ious >= COVERED], minlength=classes)
    return np.where(counts > 0, covered / np.maximum(counts, 1), np.nan)


def fit_anchors(
    boxes: np.ndarray, labels: np.ndarray, classes: int, generator: Mapping[str, Any], input_size: int
) -> AnchorFit:
    """The anchors of a kind that cover boxes best; those that there are where no others are clearly better.

    Every class counts the same. Boxes are as the pictures have them, without augmentation.

    Args:
        boxes: (N, 4) x1, y1, x2, y2 in pixels of the input, one or more.
        labels: N labels.
        classes: Number of classes.
        generator: Config of the anchors.
        input_size: Side of the square input, in pixels.
    """
    before = coverage(best_ious(boxes, generator, input_size), labels, classes)
    best: tuple[float, dict[str, Any], np.ndarray] = (float(np.nanmean(before)) + _GAIN, {}, before)
    kind = str(generator['type']).rpartition('.')[2]
    for changes in _CANDIDATES[kind](generator):
        found = coverage(best_ious(boxes, {**generator, **changes}, input_size), labels, classes)
        if float(np.nanmean(found)) > best[0] + 1e-9:
            best = (float(np.nanmean(found)), changes, found)
    return AnchorFit(best[1], before, best[2])


def _of_ssd(generator: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Near to the released scales first: the first of equals is taken."""
    for smallest, first, last in product(_SMALLEST[::-1], _FIRST[::-1], _LAST[::-1]):
        if smallest < first:
            yield dict(smallest=smallest, min_scale=first, max_scale=last)


def _of_grid(generator: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for factor in _FACTORS:
        if generator.get('octave_base_scale'):
            yield dict(octave_base_scale=generator['octave_base_scale'] * factor)
        elif isinstance(scales := generator.get('scales'), Sequence):
            yield dict(scales=[scale * factor for scale in scales])


_CANDIDATES = dict(MobileSSDAnchorGenerator=_of_ssd, AnchorGenerator=_of_grid)
