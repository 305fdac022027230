"""Boxes of annotations against their images: in pixels, within them, and no corners."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.detection.formats.report import Report
from mbv1_backbone.detection.formats.values import Id

__all__ = ['boxes_inside', 'check_corners', 'check_units']

_SLACK = 1.5  # pixels that a box may reach out of its image before it is counted


def _fraction(box: Sequence[float]) -> bool:
    return box[0] + box[2] <= 1.001 and box[1] + box[3] <= 1.001


def check_units(annotations: Sequence[dict[str, Any]], name: str) -> None:
    """Refuse boxes that are fractions of the image throughout.

    Args:
        annotations: With ``bbox``, COCO's x, y, width, height.
        name: The file, for the message.

    Raises:
        InputError: If all of them lie within a pixel.
    """
    if annotations and all(_fraction(annotation['bbox']) for annotation in annotations):
        raise InputError(
            f'{name}: all {len(annotations)} boxes are smaller than a pixel, as {annotations[0]["bbox"]} of '
            f'{annotations[0]["id"]}; bbox must be x, y, width, height in pixels, not fractions of the image'
        )


def boxes_inside(
    annotations: list[dict[str, Any]], images: dict[Id, dict[str, Any]], report: Report
) -> list[dict[str, Any]]:
    """Those whose box has a part in its image; what training leaves out of them is counted.

    Args:
        annotations: Readable ones, of images that there are.
        images: By id, with ``width`` and ``height`` in pixels; a side that is not known bounds nothing.
        report: Where boxes outside, partly outside, of fractions, crowds and others are counted.
    """
    kept = []
    for annotation in annotations:
        image, example = images[annotation['image_id']], annotation['id']
        x, y, w, h = annotation['bbox']
        width, height = image['width'] or float('inf'), image['height'] or float('inf')
        if _fraction(annotation['bbox']):
            report.add('fractions', example)
            continue
        if x >= width or y >= height or x + w <= 0 or y + h <= 0:
            report.add('outside', example)
            continue
        if min(x, y) < -_SLACK or x + w > width + _SLACK or y + h > height + _SLACK:
            report.add('partly_outside', example)
        for reason, applies in (
            ('crowd', annotation['iscrowd']),
            ('ignored', annotation.get('ignore')),
            ('thin', w < 1 or h < 1),
        ):
            if applies:
                report.add(reason, example)
        kept.append(annotation)
    return kept


def check_corners(annotations: Sequence[dict[str, Any]], images: dict[Id, Any], name: str) -> None:
    """Refuse boxes that must be corners: half of them reach out of their image, and all fit as corners.

    Args:
        annotations: Those with a part in their image.
        images: By id.
        name: The file, for the message.

    Raises:
        InputError: If x1, y1, x2, y2 is what all of them are.
    """
    out = 0
    for annotation in annotations:
        (x, y, a, b), image = annotation['bbox'], images[annotation['image_id']]
        width, height = image['width'] or float('inf'), image['height'] or float('inf')
        if a <= x or b <= y or a > width + _SLACK or b > height + _SLACK:
            return
        out += x + a > width + _SLACK or y + b > height + _SLACK
    if annotations and out >= len(annotations) / 2:
        raise InputError(
            f'{name}: {out} of {len(annotations)} boxes reach out of their image, but all are valid as '
            'corners; bbox must be x, y, width, height, not x1, y1, x2, y2'
        )
