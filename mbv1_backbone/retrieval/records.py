"""What goes into a gallery and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, overload

import numpy as np

from mbv1_backbone.common.errors import InputError

T = TypeVar('T')

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


class _ListLike(Sequence[T]):
    """Equal to a list of the same, and shown as one."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self))


class Matches(_ListLike[Match]):
    """The matches of one probe, by falling score: as good as a list of them, made when they are looked at.

    So a search costs hardly more than FAISS's own. What was found stays as it was found, whatever is
    added or removed afterwards.

    Attributes:
        ids: int64 (N,) of all of them at once.
        scores: float32 (N,).
    """

    __slots__ = ('_names', 'ids', 'scores')

    def __init__(self, names: Callable[[int], tuple[str, str]], ids: np.ndarray, scores: np.ndarray) -> None:
        self._names = names
        self.ids = ids
        self.scores = scores

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, place: int) -> Match: ...

    @overload
    def __getitem__(self, place: slice) -> Matches: ...

    def __getitem__(self, place: int | slice) -> Match | Matches:
        if isinstance(place, slice):
            return Matches(self._names, self.ids[place], self.scores[place])
        entry_id, score = int(self.ids[place]), min(1.0, max(-1.0, float(self.scores[place])))
        return Match(entry_id, *self._names(entry_id), score, 2.0 - 2.0 * score)


class Found(_ListLike[Matches]):
    """What a search found: the ``Matches`` of each probe, as good as a list of them."""

    __slots__ = ('_counts', '_ids', '_names', '_scores')

    def __init__(
        self, names: Callable[[int], tuple[str, str]], ids: np.ndarray, scores: np.ndarray, counts: list[int]
    ) -> None:
        self._names = names
        self._ids = ids
        self._scores = scores
        self._counts = counts  # of each row, how many at its beginning are matches

    def __len__(self) -> int:
        return len(self._counts)

    @overload
    def __getitem__(self, probe: int) -> Matches: ...

    @overload
    def __getitem__(self, probe: slice) -> Found: ...

    def __getitem__(self, probe: int | slice) -> Matches | Found:
        if isinstance(probe, slice):
            return Found(self._names, self._ids[probe], self._scores[probe], self._counts[probe])
        count = self._counts[probe]
        return Matches(self._names, self._ids[probe, :count], self._scores[probe, :count])


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
    array = np.array(array, dtype=np.float32, order='C')
    squares = np.einsum('ij,ij->i', array, array)
    if (np.abs(squares - 1) < _UNIT).all():  # these stay as they are, to the bit
        return array
    if not np.isfinite(array).all():
        first = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise InputError(f'{what} must be finite, number {first} is not')
    largest = np.abs(array).max(axis=1, initial=0, keepdims=True)
    if (largest == 0).any():
        raise InputError(f'{what} must not be zero, number {int(np.argmin(largest))} is')
    scaled = array / largest  # so that squares neither overflow nor vanish
    lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
    unit = np.abs(lengths * largest - 1) < _UNIT
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
