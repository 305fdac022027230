"""The list beside the crops of photographs: what they were made with, then a line a photograph.

The last line of a photograph counts. One with ``gone`` is of a photograph that was not in the folder of the
last run: its crops are there, but nothing says whether they are still wanted.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from mbv1_backbone.common.content import same_content, short_name
from mbv1_backbone.common.errors import DamagedFileError, InputError, LockedError
from mbv1_backbone.common.files import write_atomically

__all__ = ['LIST', 'CropList', 'crops_of', 'opened_list']

LIST = 'crops.jsonl'


class CropList:
    """The list of a folder of crops, held by one process.

    Args:
        folder: Of the crops.
        file: The list, open for appending.
        made_with: Its first line.
        entries: By photograph.
    """

    def __init__(
        self, folder: Path, file: BinaryIO, made_with: dict[str, Any], entries: dict[str, dict[str, Any]]
    ) -> None:
        self.folder = folder
        self.entries = entries
        self._file = file
        self._made_with = made_with

    def write(self, entry: dict[str, Any]) -> None:
        """Add a photograph's line."""
        self.entries[entry['file']] = entry
        self._file.write(_line(entry))
        self._file.flush()

    def is_done(self, file: str, name: str, taken: Collection[str], stamp: list[int]) -> bool:
        """Whether a photograph's line is there, of the photograph as it is now, and the files that it names.

        Args:
            file: The photograph.
            name: That its first crop must have.
            taken: Names of first crops of all photographs, which its others must not have.
            stamp: Of the photograph as it is.
        """
        entry = self.entries.get(file)
        if entry is None or entry.get('stamp', stamp) != stamp:  # earlier releases wrote no stamp
            return False
        crops = crops_of(entry)
        return (
            crops & {name, *taken} <= {name}
            and (not crops or name in crops)
            and all((self.folder / crop).is_file() for crop in crops)
        )

    def mark(self, files: Collection[str]) -> dict[str, list[str]]:
        """Say in the lines which photographs are gone, and of which others that is no longer so.

        Args:
            files: The photographs that there are.

        Returns:
            Gone photograph -> names of its crops that are there, and are no other photograph's.
        """
        here = set(files)
        others = set().union(*(crops_of(self.entries.get(file)) for file in here))
        gone = {}
        for file, entry in list(self.entries.items()):
            if file in here and entry.get('gone'):
                self.write({key: value for key, value in entry.items() if key != 'gone'})
            elif file not in here:
                if not entry.get('gone'):
                    self.write(entry | dict(gone=True))
                kept = sorted(crops_of(entry) - others)
                gone[file] = [name for name in kept if (self.folder / name).is_file()]
        return gone

    def remove(self, gone: dict[str, list[str]]) -> None:
        """Remove crops of photographs that are gone, then their lines."""
        for name in (name for names in gone.values() for name in names):
            (self.folder / name).unlink(missing_ok=True)
        self.entries = {file: entry for file, entry in self.entries.items() if file not in gone}
        lines = [_line(self._made_with), *map(_line, self.entries.values())]
        write_atomically(self.folder / LIST, b''.join(lines))


def crops_of(entry: dict[str, Any] | None) -> set[str]:
    """Names of a photograph's crops, by its line."""
    return {face['crop'] for face in (entry or {}).get('faces', ())}


@contextmanager
def opened_list(folder: Path, made_with: dict[str, Any]) -> Iterator[CropList]:
    """The list of a folder, to go on with; the folder is made.

    Raises:
        InputError: If its crops were made with something else.
        DamagedFileError: If it is no list of crops.
        LockedError: If another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LIST
    with open(path, 'a+b') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = os.path.samestat(os.fstat(file.fileno()), path.stat())  # or it was just replaced
        except (BlockingIOError, FileNotFoundError):
            held = False
        if not held:
            raise LockedError(f'{path}: another run writes there')
        file.seek(0)
        content = file.read()
        whole = content[: content.rfind(b'\n') + 1]  # a run that was killed may leave half a line
        file.truncate(len(whole))
        entries = _entries(path, whole, made_with)
        if not whole:
            file.write(_line(made_with))
        yield CropList(folder, file, made_with, entries)


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry).encode() + b'\n'


def _entries(path: Path, content: bytes, made_with: dict[str, Any]) -> dict[str, dict[str, Any]]:
    try:
        lines = [json.loads(line) for line in content.splitlines()]
        entries = {line['file']: line for line in lines[1:]}
        first = dict(lines[0]) if lines else made_with
    except (ValueError, TypeError, KeyError) as error:
        raise DamagedFileError(f'{path}: not a list of crops: {error}') from error
    differ = [
        f'{key} {short_name(str(first.get(key)))}, not {short_name(str(value))}'
        for key, value in made_with.items()
        if not (first.get(key) == value or same_content(str(first.get(key)), str(value)))
    ]
    if differ:
        raise InputError(
            f'{path}: its crops were made with {"; ".join(differ)}: give another folder, or the same options'
        )
    return entries
