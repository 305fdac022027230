"""Writing films: H.264 where PyAV is installed, else OpenCV's MPEG-4."""

from __future__ import annotations

import os
import tempfile
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from mbv1_backbone.common.errors import InputError

__all__ = ['FilmWriter']

_TICKS = 90_000  # a second, as MPEG counts
_QUALITY = '23'  # x264's constant rate factor; its default


class _Encoder(Protocol):
    def write(self, image: np.ndarray, seconds: float) -> None: ...

    def close(self) -> None: ...


class FilmWriter:
    """A film that grows frame by frame, and takes its place when it is closed.

    Until then it is a temporary file beside it. Frames keep their times in H.264; in MPEG-4 they follow each
    other at the rate of ``fps``.

    Args:
        path: Of the ``.mp4`` file; its folder is made.
        size: Width and height of the frames, in pixels.
        fps: Frames a second.

    Attributes:
        codec: What the film is written in, in words.

    Raises:
        InputError: If the film cannot be begun.
    """

    def __init__(self, path: str | os.PathLike[str], size: tuple[int, int], fps: float) -> None:
        self.path = Path(path)
        if min(size) < 1:
            raise InputError(f'{self.path}: frames of {size[0]} x {size[1]} pixels are none')
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f'.{self.path.stem}.', suffix='.mp4')
        os.close(handle)
        self._temporary = Path(name)
        self._size = size
        self._encoder: _Encoder | None = None
        self._frames = 0
        try:
            self._encoder = _begin(self._temporary, size, fps)
        finally:
            if self._encoder is None:
                self._temporary.unlink(missing_ok=True)
        self.codec = 'H.264' if isinstance(self._encoder, _H264) else 'MPEG-4 (mp4v)'

    def write(self, image: np.ndarray, seconds: float) -> None:
        """Add a frame.

        Args:
            image: RGB uint8 (H, W, 3), of the film's size.
            seconds: Its time, later than that of the frame before.

        Raises:
            InputError: If it is of another size.
        """
        if image.shape[1::-1] != self._size:
            raise InputError(f'{self.path}: frames of {self._size}, got one of {image.shape[1::-1]}')
        if self._encoder is not None:
            self._encoder.write(_even(image), seconds)
            self._frames += 1

    def close(self) -> None:
        """End the film, and put it in its place, whole; one without a frame leaves nothing."""
        if self._encoder is None:
            return
        encoder, self._encoder = self._encoder, None
        try:
            encoder.close()
            if not self._frames:
                return
            if isinstance(encoder, _Mpeg4) and _frames_of(self._temporary) != self._frames:
                raise InputError(f'{self.path}: cannot be written whole; is the disk full?')
            mask = os.umask(0)
            os.umask(mask)
            self._temporary.chmod(0o666 & ~mask)
            os.replace(self._temporary, self.path)
        finally:
            self._temporary.unlink(missing_ok=True)


def _begin(path: Path, size: tuple[int, int], fps: float) -> _Encoder:
    width, height = (side + side % 2 for side in size)
    if find_spec('av') is not None:
        import av

        if 'libx264' in av.codecs_available:
            return _H264(path, width, height, fps)
    return _Mpeg4(path, width, height, fps)


class _H264:
    """PyAV's libx264."""

    def __init__(self, path: Path, width: int, height: int, fps: float) -> None:
        import av

        self._file: Any = av.open(str(path), 'w', options={'movflags': 'faststart'})
        rate = Fraction(fps).limit_denominator(1001)
        self._stream: Any = self._file.add_stream('libx264', rate=rate)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, 'yuv420p'
        self._stream.options = {'crf': _QUALITY, 'preset': 'veryfast'}
        self._stream.codec_context.time_base = Fraction(1, _TICKS)
        self._last = -1

    def write(self, image: np.ndarray, seconds: float) -> None:
        import av

        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format='rgb24')
        self._last = max(self._last + 1, round(seconds * _TICKS))
        frame.pts, frame.time_base = self._last, Fraction(1, _TICKS)
        self._file.mux(self._stream.encode(frame))

    def close(self) -> None:
        try:
            self._file.mux(self._stream.encode(None))
        finally:
            self._file.close()


class _Mpeg4:
    """OpenCV's encoder of MPEG-4, which its wheels have without any further package."""

    def __init__(self, path: Path, width: int, height: int, fps: float) -> None:
        os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
        code = cv2.VideoWriter.fourcc(*'mp4v')
        self._file = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, fps, (width, height))
        if not self._file.isOpened():
            raise InputError(f'{path}: OpenCV cannot write films here; pip install "mbv1-backbone[video]"')

    def write(self, image: np.ndarray, seconds: float) -> None:
        self._file.write(np.ascontiguousarray(image[..., ::-1]))

    def close(self) -> None:
        self._file.release()


def _frames_of(path: Path) -> int:
    """Frames that a film's table has; OpenCV says nothing where a disk is full."""
    film = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    count = int(film.get(cv2.CAP_PROP_FRAME_COUNT)) if film.isOpened() else 0
    film.release()
    return count


def _even(image: np.ndarray) -> np.ndarray:
    """With even sides, which the encoders' colours need: the last row or column is repeated."""
    height, width = image.shape[:2]
    if not (height % 2 or width % 2):
        return image
    return cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
