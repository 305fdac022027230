"""The source of truth, changed. Every function is one change: all of it, or after an error nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from sqlite3 import Connection
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import DamagedFileError, InputError
from mbv1_backbone.retrieval import apart, schema
from mbv1_backbone.retrieval.apart import Face
from mbv1_backbone.retrieval.checks import check_box, check_sha256, check_text, check_time
from mbv1_backbone.retrieval.conditions import attributes_of, metadata_json
from mbv1_backbone.retrieval.records import Correction, Entry
from mbv1_backbone.retrieval.store import Store
from mbv1_backbone.retrieval.unnamed import is_alone, is_group

__all__ = [
    'add',
    'checked_correction',
    'correct',
    'corrections',
    'forget_removals',
    'name',
    'reindex',
    'remove',
    'remove_key',
    'rewrite',
    'set_meta',
    'vacuum',
]

_INSERT = f'INSERT INTO entries ({schema.COLUMNS}) VALUES ({", ".join("?" * 13)})'
_UPDATE = (
    'UPDATE entries SET identity = ?, file = ?, sha256 = ?, box = ?, landmarks = ?, detector_score = ?, '
    'quality = ?, added = ?, metadata = ?, vector = ?, change = ?, digest = ? WHERE id = ?'
)
_STATES = 1000  # that are remembered: what was acknowledged last must be among them
_NO_LONGER_RIGHT = (
    f'DELETE FROM corrections WHERE sha256 = ? AND box = ? AND correct AND NOT {apart.LABELLED}'
)
_CORRECT = 'INSERT OR REPLACE INTO corrections VALUES (?, ?, ?, ?, ?)'
_CONTRADICTED = (  # that a face does not show whom it was named after later
    'SELECT sha256, box, identity FROM corrections JOIN entries USING (sha256, box, identity) '
    'WHERE NOT correct'
)
_CARRIED = (  # what was said of one name, to another; not that a face is wrong which has it
    'INSERT OR IGNORE INTO corrections SELECT sha256, box, ?, correct, made FROM corrections AS old '
    'WHERE identity = ? AND (correct OR NOT EXISTS (SELECT 1 FROM entries WHERE entries.sha256 = old.sha256 '
    'AND entries.box = old.box AND entries.identity = ?))'
)


@dataclass
class _Change:
    """A change that is being made."""

    connection: Connection
    number: int


@contextmanager
def _changing(store: Store) -> Iterator[_Change]:
    with store.connections.writing() as connection:
        yield _Change(connection, schema.next_change(connection))


def set_meta(store: Store, key: str, value: Any) -> None:
    """Set a value that belongs to the whole gallery.

    Args:
        store: Of the gallery.
        key: Its name.
        value: What JSON can hold.
    """
    with _changing(store) as change:
        schema.put_meta(change.connection, key, value)


def add(
    store: Store,
    pairs: Iterable[tuple[Entry, np.ndarray]],
    corrections: Iterable[Correction] = (),
) -> list[int | None]:
    """Add entries with their vectors, as many as there are: they are written as they come.

    Args:
        store: Of the gallery.
        pairs: Checked; their ids and changes are given here.
        corrections: To add with them; those that are there already stay.

    Returns:
        The id of each; None where the same face is there already, or was corrected not to be that person.
    """
    with _changing(store) as change:
        connection = change.connection
        for one in corrections:
            connection.execute(_CORRECT.replace('REPLACE', 'IGNORE'), _correction_row(one))
        wrong = set(connection.execute('SELECT sha256, box, identity FROM corrections WHERE NOT correct'))
        last = connection.execute('SELECT max(seq) FROM sqlite_sequence').fetchone()[0] or 0
        ids: list[int | None] = []
        for entry, vector in pairs:
            face = (entry.sha256, schema.box_text(entry.box))
            if (*face, entry.identity) in wrong or connection.execute(
                'SELECT 1 FROM entries WHERE sha256 = ? AND box = ?', face
            ).fetchone():
                ids.append(None)
                continue
            last += 1
            text = metadata_json(entry.metadata)
            connection.execute(_INSERT, schema.row_of(replace(entry, id=last), text, vector, change.number))
            _put_attributes(connection, last, text)
            ids.append(last)
        _count(connection, sum(i is not None for i in ids))
    return ids


def remove(store: Store, ids: Iterable[int]) -> int:
    """Remove entries; how many there were."""
    wanted = sorted(set(ids))
    with _changing(store) as change:
        return _remove(change, wanted)


def rewrite(store: Store, ids: Sequence[int], changed: Callable[[Entry], Entry]) -> None:
    """Replace what entries say of themselves, but for their ids.

    Args:
        store: Of the gallery.
        ids: Of the entries.
        changed: Gives an entry as it is to be.

    Raises:
        InputError: If there is no such entry.
    """
    with _changing(store) as change:
        for entry_id in ids:
            entry, vector = _entry(store, change.connection, entry_id)
            _rewrite(change, changed(entry), vector)


def remove_key(store: Store, ids: Sequence[int], key: str) -> int:
    """Take a key out of the metadata of entries; how many of them are there and had it.

    Args:
        store: Of the gallery.
        ids: Of the entries; those that are gone are left out.
        key: Of the metadata.
    """
    count = 0
    with _changing(store) as change:
        for entry, vector in _some(store, change.connection, ids):
            if key in entry.metadata:
                kept = {name: value for name, value in entry.metadata.items() if name != key}
                _rewrite(change, replace(entry, metadata=kept), vector)
                count += 1
    return count


def correct(store: Store, names: Mapping[int, str | None]) -> None:
    """Remember of some entries that they do not show their person, and whom they show, if that is known.

    Those whose person is not known are removed.

    Args:
        store: Of the gallery.
        names: Of entries, by id: whom they show; None if that is not known.

    Raises:
        InputError: If there is no such entry.
    """
    now = time.time()
    with _changing(store) as change:
        left: dict[str, set[Face]] = {}
        for entry_id, identity in names.items():
            entry, vector = _entry(store, change.connection, entry_id)
            face = (entry.sha256, schema.box_text(entry.box))
            left.setdefault(entry.identity, set()).add(face)
            change.connection.execute(_NO_LONGER_RIGHT, face)
            if not is_alone(entry.identity):  # that name says nothing
                change.connection.execute(_CORRECT, (*face, entry.identity, 0, now))
            if identity is None:
                _remove(change, [entry_id])
                continue
            if not is_alone(identity):
                change.connection.execute(_CORRECT, (*face, identity, 1, now))
            _rewrite(change, replace(entry, identity=identity), vector)
        for former, faces in left.items():
            apart.leave(change.connection, faces, former, now)
        for identity in {name for name in names.values() if name is not None}:
            _settle(change.connection, identity, now)


def name(store: Store, ids: Sequence[int], identity: str) -> None:
    """Give entries of one person or several a name; what was said of the names before is said of it, too.

    Args:
        store: Of the gallery.
        ids: Of the entries.
        identity: Their name from now on.

    Raises:
        InputError: If there is no such entry.
    """
    now = time.time()
    with _changing(store) as change:
        former: dict[str, None] = {}
        for entry_id in ids:
            entry, vector = _entry(store, change.connection, entry_id)
            former[entry.identity] = None
            if entry.identity != identity:
                _rewrite(change, replace(entry, identity=identity), vector)
        for old in former:
            change.connection.execute(_CARRIED, (identity, old, identity))
            if old != identity:
                change.connection.execute('DELETE FROM corrections WHERE identity = ? AND correct', (old,))
        _settle(change.connection, identity, now)


def _settle(connection: Connection, identity: str, made: float) -> None:
    """Take somebody's word that faces which have one name now are one person's."""
    apart.forget(connection, identity)
    apart.tell_name(connection, identity)
    connection.execute(
        f'DELETE FROM corrections WHERE identity = ? AND (sha256, box, identity) IN ({_CONTRADICTED})',
        (identity,),
    )
    if is_group(identity):
        faces = apart.faces_of(connection, identity)
        connection.executemany(_CORRECT, [(*face, identity, 1, made) for face in faces])


def checked_correction(correction: Correction) -> Correction:
    """A correction as a gallery takes it.

    Raises:
        InputError: If a value is wrong.
    """
    if not isinstance(correction.correct, bool):
        raise InputError(f'a correction is correct or not, got {correction.correct!r:.60}')
    return Correction(
        sha256=check_sha256(correction.sha256),
        box=check_box(correction.box),
        identity=check_text(correction.identity, 'identity'),
        correct=correction.correct,
        made=check_time(correction.made),
    )


def corrections(store: Store, entries_too: bool = True) -> list[Correction]:
    """All that was corrected, but for what early versions kept of faces that were named otherwise later.

    Args:
        store: Of the gallery.
        entries_too: Whether to read the entries' names for that; otherwise it comes, too.

    Raises:
        DamagedFileError: If a row is damaged.
    """
    with store.reading() as connection:
        sql = 'SELECT sha256, box, identity, correct, made FROM corrections'
        if entries_too:
            sql += f' WHERE correct OR (sha256, box, identity) NOT IN ({_CONTRADICTED})'
        rows = connection.execute(sql).fetchall()
    try:
        return [
            checked_correction(Correction(sha256, schema.box_of(box), identity, right == 1, made))
            for sha256, box, identity, right, made in rows
        ]
    except (InputError, TypeError, ValueError, AttributeError) as error:
        raise DamagedFileError(f'{store.path}: a correction is damaged: {error}') from error


def forget_removals(store: Store) -> None:
    """Drop the ids of removed entries: readers that have not seen them go must start anew."""
    with _changing(store) as change:
        change.connection.execute('DELETE FROM removals')
        change.connection.execute('DELETE FROM states WHERE change < ?', (change.number - _STATES,))
        schema.put_meta(change.connection, 'forgotten', change.number)


def vacuum(store: Store) -> None:
    """Give the room of removed entries back to the disk."""
    with store.connections.alone() as connection:
        connection.execute('VACUUM')


def reindex(store: Store) -> None:
    """Make SQLite's own indexes, and what is derived from the entries, anew from the entries."""
    with store.connections.alone() as connection:
        connection.execute('REINDEX')
    with _changing(store) as change:
        connection = change.connection
        connection.execute('DELETE FROM people')
        connection.execute('INSERT INTO people SELECT identity, count(*) FROM entries GROUP BY identity')
        connection.execute('DELETE FROM attributes')
        for entry_id, text in connection.execute('SELECT id, metadata FROM entries').fetchall():
            _put_attributes(connection, entry_id, text)


