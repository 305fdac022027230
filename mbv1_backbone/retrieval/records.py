"""What goes into a gallery and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, overload

import numpy as np

from mbv1_backbone.retrieval.checks import Box, Points

__all__ = [
    'FOLDER',
    'THUMBNAIL',
    'Added',
    'Correction',
    'Entry',
    'IdentityMatch',
    'Match',
    'Matches',
    'SearchResults',
    'T',
]

FOLDER = 'folder'  # the metadata that says where an entry's file lies
THUMBNAIL = 'thumbnail.jpeg'  # the metadata that is a small picture of the face, a JPEG file in base64
T = TypeVar('T')


@dataclass(frozen=True)
class Entry:
    """One face of a person in a gallery; the image file and the face's box in it tell it from all others.

    Attributes:
        id: Its number: given once, never to another entry.
        identity: Whose face it is.
        file: Where the image came from.
        sha256: Of the image file, 64 hexadecimal digits.
        added: When it was added, seconds since 1970.
        metadata: Free values, as JSON has them.
        box: Of the face in the image, (x0, y0, x1, y1) in whole pixels; None where the image is the face.
        landmarks: Points of the face, (x, y) in pixels, where they are known.
        detector_score: How sure the detector was of the face, where one found it.
        quality: Of the face for recognition, where it was measured.
    """

    id: int
    identity: str
    file: str
    sha256: str
    added: float
    metadata: Mapping[str, Any] = field(default_factory=dict)
    box: Box | None = None
    landmarks: Points | None = None
    detector_score: float | None = None
    quality: float | None = None


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
    """The matches of one probe, by descending score: as good as a list of them, made when they are looked at.

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


class SearchResults(_ListLike[Matches]):
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
    def __getitem__(self, probe: slice) -> SearchResults: ...

    def __getitem__(self, probe: int | slice) -> Matches | SearchResults:
        if isinstance(probe, slice):
            return SearchResults(self._names, self._ids[probe], self._scores[probe], self._counts[probe])
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


@dataclass(frozen=True)
class Correction:
    """What somebody has said of a face: that it does, or does not, show a person.

    Attributes:
        sha256: Of the image file.
        box: Of the face in it; None where the image is the face.
        identity: The person, or a label for a group that faces were taken out of (``apart``).
        correct: Whether the face shows that person.
        made: When it was said, seconds since 1970.
    """

    sha256: str
    box: Box | None
    identity: str
    correct: bool
    made: float


@dataclass(frozen=True)
class Added:
    """What became of entries that were to be added.

    Attributes:
        ids: Id of each, None where its face was there already, or was corrected not to be that person.
        message: What else happened, e.g. that the index was trained anew; empty if nothing.
    """

    ids: tuple[int | None, ...]
    message: str = ''

    @property
    def new(self) -> int:
        """How many were added."""
        return sum(i is not None for i in self.ids)
