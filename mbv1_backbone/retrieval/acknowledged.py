"""What was acknowledged, kept outside of the database: a lost change is an error and never silence.

SQLite forgets a write-ahead log that is lost or damaged without a word, and cannot know that an older
database was put in its place. So after every change its number and state id are written beside it, in
place, into the older of two slots: that needs no room on the disk, and a torn write leaves the other slot.
The size and the time of the database's file are kept too: where they are others, somebody else has written
to it, and it is checked as a whole before it is trusted.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

from mbv1_backbone.retrieval.schema import checksum

__all__ = ['NAME', 'Acknowledgement', 'read_acknowledged', 'write_acknowledged']

NAME = 'acknowledged'
_SLOT = 256  # bytes
_DIGEST = 16


class Acknowledgement(NamedTuple):
    """A change that was acknowledged, and the database's file after it."""

    change: int
    state: str
    size: int
    modified_ns: int

    def fits(self, database: Path) -> bool:
        """Whether nobody has written to the database's file since."""
        found = os.stat(database)
        return (self.size, self.modified_ns) == (found.st_size, found.st_mtime_ns)


def read_acknowledged(folder: Path) -> Acknowledgement | None:
    """The last change that was acknowledged; None where no slot is whole."""
    return max(_slots(folder), default=(0, None))[1]


def write_acknowledged(folder: Path, change: int, state: str, database: Path) -> None:
    """Acknowledge a change, durably.

    Args:
        folder: Of the gallery.
        change: Its number.
        state: Its state id.
        database: The file, whose size and time are noted.

    Raises:
        OSError: If it cannot be written.
    """
    turn = max((turn for turn, _ in _slots(folder)), default=0) + 1
    found = os.stat(database)
    text = json.dumps([turn, change, state, found.st_size, found.st_mtime_ns]).encode().ljust(_SLOT - _DIGEST)
    descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        if os.fstat(descriptor).st_size < 2 * _SLOT:
            os.pwrite(descriptor, bytes(2 * _SLOT), 0)
        os.pwrite(descriptor, text + checksum(text), _SLOT * (turn % 2))
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def _slots(folder: Path) -> list[tuple[int, Acknowledgement]]:
    try:
        content = (folder / NAME).read_bytes()
    except OSError:
        return []
    found = []
    for slot in (content[:_SLOT], content[_SLOT : 2 * _SLOT]):
        text, digest = slot[:-_DIGEST], slot[-_DIGEST:]
        if len(slot) == _SLOT and checksum(text) == digest:
            turn, *values = json.loads(text)
            found.append((turn, Acknowledgement(*values)))
    return found