def _some(store: Store, connection: Connection, ids: Sequence[int]) -> list[tuple[Entry, np.ndarray]]:
    sql = f'SELECT {schema.COLUMNS} FROM entries WHERE id IN (SELECT value FROM json_each(?))'
    return [store.checked(row) for row in connection.execute(sql, (json.dumps(list(ids)),))]


def _entry(store: Store, connection: Connection, entry_id: int) -> tuple[Entry, np.ndarray]:
    sql = f'SELECT {schema.COLUMNS} FROM entries WHERE id = ?'
    row = connection.execute(sql, (entry_id,)).fetchone()
    if row is None:
        raise InputError(f'{store.path.parent}: no entry {entry_id}')
    return store.checked(row)


def _rewrite(change: _Change, entry: Entry, vector: np.ndarray) -> None:
    text = metadata_json(entry.metadata)
    entry_id, *row = schema.row_of(entry, text, vector, change.number)
    change.connection.execute(_UPDATE, (*row, entry_id))
    change.connection.execute('DELETE FROM attributes WHERE entry = ?', (entry_id,))
    _put_attributes(change.connection, entry_id, text)


def _remove(change: _Change, ids: Iterable[int]) -> int:
    count = 0
    for entry_id in ids:
        if change.connection.execute('DELETE FROM entries WHERE id = ?', (entry_id,)).rowcount:
            change.connection.execute('INSERT INTO removals VALUES (?, ?)', (entry_id, change.number))
            count += 1
    _count(change.connection, -count)
    return count


def _count(connection: Connection, more: int) -> None:
    schema.put_meta(connection, 'count', schema.get_meta(connection, 'count') + more)


def _put_attributes(connection: Connection, entry_id: int, metadata_text: str) -> None:
    if metadata_text != '{}':
        rows = [(entry_id, *row) for row in attributes_of(metadata_text)]
        connection.executemany('INSERT INTO attributes VALUES (?, ?, ?, ?)', rows)


def _correction_row(correction: Correction) -> tuple[Any, ...]:
    box = schema.box_text(correction.box)
    return correction.sha256, box, correction.identity, int(correction.correct), correction.made
