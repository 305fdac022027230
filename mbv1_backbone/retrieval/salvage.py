"""What can still be read of a gallery whose database is damaged, as a new gallery."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import DamagedFileError, InputError, Mbv1Error
from mbv1_backbone.retrieval import schema, writes
from mbv1_backbone.retrieval.gallery import Gallery
from mbv1_backbone.retrieval.lock import writer_lock
from mbv1_backbone.retrieval.opening import STORE, TIED_TO, discard
from mbv1_backbone.retrieval.provenance import KEY as MADE_WITH
from mbv1_backbone.retrieval.records import Correction, Entry
from mbv1_backbone.retrieval.store import Store

__all__ = ['salvage']

_PAGE = 500  # entries that are read at once


def salvage(
    folder: str | os.PathLike[str], out: str | os.PathLike[str], timeout: float = 10.0
) -> tuple[int, int]:
    """Make a new gallery of the entries that can still be read of a damaged one, which stays as it is.

    They get new numbers. What was corrected, the threshold and the choice of the index come with them where
    they can be read.

    Args:
        folder: Of the damaged gallery.
        out: Of the new one.
        timeout: Seconds to wait for another writer.

    Returns:
        How many entries could be read, and how many there were.

    Raises:
        InputError: If none can be read, or the new folder holds something already.
        LockedError: If another writer is at work.
        NoSpaceError: If the disk is full.
    """
    folder, out = Path(folder), Path(out)
    if not (folder / STORE).is_file():
        raise InputError(f'{folder}: not a gallery, it has no {STORE}')
    store, there = Store(folder / STORE), out.exists()
    try:
        with writer_lock(folder, 'salvage', timeout):
            model, preprocessing, dim, _ = (store.meta(key) for key in TIED_TO)
            count = int(store.meta('count'))
            made = Gallery.create(
                *(out, dim, model, preprocessing),
                *(_or_none(store, 'factory'), _or_none(store, 'bytes_per_vector')),
                made_with=_or_none(store, MADE_WITH),
            )
            try:
                with made.bulk():
                    made.add_entries(_readable(store), _corrections(store))
                if not len(made):
                    raise DamagedFileError(f'{store.path}: none of its {count} entries can be read')
                if (calibration := _or_none(store, 'calibration')) is not None:
                    made.set_calibration(calibration)
            except BaseException:
                made.close()
                discard(out, keep=there)
                raise
            with made:
                return len(made), count
    finally:
        store.close()


def _or_none(store: Store, key: str) -> Any:
    try:
        return store.meta(key)
    except Mbv1Error:
        return None


def _last_id(store: Store) -> int:
    """The last id that was given, where either of those who know it can be read."""
    found = []
    for sql in ("SELECT seq FROM sqlite_sequence WHERE name = 'entries'", 'SELECT max(id) FROM entries'):
        with suppress(DamagedFileError), store.reading() as connection:
            found += [value for row in connection.execute(sql) for value in row if type(value) is int]
    return max(found, default=0)


def _next_id(store: Store, begin: int, last: int) -> int:
    """The next id from some id on that is there; that id itself where it cannot be told."""
    try:
        with store.reading() as connection:
            found = connection.execute('SELECT min(id) FROM entries WHERE id >= ?', (begin,)).fetchone()[0]
    except DamagedFileError:
        return begin
    return last + 1 if found is None else int(found)


def _readable(store: Store) -> Iterator[tuple[Entry, np.ndarray]]:
    """Entries that are as they were written, by id; a page of them that cannot be read, one by one."""
    last, end = _last_id(store), 0
    while (begin := _next_id(store, end + 1, last)) <= last:
        end = min(begin + _PAGE - 1, last)
        try:
            pairs = _between(store, begin, end)
        except DamagedFileError:
            pairs = []
            for entry_id in range(begin, end + 1):
                try:
                    pairs += _between(store, entry_id, entry_id)
                except DamagedFileError:
                    continue
        yield from pairs


def _between(store: Store, first: int, last: int) -> list[tuple[Entry, np.ndarray]]:
    sql = f'SELECT {schema.COLUMNS} FROM entries WHERE id BETWEEN ? AND ? ORDER BY id'
    with store.reading() as connection:
        return [store.checked(row) for row in connection.execute(sql, (first, last))]


def _corrections(store: Store) -> list[Correction]:
    for entries_too in (True, False):
        with suppress(Mbv1Error):
            return writes.corrections(store, entries_too)
    return []
