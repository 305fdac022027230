"""Values of annotation files, as tools write them: ids and numbers as text, flags of every kind."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.tables import parse_number

__all__ = ['Box', 'Id', 'box_of', 'box_of_mask', 'flag', 'number', 'plain_id', 'read_json']

Id = int | str
Box = tuple[float, float, float, float]

_NO = {'0', 'false', 'no', ''}
_YES = {'1', 'true', 'yes'}
_MOST = 2**63 - 1  # COCO's evaluation sorts ids as 64-bit integers


def read_json(path: str | os.PathLike[str]) -> Any:
    """A JSON file in UTF-8, -16 or -32, with or without a byte order mark.

    Raises:
        InputError: If it cannot be read, naming the file and the place.
    """
    try:
        return json.loads(Path(path).read_bytes())  # detects the encoding
    except OSError as error:
        raise InputError(f'{path}: {error.strerror}') from error
    except UnicodeDecodeError as error:
        raise InputError(f'{path}: not text in UTF-8, byte {error.start}: {error.reason}') from error
    except (ValueError, RecursionError) as error:
        raise InputError(f'{path}: not JSON: {error}') from error


def plain_id(value: Any, where: str) -> Id:
    """An id as an integer where it is one, also as text or as 3.0; else its text.

    Raises:
        InputError: If it is neither a whole number nor text.
    """
    if type(value) is int and -_MOST <= value <= _MOST:
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, str) and value.strip():
        text = value.strip()
        digits = text.removeprefix('-')
        if not (digits.isascii() and digits.isdigit()):
            return text
        if abs(int(text)) <= _MOST:
            return int(text)
    raise InputError(f'{where} must be a whole number below 2^63, or text, got {value!r}')


def number(value: Any) -> float | None:
    """A finite number, also as text; else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = parse_number(value) if isinstance(value, str) else float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def flag(value: Any, where: str) -> int:
    """0 or 1 from a number, a truth value or text; a missing one is 0.

    Raises:
        InputError: If it is anything else.
    """
    if value is None or (isinstance(value, (int, float)) and value in (0, 1)):
        return int(value or 0)
    text = str(value).strip().lower().removesuffix('.0')
    if text not in _NO | _YES:
        raise InputError(f'{where} must be 0 or 1, got {value!r}')
    return int(text in _YES)


def box_of(value: Any) -> Box | None:
    """``bbox``, x, y, width and height in pixels; None where it is not four finite numbers."""
    if not isinstance(value, (list, tuple)) or len(value) != 4:
        return None
    x, y, width, height = map(number, value)
    if x is None or y is None or width is None or height is None:
        return None
    return x, y, width, height


def box_of_mask(mask: Any) -> Box | None:
    """The box around a ``segmentation``, polygons or run lengths; None where it is none."""
    from pycocotools import mask as masks

    try:
        if isinstance(mask, dict):
            rle = mask
            if isinstance(mask['counts'], list):
                rle = masks.frPyObjects(mask, *mask['size'])
            return box_of([float(v) for v in masks.toBbox(rle)])
        points = [float(v) for polygon in mask for v in polygon]
        xs, ys = [v for p in mask for v in p[0::2]], [v for p in mask for v in p[1::2]]
        return box_of([min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]) if points else None
    except (TypeError, ValueError, KeyError, IndexError, AttributeError):
        return None
