"""Who and which file an id stands for, in memory: a match says so without asking the disk."""

from __future__ import annotations

import io
from array import array
from bisect import bisect_left
from collections.abc import Iterable

import numpy as np

from mbv1_backbone.common.errors import InputError


class Catalog:
    """Identity and file of every id, some 24 bytes an entry beside the text itself.

    It only grows: an id is given once and what it stands for never changes, so what was found may be
    looked up later, whatever was added or removed meanwhile. Threads may read while one adds.
    """

    def __init__(self) -> None:
        self._text = bytearray()  # identity, file, identity, file ...
        self._ends = array('q', [0])  # where each of them ends
        self._ids = array('q')  # ascending

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, entries: Iterable[tuple[int, str, str]]) -> None:
        """Add ids, ascending and higher than those that are there, each with its identity and file."""
        for entry_id, identity, file in entries:
            for text in (identity, file):
                self._text += text.encode()
                self._ends.append(len(self._text))
            self._ids.append(entry_id)

    def __contains__(self, entry_id: int) -> bool:
        place = bisect_left(self._ids, entry_id)
        return place < len(self._ids) and self._ids[place] == entry_id

    def __getitem__(self, entry_id: int) -> tuple[str, str]:
        """Identity and file of an id.

        Raises:
            InputError: If it is not there.
        """
        place = bisect_left(self._ids, entry_id)
        if place == len(self._ids) or self._ids[place] != entry_id:
            raise InputError(f'the index holds entry {entry_id}, which is not there; rebuild makes it anew')
        start, middle, end = self._ends[2 * place : 2 * place + 3]
        return self._text[start:middle].decode(), self._text[middle:end].decode()

    def to_bytes(self) -> bytes:
        """Itself as numpy writes arrays, in ``.npz``."""
        content = io.BytesIO()
        np.savez(
            content,
            ids=np.frombuffer(self._ids, np.int64),
            ends=np.frombuffer(self._ends, np.int64),
            text=np.frombuffer(self._text, np.uint8),
        )
        return content.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Catalog:
        """Read what ``to_bytes`` gave; its checksum must have been checked before."""
        catalog = cls()
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            catalog._ids = array('q', file['ids'].tobytes())
            catalog._ends = array('q', file['ends'].tobytes())
            catalog._text = bytearray(file['text'].tobytes())
        return catalog
