"""OpenCV's VideoCapture as a reader of frames: films, cameras, addresses."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from mbv1_backbone.common.errors import InputError

__all__ = ['Capture', 'open_camera', 'open_film', 'open_stream']

_WAIT = 10  # seconds for an address to answer, and for its next frame
_FPS = (0.1, 1000.0)  # what a file may say of itself; what is outside is no frame rate
_USUAL_FPS = 25.0
_COUNTED = ('.mp4', '.m4v', '.mov', '.3gp', '.avi')  # containers that have a table of their frames


class Capture:
    """Frames of an open VideoCapture.

    Args:
        opened: It is.
        sized: Whether it has an end.
        counted: Whether its container has the number of its frames.

    Attributes:
        fps: Frames a second, as the source says; 25 where it does not.
        length: Frames, as the source says; None where it does not.
        counted: Of the arguments.
    """

    def __init__(self, opened: cv2.VideoCapture, sized: bool, counted: bool = False) -> None:
        self._capture, self.counted = opened, counted
        fps, count = opened.get(cv2.CAP_PROP_FPS), opened.get(cv2.CAP_PROP_FRAME_COUNT)
        self.fps = float(fps) if _FPS[0] <= fps <= _FPS[1] else _USUAL_FPS
        self.length = int(count) if sized and 0 < count < 2**40 else None
        self._last = 0.0

    def grab(self) -> bool:
        """Go to the next frame; False at the end."""
        if not self._capture.grab():
            return False
        self._last = max(self._last, self.seconds() or 0.0)
        return True

    def retrieve(self) -> np.ndarray | None:
        """The frame, RGB uint8 (H, W, 3); None where it cannot be decoded."""
        ready, image = self._capture.retrieve()
        if not ready or image is None or not image.size:
            return None
        return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB)

    def seconds(self) -> float | None:
        """Time of the frame by the film's clock."""
        milliseconds = self._capture.get(cv2.CAP_PROP_POS_MSEC)
        return milliseconds / 1000 if milliseconds > 0 else None

    def fault(self, read: int) -> str:
        """Why the film ended too soon, after so many frames; empty where it did not.

        It does where both frames and time are missing.
        """
        if self.length is None or read >= self.length:
            return ''
        whole, reached = self.length / self.fps, self._last + 1 / self.fps
        if whole - reached <= max(3 / self.fps, 0.01 * whole):
            return ''
        if self.counted:
            return f'breaks off after {read} of {self.length} frames, at {reached:.1f} of {whole:.1f} seconds'
        return f'its last frame is at {self._last:.1f} of {whole:.1f} seconds'

    def close(self) -> None:
        """Let go of the source."""
        self._capture.release()


def open_film(path: Path, name: str) -> Capture:
    """Open a film's file.

    Args:
        path: Of it.
        name: For messages.

    Raises:
        InputError: If it is not there, or no film.
    """
    if not path.exists():
        raise InputError(f'{name}: no such file')
    if not path.is_file():
        raise InputError(f'{name}: is not a regular file')
    if not os.access(path, os.R_OK):
        raise InputError(f'{name}: may not be read')
    opened = _open(str(path.absolute()), cv2.CAP_FFMPEG)
    if opened is None:
        raise InputError(f'{name}: is no film that OpenCV can decode')
    return Capture(opened, True, path.suffix.lower() in _COUNTED)


def open_stream(address: str, name: str) -> Capture:
    """Open an address; a film that lies there has an end, a camera has none.

    Args:
        address: With user and password, where there are any.
        name: For messages, without these.

    Raises:
        InputError: If nothing answers within ten seconds, or what does is no film.
    """
    limits = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _WAIT * 1000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _WAIT * 1000)
    opened = _open(address, cv2.CAP_FFMPEG, limits)
    if opened is None:
        raise InputError(f'{name}: nothing answers within {_WAIT} seconds, or it is no film')
    return Capture(opened, address.lower().startswith('http'))


def open_camera(number: int, name: str) -> Capture:
    """Open a camera.

    Args:
        number: Of the device.
        name: For messages.

    Raises:
        InputError: If there is no such device, or it is in use or no camera.
    """
    device = Path(f'/dev/video{number}')
    if os.path.isdir('/dev') and os.uname().sysname == 'Linux':
        if not device.exists():
            raise InputError(f'{name}: no such device ({device})')
        if not os.access(device, os.R_OK | os.W_OK):
            raise InputError(f'{name}: {device} may not be read and written')
    opened = _open(number, cv2.CAP_ANY)
    if opened is None:
        raise InputError(f'{name}: cannot be opened: in use, or no camera')
    opened.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return Capture(opened, False)


def _open(source: str | int, backend: int, parameters: tuple[int, ...] = ()) -> cv2.VideoCapture | None:
    """What OpenCV makes of it; it and FFmpeg say nothing on the terminal."""
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        opened = cv2.VideoCapture(source, backend, parameters)
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)
    if not opened.isOpened():
        opened.release()
        return None
    return opened
