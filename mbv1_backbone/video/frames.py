"""Frames one after the other: every one of a film, or the newest of a camera that does not wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mbv1_backbone.common.errors import DamagedFileError, InputError, Mbv1Error

__all__ = ['POLICIES', 'Frame', 'FrameReader', 'FrameSource', 'frames_until']

POLICIES = ('auto', 'all', 'newest')
_LEAST = 1e-6  # seconds between frames
_BACK = 1.0  # seconds that a film's clock may go back by mistake; by more, it has begun anew
_PATIENCE = 2.0  # seconds that the end of a reader is waited for: its camera may be silent


@dataclass(frozen=True)
class Frame:
    """A frame of a film.

    Attributes:
        number: Its place in the film, from 0; frames that are passed over are counted, too.
        seconds: Since the first frame: of a film by its own clock, of a live source when it came.
        image: RGB uint8 (H, W, 3).
    """

    number: int
    seconds: float
    image: np.ndarray


class FrameReader(Protocol):
    """What reads one kind of source; used by one thread alone.

    Attributes:
        fps: Frames a second, as the source says or as is usual.
        length: Frames, as the source says; None of a live one.
        counted: Whether it knows the number of its frames; else ``length`` follows from its duration, and its
            last frame may well stand still for long.
    """

    fps: float
    length: int | None
    counted: bool

    def grab(self) -> bool:
        """Go to the next frame; False at the end."""

    def retrieve(self) -> np.ndarray | None:
        """The frame, RGB uint8 (H, W, 3); None where it cannot be decoded."""

    def seconds(self) -> float | None:
        """The frame's time by the source's clock; None where it has none."""

    def fault(self, read: int) -> str:
        """Why the source ended too soon, after so many frames; empty where it did not."""

    def close(self) -> None:
        """Let go of the source."""


class FrameSource:
    """A film or camera that is open: go through it for its frames, once, and close it.

    Args:
        reader: Of the source.
        name: For messages.
        every: Only every so many frames, the first one included.
        newest: Keep only the newest frame while the last one is worked on, as of a camera that does not wait.
        limit: Frames, at most.

    Attributes:
        fps: Of the source, frames a second.
        every: Of the arguments.
        live: Whether only the newest frames are given.
        length: Frames that will come, as far as the source says; None of one without a known end.
        read: Frames that were read or passed over so far.
        dropped: Frames that came while an earlier one was worked on, and so were left out.
        unreadable: Frames that could not be decoded, and so were left out.
        stopped: Whether the frames were asked to end.
        note: How far the source fell short of what it says, where that need not be a fault; else empty.
    """

    def __init__(
        self,
        reader: FrameReader,
        name: str,
        every: int = 1,
        newest: bool = False,
        limit: int | None = None,
    ) -> None:
        self._reader, self.name = reader, name
        self.every, self.live, self._limit = every, newest, limit
        self.fps = reader.fps
        ahead = None if reader.length is None else -(-reader.length // every)
        self.length = limit if ahead is None else min(ahead, limit or ahead)
        self.read = self.dropped = self.unreadable = 0
        self.stopped, self.note = False, ''
        self._slot = _Slot()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> FrameSource:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        """The frames.

        Raises:
            DamagedFileError: After the last frame of a film that breaks off.
            InputError: If there is no frame, or one is of another size than the first.
        """
        frames = self._kept() if self.live else self._all()
        shape, count = None, 0
        for frame in frames:
            if shape is not None and frame.image.shape != shape:
                height, width = frame.image.shape[:2]
                raise InputError(
                    f'{self.name}: frame {frame.number} has {width} x {height} pixels, and those before it '
                    f'{shape[1]} x {shape[0]}'
                )
            shape, count = frame.image.shape, count + 1
            yield frame
            if count == self._limit:
                return
        if self.stopped:
            return
        fault = self._reader.fault(self.read)
        if not count:
            more = f': {self.unreadable} cannot be decoded' if self.unreadable else ''
            raise InputError(f'{self.name}: holds no frame{more or (fault and f": {fault}")}')
        if fault and self._reader.counted:
            raise DamagedFileError(f'{self.name}: {fault}')
        self.note = fault

    def stop(self) -> None:
        """Let the frames end here; a signal's handler may ask for it."""
        self.stopped = True
        self._slot.stop()

    def close(self) -> None:
        """Stop reading. The thread that reads a live source lets go of it itself."""
        if self._thread is None:
            self._reader.close()
        else:
            self.stop()
            self._thread.join(_PATIENCE)

    def _all(self) -> Iterator[Frame]:
        begun, last, clock = time.monotonic(), -1.0, _Clock(self.fps)
        while not self.stopped and self._reader.grab():
            number = self.read
            self.read += 1
            if number == 0:
                begun = time.monotonic()
            if number % self.every:
                continue
            image = self._reader.retrieve()
            if image is None:
                self.unreadable += 1
                continue
            seconds = time.monotonic() - begun if self.live else clock.seconds(number, self._reader.seconds())
            last = max(seconds, last + _LEAST)
            yield Frame(number, last, image)

    def _kept(self) -> Iterator[Frame]:
        """The newest frame, whenever it is asked for."""
        self._thread = threading.Thread(target=self._fill, name='newest frame', daemon=True)
        self._thread.start()
        while (frame := self._slot.take()) is not None:
            yield frame

    def _fill(self) -> None:
        error: BaseException | None = None
        try:
            for frame in self._all():
                self.dropped += self._slot.put(frame)
        except Exception as raised:  # goes on to the thread that asks for frames
            error = raised
        finally:
            self._slot.end(error)
            self._reader.close()


def frames_until(source: FrameSource, fault: list[Mbv1Error]) -> Iterator[Frame]:
    """The frames of a source for what works on several at once: it goes on to its end where they break off.

    Args:
        source: Open.
        fault: Gets the error, to be raised when the frames before it are done.
    """
    try:
        yield from source
    except Mbv1Error as error:
        fault.append(error)


class _Clock:
    """From what a source says of its frames' times to times since the first one that go on evenly.

    A camera counts from when its machine was started, and films that were joined begin anew in the middle.
    """

    def __init__(self, fps: float) -> None:
        self._fps, self._shift, self._last, self._number = fps, 0.0, 0.0, 0

    def seconds(self, number: int, told: float | None) -> float:
        """Time of a frame.

        Args:
            number: Its place, from 0.
            told: What the source says of it, in seconds; None where it says nothing.
        """
        usual = self._last + (number - self._number) / self._fps
        if told is None:
            told = usual - self._shift
        elif number == 0 or told + self._shift < self._last - _BACK:
            self._shift = usual - told
        self._last, self._number = told + self._shift, number
        return self._last


class _Slot:
    """Room for one frame between the thread that reads and the one that works."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._ended = False
        self._error: BaseException | None = None

    def put(self, frame: Frame) -> bool:
        """Leave a frame; whether another one had to go."""
        with self._changed:
            full, self._frame = self._frame is not None, frame
            self._changed.notify()
            return full

    def take(self) -> Frame | None:
        """The frame, as soon as there is one; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None or self._ended)
            frame, self._frame = self._frame, None
            if frame is None and self._error is not None:
                raise self._error
            return frame

    def end(self, error: BaseException | None) -> None:
        """Say that no more frames come, and why."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify()

    def stop(self) -> None:
        """Let the thread that waits for a frame wait no longer."""
        with self._changed:
            self._ended = True
            self._changed.notify()
