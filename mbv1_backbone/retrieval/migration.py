"""Galleries of format 1 become format 2, in one transaction: a kill leaves the one or the other."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import DamagedFileError
from mbv1_backbone.retrieval import schema
from mbv1_backbone.retrieval.conditions import attributes_of
from mbv1_backbone.retrieval.connections import Connections, GalleryReadOnly
from mbv1_backbone.retrieval.lock import writer_lock
from mbv1_backbone.retrieval.records import Entry

__all__ = ['SCHEMA_1', 'migrate']

SCHEMA_1 = (
    schema.META,
    'CREATE TABLE entries (id INTEGER PRIMARY KEY AUTOINCREMENT, identity TEXT NOT NULL, file TEXT NOT NULL, '
    'sha256 TEXT NOT NULL UNIQUE, added REAL NOT NULL, metadata TEXT NOT NULL, vector BLOB NOT NULL, '
    'change INTEGER NOT NULL, digest BLOB NOT NULL)',
    'CREATE INDEX by_identity ON entries (identity)',
    'CREATE INDEX by_file ON entries (file)',
    'CREATE INDEX by_change ON entries (change)',
    'CREATE TABLE removals (id INTEGER PRIMARY KEY, change INTEGER NOT NULL)',
    'CREATE INDEX removals_by_change ON removals (change)',
)
_KEPT = {schema.META, *(sql for sql in SCHEMA_1 if 'removals' in sql)}


def migrate(path: Path, read_only: bool, timeout: float) -> None:
    """Bring a database to the format of this version; one that is of it already is left alone.

    Every entry keeps its id, its change and all that it says. Versions that know format 1 only refuse the
    gallery afterwards.

    Args:
        path: The database.
        read_only: Whether it must not be changed.
        timeout: Seconds to wait for others that hold it.

    Raises:
        DamagedFileError: If an entry is damaged; the database stays as it was.
        GalleryReadOnly: If it would have to be changed but cannot.
    """
    connections = Connections(path, read_only)
    try:
        with connections.reading() as connection:
            if schema.tables(connection) != set(SCHEMA_1):
                return
        if read_only:
            raise GalleryReadOnly(
                f'{path}: format 1: open it once where it can be written, so that it is moved'
            )
        with writer_lock(path.parent, 'migrate', timeout):
            with connections.writing() as connection:
                if schema.tables(connection) == set(SCHEMA_1):  # nobody else has done it meanwhile
                    _migrate(path, connection)
            with connections.alone() as connection:
                connection.execute('VACUUM')
    finally:
        connections.close()


def _migrate(path: Path, connection: sqlite3.Connection) -> None:
    last = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'entries'").fetchone()
    for name in ('by_identity', 'by_file', 'by_change'):
        connection.execute(f'DROP INDEX {name}')
    connection.execute('ALTER TABLE entries RENAME TO entries_1')
    for statement in schema.SCHEMA:
        if statement not in _KEPT:
            connection.execute(statement)
    dim, count = schema.get_meta(connection, 'dim'), 0
    marks = ', '.join('?' * 13)
    for row in connection.execute(
        'SELECT id, identity, file, sha256, added, metadata, vector, change, digest FROM entries_1 '
        'ORDER BY id'
    ):
        entry, vector = _entry_1(path, row, dim)
        metadata, change = row[5], row[7]
        new = schema.row_of(entry, metadata, vector, change)
        connection.execute(f'INSERT INTO entries ({schema.COLUMNS}) VALUES ({marks})', new)
        attributes = [(entry.id, *attribute) for attribute in attributes_of(metadata)]
        connection.executemany('INSERT INTO attributes VALUES (?, ?, ?, ?)', attributes)
        count += 1
    if count != schema.get_meta(connection, 'count'):
        raise DamagedFileError(f'{path}: damaged: {count} entries are there, not as many as were added')
    connection.execute('DROP TABLE entries_1')
    if last is not None:
        connection.execute("DELETE FROM sqlite_sequence WHERE name = 'entries'")
        connection.execute("INSERT INTO sqlite_sequence VALUES ('entries', ?)", last)
    schema.put_meta(connection, 'format', schema.FORMAT)
    schema.next_change(connection)


def _entry_1(path: Path, row: Sequence[Any], dim: int) -> tuple[Entry, np.ndarray]:
    """An entry and its vector as format 1 has them."""
    entry_id, identity, file, sha256, added, metadata, blob, _, digest = row
    try:
        text = json.dumps([entry_id, identity, file, sha256, float(added).hex(), metadata])
        found = hashlib.blake2b(text.encode() + blob, digest_size=16).digest()
        if found != digest or len(blob) != 4 * dim:
            raise ValueError
        entry = Entry(entry_id, identity, file, sha256, added, json.loads(metadata))
    except (TypeError, ValueError) as error:
        raise DamagedFileError(f'{path}: entry {row[0]} is damaged; it stays in format 1') from error
    return entry, np.frombuffer(blob, '<f4')
