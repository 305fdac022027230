"""Who and which file a row of the index stands for, in memory: a match says so without asking the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, BinaryIO

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.npz import map_array, write_npz

__all__ = ['Catalog']

_ROOM = 0.25  # share of an array that is kept free behind it


class Catalog:
    """Id, identity and file of every row of the index, some 24 bytes a row beside the text itself.

    Rows are only appended, in the order of their ids. Where a name changes, a new catalog takes this one's
    place and shares its rows, so that what was found before stays as it was found. Threads may read while
    one appends.
    """

    def __init__(self) -> None:
        self._ids: np.ndarray = np.zeros(0, np.int64)  # ascending; all three have room at their end
        self._ends: np.ndarray = np.zeros(1, np.int64)  # where each of the texts ends
        self._text: np.ndarray = np.zeros(0, np.uint8)  # identity, file, identity, file ...
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
        fresh: list[int] = []
        texts: list[bytes] = []
        for entry_id, identity, file in entries:
            texts += identity.encode(), file.encode()
            fresh.append(entry_id)
        end, joined = int(self._ends[2 * self._count]), np.frombuffer(b''.join(texts), np.uint8)
        ends = end + np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
        self._text = _extended(self._text, end, joined)
        self._ends = _extended(self._ends, 2 * self._count + 1, ends)
        self._ids = _extended(self._ids, self._count, np.array(fresh, np.int64))
        self._count += len(fresh)

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
        start, middle, end = self._ends[2 * row : 2 * row + 3].tolist()
        text = self._text[start:end].tobytes()
        return text[: middle - start].decode(), text[middle - start :].decode()

    def write(self, write: Callable[[Any], object], removed: np.ndarray) -> None:
        """Write itself as numpy writes arrays, in ``.npz``.

        Args:
            write: Takes the file's bytes, piece by piece.
            removed: bool (rows,), those that the index has lost.
        """
        ends, text = self._plain()
        write_npz(write, dict(ids=self.ids, ends=ends, text=text, removed=np.packbits(removed)))

    def _plain(self) -> tuple[np.ndarray, np.ndarray]:
        """Ends and text of the rows, with changed names in their places."""
        ends = self._ends[: 2 * self._count + 1]
        lengths, done = np.diff(ends), 0
        texts: list[Any] = []
        for row in sorted(self._changed):
            names = [name.encode() for name in self._changed[row]]
            texts += self._text[done : ends[2 * row]].data, *names
            lengths[2 * row : 2 * row + 2] = [len(name) for name in names]
            done = ends[2 * row + 2]
        if not texts:
            return ends, self._text[: ends[-1]]
        text = np.frombuffer(b''.join([*texts, self._text[done : ends[-1]].data]), np.uint8)
        return np.concatenate([[0], np.cumsum(lengths)]), text

    @classmethod
    def read(cls, file: BinaryIO, mapped: bool = False) -> tuple[Catalog, np.ndarray]:
        """Read what ``write`` wrote, and which rows (bool) were lost; its checksum must have been checked.

        Args:
            file: Open for reading.
            mapped: Whether to use it where it lies, if that can be done; then it must not be cut short.
        """
        file.seek(0)
        catalog = cls()
        with np.load(file, allow_pickle=False) as content:

            def array(name: str) -> tuple[np.ndarray, int]:
                found = map_array(file, name, _ROOM) if mapped else None
                return found or (content[name], len(content[name]))

            catalog._ids, catalog._count = array('ids')
            catalog._ends, catalog._text = array('ends')[0], array('text')[0]
            removed: np.ndarray = np.unpackbits(content['removed'], count=catalog._count).astype(bool)
        return catalog, removed


def _extended(array: np.ndarray, count: int, more: np.ndarray) -> np.ndarray:
    """An array whose first ``count`` values are followed by others: itself, or a longer one if it must be."""
    needed = count + len(more)
    if needed > len(array):
        longer = np.zeros(max(needed, int(count * (1 + _ROOM))), array.dtype)
        longer[:count] = array[:count]
        array = longer
    array[count:needed] = more
    return array
