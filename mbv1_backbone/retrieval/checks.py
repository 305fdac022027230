"""What a gallery takes: vectors, names, numbers, face boxes. Anything else is an ``InputError``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import InputError, one_line

__all__ = [
    'MAX_TEXT',
    'Box',
    'Points',
    'check_box',
    'check_count',
    'check_id',
    'check_ids',
    'check_landmarks',
    'check_names',
    'check_number',
    'check_sha256',
    'check_text',
    'check_time',
    'check_vectors',
]

MAX_TEXT = 4096  # characters of an identity or a file name
_UNIT = 1e-6  # from 1, a length that is 1
_TINY, _HUGE = 1e-20, 1e20  # between these, squares of float32 are right
_ID_LIMIT = 2**63  # SQLite's numbers end below
_BOX_LIMIT = 2**31
_SHA256 = re.compile('[0-9a-f]{64}')

Box = tuple[int, int, int, int]
Points = tuple[tuple[float, float], ...]


def check_vectors(vectors: Any, dim: int | None, what: str = 'embeddings') -> np.ndarray:
    """Vectors as a gallery takes them: float32 (N, dim), of length 1.

    Any real type is taken, and any length but zero: vectors are normalised here.

    Args:
        vectors: What was given.
        dim: Of the gallery; None takes any.
        what: How the message calls them.

    Raises:
        InputError: If the shape is wrong, or a vector is zero or not finite; the message names the first.
    """
    try:
        array = np.asarray(vectors)
    except (
        TypeError,
        ValueError,
        RuntimeError,
    ) as error:  # of several lengths; unread tensors
        raise InputError(f'{what} must be numbers in rows of one length: {one_line(error)}') from error
    if array.dtype.kind not in 'fiu' or array.ndim != 2 or (dim is not None and array.shape[1] != dim):
        wanted = f'(N, {dim})' if dim is not None else '(N, dimension)'
        raise InputError(f'{what} must be numbers of shape {wanted}, got {array.dtype} {array.shape}')
    if np.ma.isMaskedArray(vectors) and np.ma.is_masked(vectors):
        raise InputError(f'{what} must be plain numbers, got an array with masked values')
    if array.dtype == np.float32:
        single = np.array(array, order='C')
    else:
        with np.errstate(over='ignore'):
            single = np.array(array, dtype=np.float32, order='C')
    squares = np.einsum('ij,ij->i', single, single)
    if len(single) == 1:  # the same for a single one, without NumPy's cost for every step
        square = float(squares[0])
        if abs(square - 1) < _UNIT:
            return single
        return single / np.sqrt(squares[0]) if _TINY < square < _HUGE else _unit_length(array, what)
    unit = np.abs(squares - 1) < _UNIT  # these stay as they are, to the bit
    if unit.all():
        return single
    if ((squares > _TINY) & (squares < _HUGE)).all():
        return single / np.where(unit, np.float32(1), np.sqrt(squares))[:, None]
    return _unit_length(array, what)


def _unit_length(array: np.ndarray, what: str) -> np.ndarray:
    wide = np.array(array, dtype=np.float64, order='C')
    if not np.isfinite(wide).all():
        first = int(np.flatnonzero(~np.isfinite(wide).all(axis=1))[0])
        raise InputError(f'{what} must be finite, number {first} is not')
    largest = np.abs(wide).max(axis=1, initial=0, keepdims=True)
    if (largest == 0).any():
        raise InputError(f'{what} must not be zero, number {int(np.argmin(largest))} is')
    scaled = wide / largest  # so that squares neither overflow nor vanish
    lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
    unit = np.abs(lengths * largest - 1) < _UNIT
    return np.ascontiguousarray(np.where(unit, wide, scaled / lengths), np.float32)


def check_text(value: Any, what: str) -> str:
    """A name as a gallery takes it: any Unicode text that is not empty and not endless.

    Raises:
        InputError: If it is something else.
    """
    if not isinstance(value, str) or not value or len(value) > MAX_TEXT or '\0' in value:
        shown = repr(value)[:60]
        raise InputError(f'{what} must be text of 1 to {MAX_TEXT} characters without NUL, got {shown}')
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(f'{what} must be valid Unicode, got {value!r:.60}') from error
    return value


def check_names(value: str | Sequence[str], what: str = 'identity') -> list[str]:
    """One name or several, each as ``check_text`` takes it.

    Raises:
        InputError: If one is something else.
    """
    if isinstance(value, str):
        return [check_text(value, what)]
    if isinstance(value, bytes) or not isinstance(value, Iterable):
        raise InputError(f'{what} must be text or several of it, got {value!r:.60}')
    return [check_text(name, what) for name in value]


def check_id(value: Any) -> int:
    """The number of an entry: a whole one, as Python or NumPy have them.

    Raises:
        InputError: If it is something else: 1.5, True, '12', or beyond 63 bits.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise InputError(f'ids must be whole numbers, got {value!r:.60}')
    if not -_ID_LIMIT <= value < _ID_LIMIT:
        raise InputError(f'ids must be whole numbers of at most 63 bits, got {value!r:.60}')
    return int(value)


