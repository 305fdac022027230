"""A detector on a film or camera: what it finds, followed from frame to frame, and counted."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from mbv1_backbone.common.errors import InputError, Mbv1Error
from mbv1_backbone.inference.detections import Detections
from mbv1_backbone.inference.detector import Detector
from mbv1_backbone.video.counting import Counter, Line, Zone
from mbv1_backbone.video.frames import Frame, FrameSource, frames_until
from mbv1_backbone.video.sources import FilmLike, open_source
from mbv1_backbone.video.tracks import LEAST_SCORE, Tracker

__all__ = ['TrackedFrame', 'detect_frames', 'track']


@dataclass(frozen=True)
class TrackedFrame:
    """A frame and what was found in it.

    Attributes:
        number: Its place in the film, from 0.
        seconds: Its time, since the first frame.
        image: RGB uint8 (H, W, 3).
        detections: Of at least ``score_thr``, and those below it that go on with a track.
        tracks: int64 (N,), the track of each, from 0; -1 where it has none, or none yet.
        counts: ``lines`` and ``zones``, so far: see ``video.Counter.counts``.
    """

    number: int
    seconds: float
    image: np.ndarray
    detections: Detections
    tracks: np.ndarray
    counts: dict[str, list[dict[str, int]]] = field(default_factory=dict)
    counter: Counter | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.detections)


def track(
    detector: Detector,
    source: FilmLike,
    *,
    score_thr: float = 0.3,
    tracks: bool = True,
    lines: Sequence[Line | Sequence[float]] = (),
    zones: Sequence[Zone | Sequence[Sequence[float]]] = (),
    every: int = 1,
    frames: str = 'auto',
    fps: float | None = None,
    batch_size: int = 8,
) -> Iterator[TrackedFrame]:
    """Detect in a film or camera, and follow what is found from frame to frame.

    Args:
        detector: Ready to detect.
        source: See ``video.open_source``; one that is open stays open.
        score_thr: Detections below it are left out, unless they go on with a track; 0..1.
        tracks: Whether to follow, by ByteTrack.
        lines: To count what crosses them: (x1, y1, x2, y2) in pixels.
        zones: To count what is in them: corners (x, y) in pixels, three or more.
        every: Only every so many frames.
        frames: ``'auto'``, ``'all'`` or ``'newest'``: see ``video.open_source``.
        fps: Of JPEG files and arrays, which do not say it.
        batch_size: Frames that go through the network at once; of a live source one.

    Yields:
        Each frame with what is found in it.

    Raises:
        DamagedFileError: After the last frame of a film that breaks off.
        InputError: If the source or an option cannot be used.
        NotInstalledError: Without the extra ``[video]``, if anything is followed or counted.
    """
    if (lines or zones) and not tracks:
        raise InputError('lines and zones count tracks, and there are none')
    barriers = [line if isinstance(line, Line) else _line(line) for line in lines]
    areas = [zone if isinstance(zone, Zone) else _zone(zone) for zone in zones]
    opened = open_source(source, every, frames, fps)
    tracker = Tracker(opened.fps / opened.every, score_thr, timed=True) if tracks else None

    def followed() -> Iterator[TrackedFrame]:
        counter: Counter | None = None
        try:
            for frame, found in detect_frames(detector, opened, batch_size):
                if (barriers or areas) and counter is None:
                    counter = Counter(barriers, areas, frame.image.shape[1::-1])
                yield _followed(frame, found, score_thr, tracker, counter)
        finally:
            if opened is not source:
                opened.close()

    return followed()


def detect_frames(
    detector: Detector, source: FrameSource, batch_size: int = 8
) -> Iterator[tuple[Frame, Detections]]:
    """The frames of a source with all that a detector finds in them.

    Of a live source each frame is the newest when the one before is done; others are read ahead.

    Args:
        detector: Ready to detect.
        source: Open.
        batch_size: Frames that go through the network at once; of a live source one.

    Raises:
        DamagedFileError: After the last frame of a film that breaks off.
    """
    if source.live:
        for frame in source:
            yield frame, detector.network.detect([(frame.image, detector.network.prepare(frame.image))])[0]
        return
    pending: deque[Frame] = deque()
    fault: list[Mbv1Error] = []

    def images() -> Iterator[np.ndarray]:
        for frame in frames_until(source, fault):
            pending.append(frame)
            yield frame.image

    for result in detector.stream(images(), batch_size):
        if isinstance(result, InputError):
            raise result
        yield pending.popleft(), result.detections
    if fault:
        raise fault[0]


def _followed(
    frame: Frame, found: Detections, score_thr: float, tracker: Tracker | None, counter: Counter | None
) -> TrackedFrame:
    if tracker is None:
        kept = found.above(score_thr)
        return TrackedFrame(frame.number, frame.seconds, frame.image, kept, np.full(len(kept), -1, np.int64))
    possible = found.above(min(LEAST_SCORE, score_thr))
    numbers = tracker.update(possible.boxes, possible.scores, frame.seconds)
    which = (possible.scores >= score_thr) | (numbers >= 0)
    kept, numbers = possible.chosen(which), numbers[which]
    if counter is not None:
        counter.update(kept.boxes, kept.labels, numbers)
    counts = {} if counter is None else counter.counts()
    return TrackedFrame(frame.number, frame.seconds, frame.image, kept, numbers, counts, counter)


def _line(values: Sequence[float]) -> Line:
    return Line.parse(','.join(map(str, values)))


def _zone(corners: Sequence[Sequence[float]]) -> Zone:
    return Zone.parse(','.join(str(value) for corner in corners for value in corner))
