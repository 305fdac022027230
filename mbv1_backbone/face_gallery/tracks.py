"""Faces of a film followed from frame to frame, and named by all that was seen of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import InputError, Mbv1Error
from mbv1_backbone.common.prefetch import DECODERS, prefetch
from mbv1_backbone.face.finder import FaceFinder, Place
from mbv1_backbone.face_gallery.answers import matches_of
from mbv1_backbone.inference.embedder import FaceEmbedder
from mbv1_backbone.retrieval import GalleryLike
from mbv1_backbone.video.frames import Frame, FrameSource, frames_until
from mbv1_backbone.video.tracks import LOST, Tracker

__all__ = ['FaceName', 'FaceTrack', 'FaceTracker', 'TrackedFace', 'TrackedFaces', 'track_faces']

_SCORE = 0.5  # of a face: what detectors of faces here give is not below it
_SIDE = 112  # pixels of faces that nobody embeds
_LEAST = 1e-3  # weight of a face of no quality: it counts where there is no better one
_GONE = 2 * LOST  # seconds without a face, after which its track has ended for certain


@dataclass(frozen=True)
class FaceName:
    """Whom a track shows, as far as it has been seen.

    Attributes:
        identity: The person; None of somebody whom the gallery does not know.
        score: Cosine of the track's mean embedding and the most alike entry; None of an empty gallery.
        faces: How many faces it rests on.
    """

    identity: str | None
    score: float | None
    faces: int


@dataclass(frozen=True)
class TrackedFace:
    """A face of a frame.

    Attributes:
        box: x1, y1, x2, y2 in pixels.
        score: The detector's, 0..1.
        quality: 0..1, see ``face.quality``.
        track: Its track's number, from 0; None where it has none, or none yet.
        name: Whom the track shows, once that is decided.
    """

    box: tuple[float, ...]
    score: float
    quality: float
    track: int | None = None
    name: FaceName | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dict(
            box=[round(value, 1) for value in self.box],
            score=round(self.score, 4),
            quality=round(self.quality, 4),
            track=self.track,
            name=None if self.name is None else _plain(self.name),
        )


@dataclass(frozen=True)
class FaceTrack:
    """A track that has ended.

    Attributes:
        number: From 0.
        first: Time of its first frame, in seconds.
        last: Time of its last one.
        faces: How many there were.
        quality: The best one's, 0..1.
        name: Whom it shows; None without a gallery.
    """

    number: int
    first: float
    last: float
    faces: int
    quality: float
    name: FaceName | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dict(
            track=self.number,
            first=round(self.first, 4),
            last=round(self.last, 4),
            faces=self.faces,
            quality=round(self.quality, 4),
            name=None if self.name is None else _plain(self.name),
        )


@dataclass(frozen=True)
class TrackedFaces:
    """A frame and its faces.

    Attributes:
        number: Its place in the film, from 0.
        seconds: Its time, since the first frame.
        image: RGB uint8 (H, W, 3).
        faces: The largest first.
        ended: Tracks that have ended since the frame before.
    """

    number: int
    seconds: float
    image: np.ndarray
    faces: tuple[TrackedFace, ...]
    ended: tuple[FaceTrack, ...] = ()


@dataclass
class _Track:
    """What is known of a track: sums, whatever its length."""

    number: int
    first: float
    last: float = 0.0
    faces: int = 0
    quality: float = 0.0
    total: np.ndarray | float = 0.0
    name: FaceName | None = None

    def add(self, seconds: float, quality: float, vector: np.ndarray | None) -> None:
        self.last, self.faces, self.quality = seconds, self.faces + 1, max(self.quality, quality)
        if vector is not None:
            self.total = self.total + max(quality, _LEAST) * vector

    def ended(self) -> FaceTrack:
        return FaceTrack(self.number, self.first, self.last, self.faces, self.quality, self.name)


@dataclass
class FaceTracker:
    """Follows faces by ByteTrack, and names each track by the mean of its embeddings, weighted by quality.

    A track is named when it has ``decided`` faces, anew when it has twice as many as then, and at its end:
    the name does not flicker from frame to frame.

    Args:
        fps: Frames a second that are given to it.
        embedder: Of the gallery's model; needed with a gallery.
        gallery: Whom faces are looked for in; None for tracks without names.
        decided: Faces after which a track is named.
        threshold: Of ``Gallery.search``: below it somebody is unknown.

    Raises:
        NotInstalledError: Without the extra ``[video]``.
    """

    fps: float
    embedder: FaceEmbedder | None = None
    gallery: GalleryLike | None = None
    decided: int = 3
    threshold: float | str | None = 'calibrated'
    _alive: dict[int, _Track] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if self.gallery is not None and self.embedder is None:
            raise InputError('a gallery needs the embedder of its model')
        if self.decided < 1:
            raise InputError(f'decided must be at least 1, got {self.decided}')
        self._tracker = Tracker(self.fps, _SCORE, timed=True)

    def update(self, frame: Frame, found: Sequence[tuple[np.ndarray, Place]]) -> TrackedFaces:
        """Go on by a frame.

        Args:
            frame: The frame.
            found: Its faces, cut out, and their places: of ``FaceFinder.find_all``.
        """
        places = [place for _, place in found]
        boxes = np.array([place.box for place in places], np.float32).reshape(-1, 4)
        scores = np.array([place.score for place in places], np.float32)
        numbers = self._tracker.update(boxes, scores, frame.seconds).tolist()
        vectors: list[np.ndarray | None] = [None] * len(found)
        if found and self.gallery is not None and self.embedder is not None:
            vectors = list(self.embedder.forward([face for face, _ in found]))
        faces = []
        for place, number, vector in zip(places, numbers, vectors, strict=True):
            quality = 0.0 if place.quality is None else place.quality.value
            name = None
            if number >= 0:
                track = self._alive.setdefault(number, _Track(number, frame.seconds))
                track.add(frame.seconds, quality, vector)
                self._name(track, self.decided if track.name is None else 2 * track.name.faces)
                name = track.name
            box, score = place.box or (), place.score or 0.0
            faces.append(TrackedFace(box, score, quality, None if number < 0 else number, name))
        ended = self._end(frame.seconds - _GONE)
        return TrackedFaces(frame.number, frame.seconds, frame.image, tuple(faces), tuple(ended))

    def finish(self) -> list[FaceTrack]:
        """End all tracks; those that had not ended yet."""
        return self._end(float('inf'))

    def _end(self, before: float) -> list[FaceTrack]:
        over = [track for track in self._alive.values() if track.last < before]
        for track in over:
            del self._alive[track.number]
            self._name(track, (track.name.faces if track.name else 0) + 1)
        return [track.ended() for track in over]

    def _name(self, track: _Track, enough: int) -> None:
        """Ask the gallery about all that was seen, if that is enough."""
        if self.gallery is None or track.faces < enough:
            return
        total = np.asarray(track.total, np.float32)
        mean = total / max(float(np.linalg.norm(total)), 1e-12)
        [matches], [nearest] = matches_of(self.gallery, mean[None], 1, None, self.threshold)
        score = None if nearest is None else float(nearest.score)
        track.name = FaceName(matches[0].identity if matches else None, score, track.faces)


def track_faces(source: FrameSource, finder: FaceFinder, tracker: FaceTracker) -> Iterator[TrackedFaces]:
    """The faces of a film or camera, followed.

    Args:
        source: Open.
        finder: Of the faces.
        tracker: New; ``finish`` it at the end.

    Raises:
        DamagedFileError: After the last frame of a film that breaks off.
    """
    size = _SIDE if tracker.embedder is None else tracker.embedder.input_size
    finder.open()
    if source.live:  # the newest frame, when the one before is done
        for frame in source:
            yield tracker.update(frame, finder.find_all(frame.image, size))
        return
    fault: list[Mbv1Error] = []

    def look(frame: Frame) -> tuple[Frame, list[tuple[np.ndarray, Place]]]:
        return frame, finder.find_all(frame.image, size)

    for frame, found in prefetch(look, frames_until(source, fault), DECODERS, 2 * DECODERS):
        yield tracker.update(frame, found)
    if fault:
        raise fault[0]


def _plain(name: FaceName) -> dict[str, Any]:
    score = None if name.score is None else round(name.score, 4)
    return dict(identity=name.identity, score=score, faces=name.faces)
