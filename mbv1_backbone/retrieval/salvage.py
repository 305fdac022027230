"""What can still be read of a gallery whose database is damaged, as a new gallery."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import DamagedFileError, InputError, Mbv1Error
from mbv1_backbone.retrieval import schema, writes
from mbv1_backbone.retrieval.gallery import Gallery
from mbv1_backbone.retrieval.lock import writer_lock
from mbv1_backbone.retrieval.opening import STORE, TIED_TO, discard
from mbv1_backbone.retrieval.provenance import read_made_with
from mbv1_backbone.retrieval.records import Correction, Entry
from mbv1_backbone.retrieval.store import Store

__all__ = ['salvage']

_PAGE = 500  # entries that are read at once


def salvage(
    folder: str | os.PathLike[str], out: str | os.PathLike[str], timeout: float = 10.0
) -> tuple[int, int]:
    """Make a new gallery of the entries that can still be read of a damaged one, which stays as it is.

    They get new numbers. What was corrected comes with them where it can be read.

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
            count, last = int(store.meta('count')), _last_id(store)
            made = Gallery.create(out, dim, model, preprocessing, made_with=_made_with(store))
            try:
                with made.bulk():
                    made.add_entries(_readable(store, last), _corrections(store))
                if not len(made):
                    raise DamagedFileError(f'{store.path}: none of its {count} entries can be read')
            except BaseException:
                made.close()
                discard(out, keep=there)
                raise
            with made:
                return len(made), count
    finally:
        store.close()


def _made_with(store: Store) -> dict[str, Any]:
    try:
        return read_made_with(store)
    except Mbv1Error:
        return {}


def _last_id(store: Store) -> int:
    with store.reading() as connection:
        row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'entries'").fetchone()
    return 0 if row is None else int(row[0])


def _readable(store: Store, last: int) -> Iterator[tuple[Entry, np.ndarray]]:
    """Entries that are as they were written, by id; a page of them that cannot be read, one by one."""
    for begin in range(1, last + 1, _PAGE):
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
    try:
        return writes.corrections(store)
    except Mbv1Error:
        return []
