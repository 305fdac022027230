"""The layout of ``gallery.sqlite``, format 2, and what guards its rows.

Entries carry a digest of all that they say, so that damage is an error and never a wrong name. Every change
has a number and a random state id; the table ``states`` remembers both, so that an index that was saved, or
a change that was acknowledged, can be told to belong to this database and to no other.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Sequence
from typing import Any

import numpy as np

from mbv1_backbone.retrieval.records import Entry

__all__ = [
    'COLUMNS',
    'ENTRIES',
    'FORMAT',
    'META',
    'SCHEMA',
    'box_of',
    'box_text',
    'checksum',
    'entry_of',
    'get_meta',
    'next_change',
    'put_meta',
    'row_of',
    'tables',
]

FORMAT = 2
ENTRIES = (
    'CREATE TABLE entries (id INTEGER PRIMARY KEY AUTOINCREMENT, identity TEXT NOT NULL, file TEXT NOT NULL, '
    "sha256 TEXT NOT NULL, box TEXT NOT NULL DEFAULT '', landmarks TEXT, detector_score REAL, quality REAL, "
    'added REAL NOT NULL, metadata TEXT NOT NULL, vector BLOB NOT NULL, change INTEGER NOT NULL, '
    'digest BLOB NOT NULL, UNIQUE (sha256, box))'
)
_PEOPLE_ADD = (
    'INSERT INTO people VALUES (new.identity, 1) ON CONFLICT (identity) DO UPDATE SET entries = entries + 1; '
)
_PEOPLE_REMOVE = (
    'UPDATE people SET entries = entries - 1 WHERE identity = old.identity; '
    'DELETE FROM people WHERE identity = old.identity AND entries = 0; '
)
META = 'CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, digest BLOB NOT NULL) WITHOUT ROWID'
SCHEMA = (
    META,
    ENTRIES,
    'CREATE INDEX by_identity ON entries (identity)',
    'CREATE INDEX by_file ON entries (file)',
    'CREATE INDEX by_change ON entries (change)',
    'CREATE TABLE removals (id INTEGER PRIMARY KEY, change INTEGER NOT NULL)',
    'CREATE INDEX removals_by_change ON removals (change)',
    'CREATE TABLE states (change INTEGER PRIMARY KEY, state TEXT NOT NULL)',
    'CREATE TABLE people (identity TEXT PRIMARY KEY, entries INTEGER NOT NULL) WITHOUT ROWID',
    'CREATE TABLE attributes (entry INTEGER NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL, '
    'value NOT NULL, PRIMARY KEY (entry, key)) WITHOUT ROWID',
    'CREATE INDEX attributes_by_value ON attributes (key, kind, value)',
    'CREATE TABLE corrections (sha256 TEXT NOT NULL, box TEXT NOT NULL, identity TEXT NOT NULL, '
    'correct INTEGER NOT NULL, made REAL NOT NULL, PRIMARY KEY (sha256, box, identity)) WITHOUT ROWID',
    f'CREATE TRIGGER entry_added AFTER INSERT ON entries BEGIN {_PEOPLE_ADD}END',
    f'CREATE TRIGGER entry_removed AFTER DELETE ON entries BEGIN {_PEOPLE_REMOVE}'
    'DELETE FROM attributes WHERE entry = old.id; END',
    'CREATE TRIGGER entry_renamed AFTER UPDATE OF identity ON entries WHEN new.identity <> old.identity '
    f'BEGIN {_PEOPLE_REMOVE}{_PEOPLE_ADD}END',
)
COLUMNS = (
    'id, identity, file, sha256, box, landmarks, detector_score, quality, added, metadata, vector, change, '
    'digest'
)


def tables(connection: sqlite3.Connection) -> set[str]:
    """The statements that made what is in a database."""
    found = {sql for (sql,) in connection.execute('SELECT sql FROM sqlite_master WHERE sql NOT NULL')}
    found.discard('CREATE TABLE sqlite_sequence(name,seq)')
    return found


def get_meta(connection: sqlite3.Connection, key: str) -> Any:
    """A value that belongs to the whole gallery.

    Raises:
        sqlite3.DatabaseError: If it is damaged or missing.
    """
    row = connection.execute('SELECT value, digest FROM meta WHERE key = ?', (key,)).fetchone()
    value, digest = row or (None, None)
    if not isinstance(value, str) or digest != checksum(f'{key} {value}'.encode()):
        raise sqlite3.DatabaseError(f'{key} is damaged')
    return json.loads(value)


def put_meta(connection: sqlite3.Connection, key: str, value: Any) -> None:
    """Set such a value.

    Args:
        connection: Within a transaction.
        key: Its name.
        value: What JSON can hold.
    """
    text = json.dumps(value)
    digest = checksum(f'{key} {text}'.encode())
    connection.execute('INSERT OR REPLACE INTO meta VALUES (?, ?, ?)', (key, text, digest))


def next_change(connection: sqlite3.Connection) -> int:
    """Number of a new change, with a state id of its own."""
    change = int(get_meta(connection, 'change')) + 1
    state = secrets.token_hex(8)
    put_meta(connection, 'change', change)
    put_meta(connection, 'state', state)
    connection.execute('INSERT INTO states VALUES (?, ?)', (change, state))
    return change


def checksum(content: bytes) -> bytes:
    """BLAKE2b of 16 bytes."""
    return hashlib.blake2b(content, digest_size=16).digest()


def box_text(box: Sequence[int] | None) -> str:
    """A face box as it is stored: ``'x0 y0 x1 y1'``, empty for a picture that is a face."""
    return '' if box is None else ' '.join(map(str, box))


def box_of(text: str) -> tuple[int, int, int, int] | None:
    """The box that ``box_text`` wrote."""
    return tuple(map(int, text.split())) if text else None  # type: ignore[return-value]


def row_of(entry: Entry, metadata: str, vector: np.ndarray, change: int) -> tuple[Any, ...]:
    """An entry as its row, in the order of ``COLUMNS``.

    Args:
        entry: The entry.
        metadata: Its metadata as JSON.
        vector: float32 (dim,).
        change: Number of the change that writes it.
    """
    landmarks = None if entry.landmarks is None else json.dumps(entry.landmarks)
    plain = (
        entry.id,
        entry.identity,
        entry.file,
        entry.sha256,
        box_text(entry.box),
        landmarks,
        entry.detector_score,
        entry.quality,
        entry.added,
        metadata,
    )
    blob = np.ascontiguousarray(vector, '<f4').tobytes()
    return (*plain, blob, change, _digest(plain, blob, change))


def entry_of(row: Sequence[Any], dim: int) -> tuple[Entry, np.ndarray] | None:
    """The entry and its vector (dim,) of a row; None where the row is damaged."""
    *plain, blob, change, digest = row
    try:
        if digest != _digest(plain, blob, change) or len(blob) != 4 * dim:
            return None
        entry_id, identity, file, sha256, box, landmarks, score, quality, added, metadata = plain
        points = None if landmarks is None else tuple(map(tuple, json.loads(landmarks)))
        entry = Entry(
            entry_id, identity, file, sha256, added, json.loads(metadata), box_of(box), points, score, quality
        )
        return entry, np.frombuffer(blob, '<f4')
    except (TypeError, ValueError, AttributeError):
        return None


def _digest(plain: Sequence[Any], blob: bytes, change: int) -> bytes:
    reals = [value.hex() if isinstance(value, float) else value for value in plain]
    return checksum(json.dumps([*reals, change]).encode() + blob)
