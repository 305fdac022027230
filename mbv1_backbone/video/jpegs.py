"""A stream of JPEG files, one after the other, as cameras and ffmpeg write it: MJPEG."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.images import read_image

__all__ = ['JpegStream', 'split_jpegs']

_CHUNK = 1 << 16
_MAX_BYTES = 1 << 26  # of a JPEG: what is longer is none
_SOI, _EOI, _SOS = b'\xff\xd8', 0xD9, 0xDA
_BARE = (0x01, *range(0xD0, 0xD8))  # markers without a length: TEM and RST0..7 (ITU-T T.81, table B.1)


class JpegStream:
    """Frames of a stream of JPEG files.

    Args:
        stream: What is read from; bytes between the files are passed over.
        fps: Frames a second, which such a stream does not say.
    """

    length: int | None = None
    counted = True

    def __init__(self, stream: BinaryIO, fps: float) -> None:
        self.fps = fps
        self._files = split_jpegs(stream)
        self._file = b''
        self._fault = ''

    def grab(self) -> bool:
        """Go to the next file; False at the end."""
        try:
            self._file = next(self._files)
        except StopIteration:
            return False
        except InputError as error:
            self._fault = str(error)
            return False
        return True

    def retrieve(self) -> np.ndarray | None:
        """The image, RGB uint8 (H, W, 3); None where it cannot be decoded."""
        try:
            return read_image(self._file)
        except InputError:
            return None

    def seconds(self) -> float | None:
        """Not said."""
        return None

    def fault(self, read: int) -> str:
        """Why the stream ended too soon; empty where it did not."""
        return f'{self._fault} after {read} JPEG files' if self._fault and read else self._fault

    def close(self) -> None:
        """Nothing: the stream is not ours."""


def split_jpegs(stream: BinaryIO) -> Iterator[bytes]:
    """The JPEG files of a stream, each whole: thumbnails inside of one are part of it.

    Raises:
        InputError: After the last file, if the stream ends in the middle of one, holds none, or one has no
            end.
    """
    ahead, count = _Ahead(stream), 0
    while True:
        start = ahead.bytes.find(_SOI)
        if start < 0:
            del ahead.bytes[:-1]  # the first half of a mark may be there
            if not ahead.read():
                if count or not ahead.bytes:
                    return
                raise InputError('holds no JPEG file')
            continue
        del ahead.bytes[:start]
        size = _size_of(ahead)
        if size is None:
            raise InputError('breaks off in the middle of a JPEG file')
        yield bytes(ahead.bytes[:size])
        count += 1
        del ahead.bytes[:size]


class _Ahead:
    """What was read of a stream and not used yet."""

    def __init__(self, stream: BinaryIO) -> None:
        # A pipe gives what is there: a whole chunk of a slow camera would be several frames late.
        self._read = getattr(stream, 'read1', stream.read)
        self.bytes = bytearray()

    def read(self) -> bool:
        """Read on; False at the end."""
        if len(self.bytes) > _MAX_BYTES:
            raise InputError(f'a JPEG file has no end within {_MAX_BYTES >> 20} MiB')
        chunk = self._read(_CHUNK)
        self.bytes += chunk
        return bool(chunk)

    def has(self, count: int) -> bool:
        """Whether there are so many bytes."""
        while len(self.bytes) < count:
            if not self.read():
                return False
        return True


def _size_of(ahead: _Ahead) -> int | None:
    """Bytes of the file that is ahead; None where the stream ends before it does."""
    place: int | None = 2
    while place is not None and ahead.has(place + 2):
        if ahead.bytes[place] != 0xFF:  # a broken file: up to where the next one begins, or all that is there
            following = ahead.bytes.find(_SOI, place)
            return following if following > 0 else len(ahead.bytes)
        if ahead.bytes[place + 1] == _EOI:
            return place + 2
        place = _after(ahead, place, ahead.bytes[place + 1])
    return None


def _after(ahead: _Ahead, place: int, marker: int) -> int | None:
    """Where the next marker is; None where the stream ends before it."""
    if marker == 0xFF or marker in _BARE:
        return place + (1 if marker == 0xFF else 2)
    if not ahead.has(place + 4):
        return None
    end = place + 2 + int.from_bytes(ahead.bytes[place + 2 : place + 4], 'big')
    return _after_scan(ahead, end) if marker == _SOS else end


def _after_scan(ahead: _Ahead, place: int) -> int | None:
    """Where the coded pixels from ``place`` on end: at a marker that is no stuffing and no restart."""
    while True:
        found = ahead.bytes.find(0xFF, place)
        if found < 0 or found + 1 >= len(ahead.bytes):
            place = max(place, len(ahead.bytes) if found < 0 else found)
            if not ahead.read():
                return None
        elif ahead.bytes[found + 1] in (0x00, *_BARE):
            place = found + 2
        else:
            return found
