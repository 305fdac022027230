"""The C library's allocator, told to give large buffers back to the system."""

from __future__ import annotations

import ctypes
import os
import sys

__all__ = ['return_large_buffers']

_LARGE = 4 << 20  # bytes
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
_ASKED = ('MALLOC_MMAP_THRESHOLD_', 'MALLOC_TRIM_THRESHOLD_', 'GLIBC_TUNABLES')


def return_large_buffers() -> bool:
    """Let buffers of 4 MiB and more be the system's again as soon as they are freed.

    glibc does so from 128 KiB on at first, but raises that bound to the size of each such buffer that is
    freed, up to 32 MiB. The pixels of photographs then come from the heaps of threads, and one small value
    that stays at the end of a heap keeps all of its 64 MiB. See M_MMAP_THRESHOLD in
    https://man7.org/linux/man-pages/man3/mallopt.3.html.

    Returns:
        Whether it does now: not without glibc, nor where glibc's environment variables say something else.
    """
    if sys.platform != 'linux' or any(name in os.environ for name in _ASKED):
        return False
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    return mallopt is not None and bool(
        mallopt(_MMAP_THRESHOLD, _LARGE) and mallopt(_TRIM_THRESHOLD, 2 * _LARGE)
    )
