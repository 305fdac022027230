"""What goes into a gallery and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mbv1_backbone.errors import InputError

MAX_TEXT = 4096  # characters of an identity or a file name
_UNIT = 1e-6  # from 1, a length that is 1
MAX_METADATA = 65536  # characters of an entry's metadata as JSON


@dataclass(frozen=True)
class Entry:
    """One image of a person in a gallery.

    Attributes:
        id: Its number: given once, never to another entry.
        identity: Whose face it is.
        file: Where the image came from.
        sha256: Of the image file, 64 hexadecimal digits.
        added: When it was added, seconds since 1970.
        metadata: Free values, as JSON has them.
    """

    id: int
    identity: str
    file: str
    sha256: str
    added: float
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Match:
    """An entry that was found.

    Attributes:
        id: The entry's number.
        identity: Whose face it is.
        file: Where its image came from.
        score: Cosine of the angle between the embeddings, -1..1, higher is more alike.
        distance: Squared Euclidean distance of the normalised embeddings, 2 - 2 score (FaceNet's).
    """

    id: int
    identity: str
    file: str
    score: float
    distance: float


@dataclass(frozen=True)
class IdentityMatch:
    """A person who was found.

    Attributes:
        identity: Who.
        score: Best or mean score of the person's images, as was asked.
        distance: 2 - 2 score.
        images: How many images the person has in the gallery.
        best: The person's image that is most alike.
    """

    identity: str
    score: float
    distance: float
    images: int
    best: Match


def check_vectors(vectors: Any, dim: int | None, what: str = 'embeddings') -> np.ndarray:
    """Vectors as a gallery takes them: float32 (N, dim), of length 1.

    Any real type is taken, and any length but zero: vectors are normalised here.

    Raises:
        InputError: If the shape is wrong, or a vector is zero or not finite; the message names the first.
    """
    array = np.asarray(vectors)
    if array.dtype.kind not in 'fiu' or array.ndim != 2 or (dim is not None and array.shape[1] != dim):
        wanted = f'(N, {dim})' if dim is not None else '(N, dimension)'
        raise InputError(f'{what} must be numbers of shape {wanted}, got {array.dtype} {array.shape}')
    array = array.astype(np.float32, copy=True)
    if not np.isfinite(array).all():
        first = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise InputError(f'{what} must be finite, number {first} is not')
    largest = np.abs(array).max(axis=1, initial=0, keepdims=True)
    if (largest == 0).any():
        raise InputError(f'{what} must not be zero, number {int(np.argmin(largest))} is')
    scaled = array / largest  # so that squares neither overflow nor vanish
    lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
    unit = np.abs(lengths * largest - 1) < _UNIT  # these stay as they are, to the bit
    return np.ascontiguousarray(np.where(unit, array, scaled / lengths))


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
