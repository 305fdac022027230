"""One writer at a time: a lock on a file that says who holds it."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mbv1_backbone.common.errors import InputError, LockedError, NoSpaceError, is_full

__all__ = ['writer_lock']

_ROOM = 512  # bytes, filled up by spaces: cheaper than cutting the file
_PAUSE = 0.02  # seconds between two tries


@contextmanager
def writer_lock(folder: Path, operation: str, timeout: float) -> Iterator[None]:
    """Hold the gallery's writer lock; the system frees it when the process ends, however it ends.

    Args:
        folder: The gallery.
        operation: What for: others are told.
        timeout: Seconds to wait for another writer.

    Raises:
        LockedError: If another writer holds it for longer; the message says who, and since when.
        InputError: If the folder is no longer there, or the file cannot be written.
        NoSpaceError: If the disk is full.
    """
    deadline = time.monotonic() + timeout
    with _opened(folder) as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise LockedError(f'gallery {folder} is being written: {_holder(file)}') from None
                time.sleep(_PAUSE)
        since = time.strftime('%Y-%m-%d %H:%M:%S')
        who = dict(pid=os.getpid(), host=socket.gethostname(), operation=operation, since=since)
        os.pwrite(file.fileno(), json.dumps(who).encode().ljust(_ROOM), 0)
        yield


def _opened(folder: Path) -> IO[str]:
    path = folder / 'writer.lock'
    try:
        return open(path, 'r+' if path.exists() else 'w+')
    except OSError as error:
        kind = NoSpaceError if is_full(error) else InputError
        raise kind(f'gallery {folder}: {path.name} cannot be written: {error.strerror or error}') from error


def _holder(file) -> str:  # type: ignore[no-untyped-def]
    try:
        file.seek(0)
        who = json.loads(file.read())
        return f'{who["operation"]} by process {who["pid"]} on {who["host"]} since {who["since"]}'
    except (ValueError, KeyError, TypeError):
        return 'by another process'
