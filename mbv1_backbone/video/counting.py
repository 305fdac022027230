"""Lines that tracks cross and zones that they are in, counted and drawn by supervision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.video.extra import needed

__all__ = ['Counter', 'Line', 'Zone']

_CONFIRMED = 2  # frames beyond a line, from which it is crossed: boxes tremble
_REMEMBERED = 300  # frames after which a track that is not seen any more is forgotten


@dataclass(frozen=True)
class Line:
    """A line to count at, from one point to another, in pixels.

    What crosses it to the left, seen from the first point to the second, goes in; to the right, out.
    """

    x1: float
    y1: float
    x2: float
    y2: float

    @classmethod
    def parse(cls, text: str) -> Line:
        """A line of ``x1,y1,x2,y2``.

        Raises:
            InputError: If it is not four numbers, or the points are one.
        """
        values = _numbers(text, 'a line is x1,y1,x2,y2')
        if len(values) != 4 or values[:2] == values[2:]:
            raise InputError(f'a line is x1,y1,x2,y2 with two points apart, got {text}')
        return cls(*values)

    @property
    def points(self) -> tuple[tuple[float, float], ...]:
        """Both ends."""
        return (self.x1, self.y1), (self.x2, self.y2)


@dataclass(frozen=True)
class Zone:
    """A polygon to count in: its corners in pixels, three or more."""

    points: tuple[tuple[float, float], ...]

    @classmethod
    def parse(cls, text: str) -> Zone:
        """A zone of ``x1,y1,x2,y2,x3,y3,...``.

        Raises:
            InputError: If it is not three pairs of numbers or more, or has no area.
        """
        rule = 'a zone is x1,y1,x2,y2,x3,y3,... with three corners or more'
        values = _numbers(text, rule)
        if len(values) < 6 or len(values) % 2:
            raise InputError(f'{rule}, got {text}')
        corners = np.array(values).reshape(-1, 2)
        x, y = corners.T
        if abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) < 2:  # twice the area (the shoelace formula)
            raise InputError(f'a zone encloses a pixel or more, {text} does not')
        return cls(tuple((float(a), float(b)) for a, b in corners))


@dataclass
class _Inside:
    """Which tracks are or were in a zone."""

    zone: Any
    annotator: Any
    entered: int = 0
    been: set[int] = field(default_factory=set)  # tracks that are or were in


class Counter:
    """Counts tracks at lines and in zones, by the middle of their boxes.

    Args:
        lines: To count at.
        zones: To count in.
        size: Width and height of the frames, in pixels.

    Raises:
        InputError: If a line or zone does not lie in the frame.
        NotInstalledError: Without the extra ``[video]``.
    """

    def __init__(self, lines: Sequence[Line], zones: Sequence[Zone], size: tuple[int, int]) -> None:
        for line in lines:
            _check_inside('line', line.points, size)
        for zone in zones:
            _check_inside('zone', zone.points, size)
        self._sv = sv = needed('supervision', 'lines and zones')
        middle = [sv.Position.CENTER]
        ends = [[sv.Point(*point) for point in line.points] for line in lines]
        self._lines = [sv.LineZone(start, end, middle, _CONFIRMED) for start, end in ends]
        scale = min(1.0, max(0.35, max(size) / 1600))  # of texts
        text = dict(text_scale=scale, text_thickness=1, text_padding=round(10 * scale))
        self._zones = []
        for zone in zones:
            made = sv.PolygonZone(np.rint(zone.points).astype(np.int64), middle)
            self._zones.append(_Inside(made, sv.PolygonZoneAnnotator(made, sv.Color.WHITE, **text)))
        self._annotator = sv.LineZoneAnnotator(color=sv.Color.WHITE, **text)
        self._frame = 0
        self._seen: dict[int, int] = {}  # track -> frame in which it was seen last

    def update(self, boxes: np.ndarray, labels: np.ndarray, tracks: np.ndarray) -> None:
        """Go on by a frame.

        Args:
            boxes: (N, 4), x1, y1, x2, y2 in pixels; N may be 0.
            labels: (N,).
            tracks: (N,), -1 where there is none: such boxes do not count.
        """
        kept = tracks >= 0
        found = self._sv.Detections(
            xyxy=np.asarray(boxes, np.float32).reshape(-1, 4)[kept],
            class_id=np.asarray(labels, int)[kept],
            tracker_id=np.asarray(tracks, int)[kept],
        )
        self._frame += 1
        self._seen.update((track, self._frame) for track in found.tracker_id.tolist())
        for line in self._lines:
            line.trigger(self._with_absent(found, line))
        for one in self._zones:
            inside = one.zone.trigger(found)
            entering = set(found.tracker_id[inside].tolist())
            one.entered += len(entering - one.been)
            one.been |= entering
        self._forget()

    def _with_absent(self, found: Any, line: Any) -> Any:
        """What is found, and tracks that are not seen for a while as something beside the line.

        supervision forgets within three frames on which side a track was that it is not told of, and one that
        is hidden there would not be counted. What is beside a line changes nothing.
        """
        absent = [track for track, last in self._seen.items() if last < self._frame]
        start, end = (np.array([point.x, point.y]) for point in (line.vector.start, line.vector.end))
        beside = np.tile(2 * end - start, (len(absent), 2)).astype(np.float32)
        return self._sv.Detections(
            xyxy=np.concatenate([found.xyxy, beside]),
            class_id=np.concatenate([found.class_id, np.zeros(len(absent), int)]),
            tracker_id=np.concatenate([found.tracker_id, np.array(absent, int)]),
        )

    def _forget(self) -> None:
        self._seen = {track: last for track, last in self._seen.items() if self._frame - last < _REMEMBERED}
        for one in self._zones:
            one.been &= self._seen.keys()

    def counts(self) -> dict[str, list[dict[str, int]]]:
        """So far: of each line how many went ``in`` and ``out``, of each zone how many are ``inside``.

        ``entered`` is how many tracks have been in a zone.
        """
        lines = [{'in': int(line.in_count), 'out': int(line.out_count)} for line in self._lines]
        zones = [{'inside': int(one.zone.current_count), 'entered': one.entered} for one in self._zones]
        found = {}
        if lines:
            found['lines'] = lines
        if zones:
            found['zones'] = zones
        return found

    def draw(self, image: np.ndarray) -> np.ndarray:
        """Draw the lines, the zones and what is counted: RGB uint8 (H, W, 3), in place."""
        for one in self._zones:
            label = f'{one.zone.current_count} inside, {one.entered} entered'
            image = one.annotator.annotate(image, label)
        for line in self._lines:
            image = self._annotator.annotate(image, line)
        return image


def _numbers(text: str, rule: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(',')]
    except ValueError:
        raise InputError(f'{rule}, got {text}') from None
    if not np.isfinite(values).all():
        raise InputError(f'{rule}, got {text}')
    return values


def _check_inside(what: str, points: Sequence[tuple[float, float]], size: tuple[int, int]) -> None:
    width, height = size
    text = ','.join(f'{value:g}' for point in points for value in point)
    for x, y in points:
        if not (0 <= x <= width and 0 <= y <= height):
            raise InputError(
                f'{what} {text}: {x:g},{y:g} lies outside of the frame, which has {width} x {height} pixels'
            )
