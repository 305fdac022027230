"""Files mapped into memory, with room behind their bytes: what is written there stays in this process."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from typing import BinaryIO

import numpy as np

__all__ = ['map_with_room']

_FIXED = 0x10  # MAP_FIXED of Linux and macOS, which Python does not name
_FAILED = ctypes.c_void_p(-1).value


def map_with_room(file: BinaryIO, start: int, length: int, room: int) -> np.ndarray | None:
    """A part of a file as an array that can grow and be written to, while the file stays as it is.

    Pages that are only read are those of the system's cache, shared with all other processes. The file may
    be replaced or removed meanwhile, but not be cut short: then the process is killed at the next access.

    Args:
        file: Open for reading; may be closed afterwards.
        start: First byte.
        length: Bytes of the file, at least 1.
        room: Further bytes of any content, which take no memory until they are written to.

    Returns:
        uint8 (length + room,); None where the system cannot map it so.
    """
    if not sys.platform.startswith(('linux', 'darwin')) or not 0 < length <= _size(file) - start:
        return None
    page = mmap.ALLOCATIONGRANULARITY
    skipped = start % page
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, 'MAP_NORESERVE', 0)
    try:
        region = mmap.mmap(-1, skipped + length + room + page, flags, mmap.PROT_READ | mmap.PROT_WRITE)
        whole: np.ndarray = np.frombuffer(region, np.uint8)
        libc = ctypes.CDLL(None)
        number, long, offset = ctypes.c_int, ctypes.c_size_t, ctypes.c_int64
        libc.mmap.argtypes = [ctypes.c_void_p, long, number, number, number, offset]
        libc.mmap.restype = ctypes.c_void_p
    except (OSError, ValueError, AttributeError):
        return None
    address, access = whole.ctypes.data, mmap.PROT_READ | mmap.PROT_WRITE
    flags = mmap.MAP_PRIVATE | _FIXED
    there = libc.mmap(address, skipped + length, access, flags, file.fileno(), start - skipped)
    return None if there in (None, _FAILED) else whole[skipped : skipped + length + room]


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size
