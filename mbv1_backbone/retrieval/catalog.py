"""Who and which file a row of the index stands for, in memory: a match says so without asking the disk."""

from __future__ import annotations

import io
from array import array
from collections.abc import Iterable

import numpy as np

from mbv1_backbone.common.errors import InputError

__all__ = ['Catalog']


class Catalog:
    """Id, identity and file of every row of the index, some 24 bytes a row beside the text itself.

    Rows are only appended, in the order of their ids. Where a name changes, a new catalog takes this one's
    place and shares its rows, so that what was found before stays as it was found. Threads may read while
    one appends.
    """

    def __init__(self) -> None:
        self._text = bytearray()  # identity, file, identity, file ...
        self._ends = array('q', [0])  # where each of them ends
        self._ids: np.ndarray = np.zeros(0, np.int64)  # ascending, with room at its end
        self._count = 0
        self._changed: dict[int, tuple[str, str]] = {}  # by row

    def __len__(self) -> int:
        return self._count

    @property
    def ids(self) -> np.ndarray:
        """int64 (rows,), ascending."""
        return self._ids[: self._count]

    def add(self, entries: Iterable[tuple[int, str, str]]) -> None:
        """Append rows: ids, ascending and higher than those that are there, with identity and file."""
        fresh = []
        for entry_id, identity, file in entries:
            for text in (identity, file):
                self._text += text.encode()
                self._ends.append(len(self._text))
            fresh.append(entry_id)
        needed = self._count + len(fresh)
        if needed > len(self._ids):
            larger: np.ndarray = np.zeros(max(needed, self._count * 5 // 4), np.int64)
            larger[: self._count] = self.ids
            self._ids = larger
        self._ids[self._count : needed] = fresh
        self._count = needed

    def renamed(self, names: dict[int, tuple[str, str]]) -> Catalog:
        """A catalog with other identities and files of some rows; this one stays as it is."""
        other = Catalog()
        other._text, other._ends, other._ids, other._count = self._text, self._ends, self._ids, self._count
        other._changed = self._changed | names
        return other

    def rows_of(self, ids: np.ndarray) -> np.ndarray:
        """Rows of some ids, -1 for those that are not there."""
        wanted = np.asarray(ids, np.int64)
        if not self._count:
            return np.full(len(wanted), -1, np.int64)
        places = np.minimum(np.searchsorted(self.ids, wanted), self._count - 1)
        return np.where(self.ids[places] == wanted, places, -1).astype(np.int64)

    def __contains__(self, entry_id: int) -> bool:
        return bool(self.rows_of(np.array([entry_id]))[0] >= 0)

    def __getitem__(self, entry_id: int) -> tuple[str, str]:
        """Identity and file of an id.

        Raises:
            InputError: If it is not there.
        """
        row = int(np.searchsorted(self.ids, entry_id))
        if row == self._count or self._ids[row] != entry_id:
            raise InputError(f'the index holds entry {entry_id}, which is not there; rebuild makes it anew')
        if row in self._changed:
            return self._changed[row]
        start, middle, end = self._ends[2 * row : 2 * row + 3]
        return self._text[start:middle].decode(), self._text[middle:end].decode()

    def to_bytes(self, removed: np.ndarray) -> bytes:
        """Itself as numpy writes arrays, in ``.npz``, with the rows (bool) that the index has lost."""
        plain = self
        if self._changed:
            plain = Catalog()
            plain.add((entry_id, *self[entry_id]) for entry_id in self.ids.tolist())
        content = io.BytesIO()
        np.savez(
            content,
            ids=plain.ids,
            ends=np.frombuffer(plain._ends, np.int64),
            text=np.frombuffer(plain._text, np.uint8),
            removed=np.packbits(removed),
        )
        return content.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> tuple[Catalog, np.ndarray]:
        """Read what ``to_bytes`` gave; its checksum must have been checked before."""
        catalog = cls()
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            catalog._ids = file['ids']
            catalog._count = len(catalog._ids)
            catalog._ends = array('q', file['ends'].tobytes())
            catalog._text = bytearray(file['text'].tobytes())
            removed: np.ndarray = np.unpackbits(file['removed'], count=catalog._count).astype(bool)
        return catalog, removed
