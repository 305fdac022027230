"""The source of truth, read: entries and vectors in one SQLite file."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mbv1_backbone.common.errors import DamagedFileError, InputError
from mbv1_backbone.retrieval import schema
from mbv1_backbone.retrieval.checks import check_id, check_names, check_text
from mbv1_backbone.retrieval.conditions import KINDS, Where, check_conditions, sql_of
from mbv1_backbone.retrieval.connections import DAMAGED_PAGE, Connections
from mbv1_backbone.retrieval.records import Entry

__all__ = ['Delta', 'Stamp', 'Store']

_PAGE = 500  # entries that are read at once
_STAMP = ('change', 'state', 'count', 'calibration')  # of meta
_PARTS = 500  # values in one SQL statement
_SINCE = (  # ordered by id alone, SQLite would look through all entries
    f'SELECT {schema.COLUMNS} FROM entries WHERE id IN '
    '(SELECT id FROM entries INDEXED BY by_change WHERE change > ?) ORDER BY id'
)


class Stamp(NamedTuple):
    """What a search must know of the state of the database: read once for every state."""

    change: int
    state: str
    entries: int
    calibration: Mapping[str, Any] | None


class Delta(NamedTuple):
    """What happened since a change.

    ``entries`` were added or changed, with their vectors (N, dimension); ``removed`` are ids; ``stamp`` is
    the state after it.
    """

    stamp: Stamp
    entries: Sequence[Entry]
    vectors: np.ndarray
    removed: np.ndarray


class Store:
    """A gallery's SQLite file, to read; ``writes`` changes it."""

    def __init__(self, path: Path, read_only: bool = False) -> None:
        self.path = path
        self.connections = Connections(path, read_only)
        self._dim: int | None = None
        self._seen = threading.local()

    @classmethod
    def create(cls, path: Path, meta: Mapping[str, Any]) -> Store:
        """Make the file with its tables; ``meta`` holds what belongs to the whole, as JSON values."""
        store = cls(path)
        with store.connections.writing() as connection:
            for statement in schema.SCHEMA:
                connection.execute(statement)
            for key, value in dict(meta, format=schema.FORMAT, change=0, forgotten=0, count=0).items():
                schema.put_meta(connection, key, value)
            schema.next_change(connection)
        return store

    @property
    def dim(self) -> int:
        """Values in a vector."""
        if self._dim is None:
            self._dim = int(self.meta('dim'))
        return self._dim

    def close(self) -> None:
        """Close every thread's connection."""
        self.connections.close()

    def reading(self) -> Any:
        """One state of the file for this thread, whatever is written meanwhile. May be nested."""
        return self.connections.reading()

    # --- the whole

    def meta(self, key: str) -> Any:
        """A value that belongs to the whole gallery."""
        with self.reading() as connection:
            return schema.get_meta(connection, key)

    def stamp(self) -> Stamp:
        """The state that this thread sees; read anew only when the database has changed."""
        if self.connections.in_transaction():
            return self._read_stamp()
        version = self.connections.version()
        if getattr(self._seen, 'version', None) != version:
            with self.reading():
                stamp = self._read_stamp()
            self._seen.version, self._seen.stamp = version, stamp
        return self._seen.stamp

    def _read_stamp(self) -> Stamp:
        with self.reading() as connection:
            return Stamp(*(schema.get_meta(connection, key) for key in _STAMP))

    def has_state(self, change: int, state: str) -> bool:
        """Whether this database, and no other, has once been in a state."""
        with self.reading() as connection:
            row = connection.execute('SELECT state FROM states WHERE change = ?', (change,)).fetchone()
        return row is not None and row[0] == state

    def count(self) -> int:
        """Number of entries, as the changes have counted them."""
        return self.stamp().entries

    # --- entries

    def identities(self) -> dict[str, int]:
        """Number of entries of each identity, in the order of their names."""
        with self.reading() as connection:
            return dict(connection.execute('SELECT identity, entries FROM people ORDER BY identity'))

    def people(self) -> int:
        """Number of identities."""
        with self.reading() as connection:
            return int(connection.execute('SELECT count(*) FROM people').fetchone()[0])

    def images_of(self, identities: Iterable[str]) -> dict[str, int]:
        """Number of entries of those identities that are there."""
        with self.reading() as connection:
            return dict(
                connection.execute(
                    'SELECT identity, entries FROM people WHERE identity IN (SELECT value FROM json_each(?))',
                    (json.dumps(list(identities)),),
                )
            )

    def kinds_of(self, key: str) -> set[str]:
        """Of which kinds the values of a metadata key are."""
        kind = 'SELECT 1 FROM attributes WHERE key = ? AND kind = ? LIMIT 1'
        with self.reading() as connection:
            return {name for name in KINDS if connection.execute(kind, (key, name)).fetchone()}

    def faces(self, hashes: Sequence[str]) -> dict[str, list[Entry]]:
        """Entries of image files, by SHA-256; files that are not there are left out."""
        found: dict[str, list[Entry]] = {}
        with self.reading() as connection:
            for start in range(0, len(hashes), _PARTS):
                part = list(hashes[start : start + _PARTS])
                marks = ', '.join('?' * len(part))
                sql = f'SELECT {schema.COLUMNS} FROM entries WHERE sha256 IN ({marks}) ORDER BY id'
                for entry, _ in map(self.checked, connection.execute(sql, part)):
                    found.setdefault(entry.sha256, []).append(entry)
        return found

    def beside(self, ids: Sequence[int], identity: str) -> tuple[int, int] | None:
        """Two faces of one photograph that would get one name, and have two: ids of the first such ones.

        A face without a box is the whole photograph, and beside nobody.

        Args:
            ids: Of entries that would get the name.
            identity: The name.
        """
        with self.reading() as connection:
            return connection.execute(
                'WITH chosen AS (SELECT value AS id FROM json_each(:ids)) SELECT one.id, other.id '
                'FROM chosen JOIN entries AS one USING (id) '
                'JOIN entries AS other ON other.sha256 = one.sha256 '
                "WHERE other.identity <> one.identity AND one.box <> '' AND other.box <> '' "
                'AND (other.identity = :name OR other.id IN chosen) ORDER BY one.id, other.id LIMIT 1',
                dict(ids=json.dumps(list(ids)), name=identity),
            ).fetchone()

    def entry(self, entry_id: int) -> tuple[Entry, np.ndarray]:
        """An entry and its vector.

        Raises:
            InputError: If there is none of that id, or it is damaged.
        """
        number = check_id(entry_id)
        with self.reading() as connection:
            row = connection.execute(
                f'SELECT {schema.COLUMNS} FROM entries WHERE id = ?', (number,)
            ).fetchone()
        if row is None:
            raise InputError(f'{self.path.parent}: no entry {entry_id}')
        return self.checked(row)

    def vectors(self, ids: np.ndarray) -> np.ndarray:
        """Vectors (N, dimension) of entries, whose ids ascend.

        Raises:
            DamagedFileError: If one of them is not there.
        """
        found: np.ndarray = np.empty((len(ids), self.dim), np.float32)
        seen = 0
        with self.reading():
            for _, vector in self.some(ids):
                found[seen] = vector
                seen += 1
        if seen != len(ids):
            raise DamagedFileError(f'{self.path}: damaged: {seen} of {len(ids)} entries are there')
        return found

    def select(
        self,
        identity: str | Sequence[str] | None = None,
        file: str | None = None,
        metadata: Where | None = None,
    ) -> Iterator[tuple[Entry, np.ndarray]]:
        """Entries with their vectors, by id: of those identities, that file, with those metadata values.

        They are read some hundred at a time, so the gallery may be changed meanwhile: an entry comes as it
        is when it is read. Within a snapshot all are of one state.

        Args:
            identity: Names of people, one or several; None for all.
            file: Where the image came from; None for all.
            metadata: Conditions; None for none.
        """
        conditions = check_conditions(metadata)
        if identity is None and file is None and not conditions:
            return self._all()
        return self.some(self.select_ids(identity, file, conditions))

    def _all(self) -> Iterator[tuple[Entry, np.ndarray]]:
        last = -(2**63)
        while True:
            with self.reading() as connection:
                rows = connection.execute(
                    f'SELECT {schema.COLUMNS} FROM entries WHERE id > ? ORDER BY id LIMIT {_PAGE}', (last,)
                ).fetchall()
            yield from map(self.checked, rows)
            if len(rows) < _PAGE:
                return
            last = rows[-1][0]

    def some(self, ids: np.ndarray) -> Iterator[tuple[Entry, np.ndarray]]:
        """Entries of some ascending ids with their vectors; those that are not there are left out."""
        pages = (ids[start : start + _PAGE] for start in range(0, len(ids), _PAGE))
        return (pair for page in pages for pair in self._some(page))

    def _some(self, ids: np.ndarray) -> list[tuple[Entry, np.ndarray]]:
        """Entries of some ids, by id; those that are not there are left out."""
        sql = f'SELECT {schema.COLUMNS} FROM entries WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id'
        with self.reading() as connection:
            return [self.checked(row) for row in connection.execute(sql, (json.dumps(ids.tolist()),))]

    def select_ids(
        self,
        identity: str | Sequence[str] | None = None,
        file: str | None = None,
        metadata: Where | None = None,
    ) -> np.ndarray:
        """Ids of the same, ascending.

        Args:
            identity: Names of people, one or several; None for all.
            file: Where the image came from; None for all.
            metadata: Conditions; None for none.

        Raises:
            DamagedFileError: If fewer entries of the identities are found than are counted.
        """
        if identity is not None:
            identity = check_names(identity)  # read once: it may be an iterator
        where, values = _where(identity, file, metadata)
        with self.reading() as connection:
            rows = connection.execute(f'SELECT id FROM entries WHERE 1{where} ORDER BY id', values)
            ids = np.fromiter((row[0] for row in rows), np.int64)
            if identity is not None and file is None and not metadata:
                counted = sum(self.images_of(set(identity)).values())
                if counted != len(ids):
                    raise DamagedFileError(
                        f'{self.path}: damaged: {len(ids)} entries of {counted} are found by identity; '
                        + DAMAGED_PAGE
                    )
        return ids

    def since(self, change: int, state: str) -> Delta | None:
        """What happened after a change; None where that can no longer be told, or it was another database's.

        Raises:
            DamagedFileError: If an entry is damaged.
        """
        with self.reading() as connection:
            stamp = self.stamp()
            if change < int(self.meta('forgotten')) or not self.has_state(change, state):
                return None
            rows = connection.execute(_SINCE, (change,)).fetchall()
            removed = connection.execute('SELECT id FROM removals WHERE change > ?', (change,)).fetchall()
        checked = [self.checked(row) for row in rows]
        return Delta(
            stamp=stamp,
            entries=[entry for entry, _ in checked],
            vectors=np.array([vector for _, vector in checked], np.float32).reshape(-1, self.dim),
            removed=np.array([row[0] for row in removed], dtype=np.int64),
        )

    def checked(self, row: Sequence[Any]) -> tuple[Entry, np.ndarray]:
        """The entry and the vector of a row.

        Raises:
            DamagedFileError: If it is not as it was written.
        """
        found = schema.entry_of(row, self.dim)
        if found is None:
            raise DamagedFileError(f'{self.path}: entry {row[0]} is damaged')
        return found


def _where(
    identity: str | Sequence[str] | None, file: str | None, metadata: Where | None
) -> tuple[str, list[Any]]:
    clauses: list[str] = []
    values: list[Any] = []
    if identity is not None:
        clauses.append('identity IN (SELECT value FROM json_each(?))')
        values.append(json.dumps(check_names(identity)))
    if file is not None:
        clauses.append('file = ?')
        values.append(check_text(file, 'file'))
    more, more_values = sql_of(check_conditions(metadata))
    return ''.join(f' AND {clause}' for clause in [*clauses, *more]), values + more_values
