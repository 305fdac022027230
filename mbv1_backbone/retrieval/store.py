"""The source of truth: entries and vectors in one SQLite file.

Every change has a number, so that a reader can bring what it has in memory up to date: entries carry the
number of the change that added them, removed ones leave their id and the number of the change behind.
Entries carry a digest, so that damage is an error and never a wrong name.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval.records import MAX_METADATA, Entry

FORMAT = 1
_SCHEMA = (
    'CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, digest BLOB NOT NULL) WITHOUT ROWID',
    'CREATE TABLE entries (id INTEGER PRIMARY KEY AUTOINCREMENT, identity TEXT NOT NULL, file TEXT NOT NULL, '
    'sha256 TEXT NOT NULL UNIQUE, added REAL NOT NULL, metadata TEXT NOT NULL, vector BLOB NOT NULL, '
    'change INTEGER NOT NULL, digest BLOB NOT NULL)',
    'CREATE INDEX by_identity ON entries (identity)',
    'CREATE INDEX by_file ON entries (file)',
    'CREATE INDEX by_change ON entries (change)',
    'CREATE TABLE removals (id INTEGER PRIMARY KEY, change INTEGER NOT NULL)',
    'CREATE INDEX removals_by_change ON removals (change)',
)
_COLUMNS = 'id, identity, file, sha256, added, metadata, vector, digest'
_BATCH = 500  # values in one SQL statement


class NewEntry(NamedTuple):
    """An entry to be added, with its vector (dimension,) of length 1."""

    identity: str
    file: str
    sha256: str
    added: float
    metadata: Mapping[str, Any]
    vector: np.ndarray


class Delta(NamedTuple):
    """What happened since a change: added entries with their vectors (N, dimension), and removed ids.

    ``total`` is how many entries there are after it.
    """

    change: int
    total: int
    entries: Sequence[Entry]
    vectors: np.ndarray
    removed: np.ndarray


class Store:
    """A gallery's SQLite file. Each thread has a connection of its own."""

    def __init__(self, path: Path, dim: int | None = None) -> None:
        self.path = path
        self._local = threading.local()
        self._dim = dim

    @classmethod
    def create(cls, path: Path, meta: Mapping[str, Any]) -> Store:
        """Make the file with its tables; ``meta`` holds what belongs to the whole, as JSON values."""
        store = cls(path)
        with store.writing() as connection:
            for statement in _SCHEMA:
                connection.execute(statement)
            for key, value in dict(meta, format=FORMAT, change=0, forgotten=0, count=0).items():
                _set(connection, key, value)
        return store

    @property
    def dim(self) -> int:
        """Values in a vector."""
        if self._dim is None:
            self._dim = int(self.meta('dim'))
        return self._dim

    def check(self) -> None:
        """Check that the file is a gallery's, of a format that is known, with nothing else in it.

        Raises:
            InputError: If it is not.
        """
        with self.reading() as connection:
            found = {sql for (sql,) in connection.execute('SELECT sql FROM sqlite_master WHERE sql NOT NULL')}
            found.discard('CREATE TABLE sqlite_sequence(name,seq)')
            if found != set(_SCHEMA):
                raise InputError(f'{self.path}: not a gallery: its tables are not those of one')
        if self.meta('format') != FORMAT:
            raise InputError(f'{self.path}: format {self.meta("format")}, this version knows {FORMAT}')

    def close(self) -> None:
        """Close this thread's connection."""
        connection = getattr(self._local, 'connection', None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One state of the file, whatever is written meanwhile. May be nested."""
        connection = getattr(self._local, 'connection', None)
        if connection is not None and connection.in_transaction:  # whose own errors are told outside
            yield connection
            return
        with self._errors():
            connection = self._connection()
            connection.execute('BEGIN')
            try:
                yield connection
            finally:
                connection.execute('ROLLBACK')

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """All of what is done inside, on disk when it ends, or nothing."""
        with self._errors():
            connection = self._connection()
            connection.execute('BEGIN IMMEDIATE')
            try:
                yield connection
                connection.execute('COMMIT')
            except BaseException:
                if connection.in_transaction:
                    connection.execute('ROLLBACK')
                raise

    def _connection(self) -> sqlite3.Connection:
        connection = getattr(self._local, 'connection', None)
        if connection is None:
            connection = sqlite3.connect(self.path, timeout=30, isolation_level=None)
            for pragma in (
                'journal_mode=WAL',
                'synchronous=FULL',  # a change that was acknowledged outlives a power cut
                'trusted_schema=OFF',
                'cell_size_check=ON',
                'mmap_size=0',
            ):
                connection.execute(f'PRAGMA {pragma}')
            self._local.connection = connection
        return connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise InputError(f'{self.path}: {error}') from error
        except UnicodeDecodeError as error:  # text in a damaged file
            raise InputError(f'{self.path}: damaged: {error}') from error

    # --- meta

    def meta(self, key: str) -> Any:
        """A value that belongs to the whole gallery."""
        with self.reading() as connection:
            return _get(connection, key)

    def set_meta(self, key: str, value: Any) -> None:
        """Set such a value."""
        with self.writing() as connection:
            _set(connection, key, value)

    # --- writing

    def add(self, entries: Sequence[NewEntry]) -> list[int | None]:
        """Add entries in one change; None in place of the id where the same file is there already."""
        ids: list[int | None] = []
        with self.writing() as connection:
            change = _next_change(connection)
            there = self.known([entry.sha256 for entry in entries])
            last = connection.execute('SELECT max(seq) FROM sqlite_sequence').fetchone()[0] or 0
            rows: list[tuple[Any, ...]] = []
            for entry in entries:
                if entry.sha256 in there:
                    ids.append(None)
                    continue
                there.add(entry.sha256)
                plain, text = (last + len(rows) + 1, *entry[:4]), _json(entry.metadata)
                digest = _digest(*plain, text, entry.vector)
                rows.append((*plain, text, entry.vector.tobytes(), change, digest))
                ids.append(plain[0])
            connection.executemany(
                'INSERT INTO entries (id, identity, file, sha256, added, metadata, vector, change, digest) '
                'VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
                rows,
            )
            _set(connection, 'count', _get(connection, 'count') + len(rows))
        return ids

    def remove(self, ids: Iterable[int]) -> int:
        """Remove entries in one change; how many there were."""
        wanted = sorted(set(map(int, ids)))
        count = 0
        with self.writing() as connection:
            change = _next_change(connection)
            for entry_id in wanted:
                if connection.execute('DELETE FROM entries WHERE id = ?', (entry_id,)).rowcount:
                    connection.execute('INSERT INTO removals VALUES (?, ?)', (entry_id, change))
                    count += 1
            _set(connection, 'count', _get(connection, 'count') - count)
        return count

    def set_metadata(self, entry_id: int, metadata: Mapping[str, Any]) -> None:
        """Replace an entry's metadata.

        Raises:
            InputError: If there is no such entry.
        """
        text = _json(metadata)
        with self.writing() as connection:
            row = connection.execute(
                f'SELECT {_COLUMNS} FROM entries WHERE id = ?', (int(entry_id),)
            ).fetchone()
            if row is None:
                raise InputError(f'{self.path.parent}: no entry {entry_id}')
            entry, vector = self._entry(row)
            digest = _digest(entry.id, entry.identity, entry.file, entry.sha256, entry.added, text, vector)
            connection.execute(
                'UPDATE entries SET metadata = ?, digest = ? WHERE id = ?', (text, digest, entry.id)
            )

    def forget_removals(self) -> None:
        """Drop the ids of removed entries: readers that have not seen them go must start anew."""
        with self.writing() as connection:
            connection.execute('DELETE FROM removals')
            _set(connection, 'forgotten', _get(connection, 'change'))

    def vacuum(self) -> None:
        """Give the room of removed entries back to the disk."""
        with self._errors():
            self._connection().execute('VACUUM')
            self._connection().execute('PRAGMA wal_checkpoint(TRUNCATE)')

    # --- reading

    def count(self) -> int:
        """Number of entries, as the changes have counted them."""
        return int(self.meta('count'))

    def identities(self) -> dict[str, int]:
        """Number of entries of each identity, in the order of their names."""
        with self.reading() as connection:
            return dict(connection.execute('SELECT identity, count(*) FROM entries GROUP BY identity'))

    def known(self, hashes: Sequence[str]) -> set[str]:
        """Those of the hashes whose files are in the gallery."""
        with self.reading() as connection:
            return {
                row[0]
                for part in _parts(hashes)
                for row in connection.execute(
                    f'SELECT sha256 FROM entries WHERE sha256 IN ({_marks(part)})', part
                )
            }

    def entries(self, ids: Iterable[int]) -> dict[int, Entry]:
        """Entries by id.

        Raises:
            InputError: If one is damaged or missing.
        """
        wanted = list(dict.fromkeys(int(i) for i in ids))
        with self.reading() as connection:
            rows = [
                row
                for part in _parts(wanted)
                for row in connection.execute(
                    f'SELECT {_COLUMNS} FROM entries WHERE id IN ({_marks(part)})', part
                )
            ]
        found = {entry.id: entry for entry, _ in map(self._entry, rows)}
        if missing := [entry_id for entry_id in wanted if entry_id not in found]:
            raise InputError(f'{self.path.parent}: no entry {missing[0]}')
        return found

    def select(
        self,
        identity: str | Sequence[str] | None = None,
        file: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Iterator[tuple[Entry, np.ndarray]]:
        """Entries with their vectors, by id: of those identities, that file, with those metadata values."""
        where, values = _where(identity, file, metadata)
        with self.reading() as connection:
            for row in connection.execute(f'SELECT {_COLUMNS} FROM entries{where} ORDER BY id', values):
                yield self._entry(row)

    def select_ids(
        self,
        identity: str | Sequence[str] | None = None,
        file: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> np.ndarray:
        """Ids of the same, ascending."""
        where, values = _where(identity, file, metadata)
        with self.reading() as connection:
            rows = connection.execute(f'SELECT id FROM entries{where} ORDER BY id', values).fetchall()
        return np.array([row[0] for row in rows], dtype=np.int64)

    def change(self) -> int:
        """Number of the last change."""
        return int(self.meta('change'))

    def removed(self) -> list[int]:
        """Ids of removed entries that were not forgotten."""
        with self.reading() as connection:
            return [row[0] for row in connection.execute('SELECT id FROM removals')]

    def since(self, change: int) -> Delta | None:
        """What happened after a change; None where that can no longer be told.

        Raises:
            InputError: If an entry is damaged.
        """
        with self.reading() as connection:
            now, total = self.change(), self.count()
            if change < int(self.meta('forgotten')) or change > now:
                return None
            rows = connection.execute(
                f'SELECT {_COLUMNS} FROM entries WHERE change > ? ORDER BY change, id', (change,)
            ).fetchall()
            removed = connection.execute('SELECT id FROM removals WHERE change > ?', (change,)).fetchall()
        checked = [self._entry(row) for row in rows]
        vectors = np.array([vector for _, vector in checked], dtype=np.float32).reshape(-1, self.dim)
        return Delta(
            change=now,
            total=total,
            entries=[entry for entry, _ in checked],
            vectors=vectors,
            removed=np.array([row[0] for row in removed], dtype=np.int64),
        )

    def _entry(self, row: Sequence[Any]) -> tuple[Entry, np.ndarray]:
        entry_id, identity, file, sha256, added, text, blob, digest = row
        plain = (entry_id, identity, file, sha256, added)
        try:
            vector = np.frombuffer(blob, dtype='<f4')
            whole = digest == _digest(*plain, text, vector) and len(vector) == self.dim
            metadata = json.loads(text) if whole else {}
        except (TypeError, ValueError, AttributeError):
            whole = False
        if not whole:
            raise InputError(f'{self.path}: entry {row[0]} is damaged')
        return Entry(*plain, metadata=metadata), vector


def _next_change(connection: sqlite3.Connection) -> int:
    change = int(_get(connection, 'change')) + 1
    _set(connection, 'change', change)
    return change


def _get(connection: sqlite3.Connection, key: str) -> Any:
    row = connection.execute('SELECT value, digest FROM meta WHERE key = ?', (key,)).fetchone()
    value, digest = row or (None, None)
    if not isinstance(value, str) or digest != _hash(f'{key} {value}'.encode()):
        raise sqlite3.DatabaseError(f'{key} is damaged')
    return json.loads(value)


def _set(connection: sqlite3.Connection, key: str, value: Any) -> None:
    text = json.dumps(value)
    digest = _hash(f'{key} {text}'.encode())
    connection.execute('INSERT OR REPLACE INTO meta VALUES (?, ?, ?)', (key, text, digest))


def _hash(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _digest(
    entry_id: int, identity: str, file: str, sha256: str, added: float, metadata: str, vector: np.ndarray
) -> bytes:
    text = json.dumps([entry_id, identity, file, sha256, float(added).hex(), metadata])
    return _hash(text.encode() + vector.tobytes())


def _json(metadata: Mapping[str, Any]) -> str:
    """Metadata as it is stored.

    Raises:
        InputError: If it is not what JSON can hold, or too much.
    """
    try:
        text = json.dumps(dict(metadata), ensure_ascii=False, sort_keys=True, allow_nan=False)
        text.encode()
    except (TypeError, ValueError) as error:
        raise InputError(f'metadata must be what JSON can hold, got {metadata!r:.60}: {error}') from error
    if len(text) > MAX_METADATA:
        raise InputError(f'metadata must be at most {MAX_METADATA} characters as JSON, got {len(text)}')
    return text


def _parts(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), _BATCH):
        yield values[start : start + _BATCH]


def _marks(values: Sequence[Any]) -> str:
    return ', '.join('?' * len(values))


def _where(
    identity: str | Sequence[str] | None, file: str | None, metadata: Mapping[str, Any] | None
) -> tuple[str, list[Any]]:
    conditions, values = [], []
    if identity is not None:
        names = [identity] if isinstance(identity, str) else list(identity)
        conditions.append(f'identity IN ({_marks(names)})')
        values += names
    if file is not None:
        conditions.append('file = ?')
        values.append(file)
    for key, value in (metadata or {}).items():
        conditions.append('json_extract(metadata, ?) IS json_extract(?, ?)')
        values += ['$.' + json.dumps(str(key)), json.dumps([value]), '$[0]']
    return (' WHERE ' + ' AND '.join(conditions) if conditions else ''), values
