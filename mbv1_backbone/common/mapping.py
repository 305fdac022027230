"""Files mapped into memory, with room behind their bytes: what is written there stays in this process."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from typing import BinaryIO

import numpy as np

__all__ = ['CAN_MAP', 'map_with_room']

CAN_MAP = sys.platform.startswith(('linux', 'darwin'))  # whether this system is one that maps with room
_UNRESERVED = 0x40 if sys.platform == 'darwin' else 0x4000  # MAP_NORESERVE, which Python names from 3.13 on
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
    if not CAN_MAP or not 0 < length <= _size(file) - start:
        return None
    page = mmap.ALLOCATIONGRANULARITY
    skipped = start % page
    flags, access = mmap.MAP_PRIVATE | _UNRESERVED, mmap.PROT_READ | mmap.PROT_WRITE  # may exceed the memory
    try:
        # where its file system maps nothing, this says so; below it might leave a hole that others fill
        mmap.mmap(file.fileno(), length, mmap.MAP_PRIVATE, mmap.PROT_READ, offset=start - skipped).close()
        region = mmap.mmap(-1, skipped + length + room + page, flags | mmap.MAP_ANONYMOUS, access)
        whole: np.ndarray = np.frombuffer(region, np.uint8)
        libc = ctypes.CDLL(None)
        number, long, offset = ctypes.c_int, ctypes.c_size_t, ctypes.c_int64
        libc.mmap.argtypes = [ctypes.c_void_p, long, number, number, number, offset]
        libc.mmap.restype = ctypes.c_void_p
    except (OSError, ValueError, AttributeError):
        return None
    address, descriptor = whole.ctypes.data, file.fileno()
    there = libc.mmap(address, skipped + length, access, flags | _FIXED, descriptor, start - skipped)
    return None if there in (None, _FAILED) else whole[skipped : skipped + length + room]


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size
