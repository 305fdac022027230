"""From what a user calls a film or camera to its frames, read by OpenCV."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.video.capture import open_camera, open_film, open_stream
from mbv1_backbone.video.frames import POLICIES, FrameReader, FrameSource
from mbv1_backbone.video.jpegs import JpegStream
from mbv1_backbone.video.names import STDIN, camera_number, is_address, is_film, shown_source

__all__ = ['USUAL_FPS', 'FilmLike', 'open_source']

USUAL_FPS = 25.0
FilmLike: TypeAlias = str | os.PathLike[str] | int | Iterable[np.ndarray] | FrameSource


def open_source(
    source: FilmLike,
    every: int = 1,
    frames: str = 'auto',
    fps: float | None = None,
    limit: int | None = None,
) -> FrameSource:
    """Open a film, a camera, an address, or a stream of JPEG files.

    Args:
        source: A film's file; a camera's number or ``/dev/videoN``; an address (``rtsp://``, ``http://``,
            ...); ``-`` for JPEG files, one after the other, on standard input; or RGB arrays uint8
            (H, W, 3). One that is open already is given back.
        every: Only every so many frames.
        frames: ``'all'`` of them; only the ``'newest'`` one, whenever there is time for another; or
            ``'auto'``: the newest of cameras and of addresses without an end, all of everything else.
        fps: Frames a second of JPEG files and arrays, which do not say it (default 25).
        limit: Frames, at most.

    Raises:
        InputError: If it is not there, cannot be opened or is no film, or a value is out of range.
    """
    if isinstance(source, FrameSource):
        return source
    for name, value in (('every', every), ('limit', limit)):
        if value is not None and value < 1:
            raise InputError(f'{name} must be at least 1, got {value}')
    if frames not in POLICIES:
        raise InputError(f'frames must be one of {", ".join(POLICIES)}, got {frames!r}')
    if fps is not None and not 0 < fps <= 1000:
        raise InputError(f'fps must lie in 0..1000, got {fps:g}')
    reader, name, waits = _opened(source, fps or USUAL_FPS)
    newest = frames == 'newest' or (frames == 'auto' and not waits)
    return FrameSource(reader, name, every, newest, limit)


def _opened(source: FilmLike, fps: float) -> tuple[FrameReader, str, bool]:
    """A reader, the name for messages, and whether the source waits until a frame is read."""
    if not isinstance(source, str | int | os.PathLike | FrameSource):
        return _Arrays(iter(source), fps), 'frames', True
    given = os.fspath(source) if isinstance(source, os.PathLike) else str(source)
    name = shown_source(given)
    if given == STDIN:
        return JpegStream(sys.stdin.buffer, fps), name, True
    number = camera_number(given)
    if number is not None and (isinstance(source, int) or is_film(given)):
        return open_camera(number, name), name, False
    if is_address(given):
        reader = open_stream(given, name)
        return reader, name, reader.length is not None
    return open_film(Path(given), name), name, True


class _Arrays:
    """Frames that are arrays already."""

    length: int | None = None
    counted = True

    def __init__(self, images: Iterator[np.ndarray], fps: float) -> None:
        self._images, self.fps = images, fps
        self._image = np.zeros((0, 0, 3), np.uint8)

    def grab(self) -> bool:
        """Go to the next array; False at the end."""
        image = next(self._images, None)
        if image is None:
            return False
        kind = getattr(image, 'dtype', type(image).__name__)
        shape: tuple[int, ...] = getattr(image, 'shape', ())
        if kind != np.uint8 or len(shape) != 3 or shape[2] != 3 or not image.size:
            raise InputError(f'frames must be uint8 (H, W, 3), got {kind} {shape}')
        self._image = image
        return True

    def retrieve(self) -> np.ndarray | None:
        """The array."""
        return self._image

    def seconds(self) -> float | None:
        """Not said."""
        return None

    def fault(self, read: int) -> str:
        """None."""
        return ''

    def close(self) -> None:
        """Nothing."""
