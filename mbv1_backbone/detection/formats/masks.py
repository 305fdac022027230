"""Masks of COCO annotations: that each is there, and one of its image."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.detection.formats.coco import CocoAnnotations

__all__ = ['check_masks']

_RULE = "must be polygons, lists of six numbers x, y, ... or more, or COCO's run lengths of the image"


def check_masks(annotations: CocoAnnotations) -> None:
    """Check that every annotation has a ``segmentation`` that can be learnt and evaluated on.

    Args:
        annotations: Of a data set whose masks are used.

    Raises:
        InputError: If one has none, or one that is no mask of its image.
    """
    sizes = {image['id']: (image['height'], image['width']) for image in annotations.images}
    names = {image['id']: image['file_name'] for image in annotations.images}
    for annotation in annotations.annotations:
        mask, image = annotation.get('segmentation'), annotation['image_id']
        where = f'{annotations.path}: the box {annotation["bbox"]} of {names[image]}'
        if not mask:
            raise InputError(f"{where} has no 'segmentation', and masks are asked for")
        right = _is_rle(mask, sizes[image]) if isinstance(mask, dict) else _are_polygons(mask)
        if not right:
            raise InputError(f"{where}: 'segmentation' {_RULE}, got {str(mask)[:50]}")


def _are_polygons(mask: Any) -> bool:
    if not isinstance(mask, list):
        return False
    return all(
        isinstance(polygon, list) and len(polygon) >= 6 and len(polygon) % 2 == 0 and _are_numbers(polygon)
        for polygon in mask
    )


def _are_numbers(values: Iterable[Any]) -> bool:
    return all(type(value) in (int, float) and math.isfinite(value) for value in values)


def _is_rle(mask: dict[str, Any], size: tuple[int, int]) -> bool:
    """Whether run lengths are of so many pixels, height x width."""
    counts = mask.get('counts')
    if mask.get('size') != [*size]:
        return False
    if isinstance(counts, str):
        counts = _counts_of(counts)
    if not isinstance(counts, list) or not all(type(n) is int and n >= 0 for n in counts):
        return False
    return sum(counts) == size[0] * size[1]


def _counts_of(text: str) -> list[int] | None:
    """The run lengths of COCO's text (``rleFrString`` of its ``maskApi.c``); None where it is none."""
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    return None if shift else counts
