"""Suppression of the boxes of one image by class, by torchvision, which is loaded where it is needed."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ['kept_of_image']


def kept_of_image(
    boxes: Any, scores: Any, score_thr: float, iou_threshold: float, max_boxes: int
) -> tuple[Any, Any]:
    """The best of an image that are left after suppression by class.

    Args:
        boxes: Tensor (A, 4): x1, y1, x2, y2 in pixels.
        scores: Tensor (C, A), 0..1.
        score_thr: Boxes that score no more are left out.
        iou_threshold: Boxes that overlap a better one of their class by more are left out.
        max_boxes: How many at most.

    Returns:
        Tensors int64 (M,), by descending score: classes and numbers of boxes.
    """
    batched_nms = importlib.import_module('torchvision.ops').batched_nms
    label, box = (scores > score_thr).nonzero(as_tuple=True)
    order = scores[label, box].argsort(descending=True)
    best = order[:0]
    for count in (8 * max_boxes, len(order)):  # what is left of the best does not depend on the others
        if len(best) < max_boxes:
            first = order[:count]
            kept = batched_nms(
                boxes[box[first]], scores[label[first], box[first]], label[first], iou_threshold
            )
            best = first[kept][:max_boxes]
    return label[best], box[best]