def check_ids(values: Any) -> list[int]:
    """Numbers of entries, as ``check_id`` takes them.

    Raises:
        InputError: If they are not several, or one is something else.
    """
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise InputError(f'ids must be several whole numbers, got {values!r:.60}')
    return [check_id(value) for value in values]


def check_count(value: Any, what: str, least: int = 1) -> int:
    """A whole number of at least ``least``.

    Args:
        value: What was given.
        what: How the message calls it.
        least: The least that is taken.

    Raises:
        InputError: If it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise InputError(f'{what} must be a whole number of at least {least}, got {value!r:.60}')
    return int(value)


def check_number(value: Any, what: str) -> float | None:
    """A finite number, or None.

    Raises:
        InputError: If it is something else.
    """
    if value is None:
        return None
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not number or not math.isfinite(value):
        raise InputError(f'{what} must be a finite number or None, got {value!r:.60}')
    return float(value)


def check_box(value: Any) -> Box | None:
    """A face box (x0, y0, x1, y1) in pixels, rounded to whole ones; None for a picture that is a face.

    Raises:
        InputError: If it is not four finite numbers, or empty.
    """
    if value is None:
        return None
    try:
        numbers = [float(number) for number in value]
        if len(numbers) != 4 or not all(abs(number) < _BOX_LIMIT for number in numbers):
            raise ValueError
    except (TypeError, ValueError):
        raise InputError(f'a face box must be four numbers x0, y0, x1, y1, got {value!r:.60}') from None
    x0, y0, x1, y1 = map(round, numbers)
    if x1 <= x0 or y1 <= y0:
        raise InputError(f'a face box must have x0 < x1 and y0 < y1, got {value!r:.60}')
    return x0, y0, x1, y1


def check_landmarks(value: Any) -> Points | None:
    """Points of a face, (x, y) in pixels, or None.

    Raises:
        InputError: If they are not finite pairs of numbers.
    """
    if value is None:
        return None
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        array = np.zeros(0)
    if array.ndim != 2 or array.shape[1] != 2 or not 1 <= len(array) <= 500 or not np.isfinite(array).all():
        raise InputError(f'landmarks must be (x, y) pairs of finite numbers, got {value!r:.60}')
    return tuple((float(x), float(y)) for x, y in array)


def check_time(value: Any) -> float:
    """Seconds since 1970.

    Raises:
        InputError: If it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InputError(f'added must be seconds since 1970, got {value!r:.40}')
    return float(value)


def check_sha256(value: Any) -> str:
    """A SHA-256 as 64 hexadecimal digits.

    Raises:
        InputError: If it is something else.
    """
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise InputError(f'hashes are SHA-256, 64 hexadecimal digits, got {value!r:.80}')
    return value
