"""SQLite connections to one database: a reader for every thread, one writer, and all closed at once."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mbv1_backbone.common.errors import DamagedFileError, InputError, LockedError, NoSpaceError

__all__ = ['DAMAGED_PAGE', 'Connections', 'GalleryReadOnly']

DAMAGED_PAGE = (
    'repair makes the indexes anew where all entries can be read; where they cannot, restore a backup, '
    'or repair --out-dir saves those that can'
)

_WAIT = 30  # seconds for another process's lock within SQLite
_WRITE_CACHE = 65536  # KiB: hashes lie anywhere in their index, whose pages are to be written once a change
_KINDS = {'SQLITE_FULL': NoSpaceError, 'SQLITE_IOERR_WRITE': NoSpaceError, 'SQLITE_BUSY': LockedError}
_PAGES = ('SQLITE_CORRUPT', 'SQLITE_CORRUPT_INDEX')
_PRAGMAS = ('trusted_schema=OFF', 'cell_size_check=ON', 'mmap_size=0')


class GalleryReadOnly(InputError):
    """A gallery that was to be changed is open for reading only, or was to be used and is closed."""


class _Reader:
    """A thread's connection, which is closed when the thread has ended and nothing reads by it any more.

    SQLite ends the process where a connection is closed while another thread is within it.
    """

    def __init__(self, connection: sqlite3.Connection, number: int) -> None:
        self.connection = connection
        self.number = number  # no other one's
        self._lock = threading.Lock()
        self._uses = 0
        self._ended = False
        self._close = weakref.finalize(self, connection.close)
        self._close.atexit = False

    @contextmanager
    def used(self) -> Iterator[sqlite3.Connection]:
        """The connection, open for as long as it is used."""
        with self._lock:
            if self._ended:
                raise sqlite3.ProgrammingError('the connection is closed')
            self._uses += 1
        try:
            yield self.connection
        finally:
            with self._lock:
                self._uses -= 1
                last = self._ended and not self._uses
            if last:
                self._close()

    def in_transaction(self) -> bool:
        """Whether one state of the database is read."""
        with self._lock:
            return not self._ended and self.connection.in_transaction

    def end(self) -> None:
        """Close the connection, or leave that to who uses it last."""
        with self._lock:
            self._ended = True
            idle = not self._uses
        if idle:
            self._close()


class Connections:
    """Connections to a database that threads share.

    A thread's own goes with it: threads of a service come and go, and each connection holds files and pages.

    Args:
        path: Of the database.
        read_only: Whether nothing is to be written, not even the files that SQLite keeps beside it.
    """

    def __init__(self, path: Path, read_only: bool = False) -> None:
        self.path = path
        self.read_only = read_only
        self.closed = False
        self._local = threading.local()
        self._readers: weakref.WeakSet[_Reader] = weakref.WeakSet()
        self._numbers = count()
        self._lock = threading.RLock()
        self._writer: sqlite3.Connection | None = None

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One state of the database, whatever is written meanwhile. May be nested."""
        reader = self._reader()  # held here, so that a generator may be read to its end in another thread
        if reader.in_transaction():  # whose own errors are told outside
            yield reader.connection
            return
        with self.errors(), reader.used() as connection:
            connection.execute('BEGIN')
            try:
                yield connection
            except (sqlite3.DatabaseError, DamagedFileError):
                self._check_unwritten()
                raise
            finally:
                if connection.in_transaction:
                    connection.execute('ROLLBACK')
        self._check_unwritten()

    def _check_unwritten(self) -> None:
        """Check that a file that SQLite was told nobody changes was not changed."""
        if self.read_only and self._local.immutable and self._local.seen[:2] != _stamp(self.path)[:2]:
            raise LockedError(f'{self.path}: it was written to while it was read; try again')

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """All of what is done inside, on disk when it ends, or nothing.

        Raises:
            GalleryReadOnly: If it was opened for reading only.
            NoSpaceError: If there is no room.
        """
        if self.read_only:
            raise GalleryReadOnly(f'{self.path.parent}: opened for reading only')
        with self._lock, self.errors():
            writer = self._write_connection()
            writer.execute('BEGIN IMMEDIATE')
            try:
                yield writer
                writer.execute('COMMIT')
            except BaseException:
                if writer.in_transaction:
                    writer.execute('ROLLBACK')
                raise

    @contextmanager
    def alone(self) -> Iterator[sqlite3.Connection]:
        """The writer, outside of a transaction: for VACUUM and REINDEX."""
        with self.writing():
            pass
        with self._lock, self.errors():
            assert self._writer is not None
            yield self._writer
            self._writer.execute('PRAGMA wal_checkpoint(TRUNCATE)')

    @contextmanager
    def latest(self) -> Iterator[sqlite3.Connection]:
        """What was written last, also where this thread reads an older state."""
        with self._lock, self.errors():
            yield self._write_connection()

    def checkpoint(self) -> bool:
        """Bring what was written from the write-ahead log into the file; whether there was something."""
        with self._lock, self.errors():
            if self._writer is None or self.closed or not _stamp(self.path)[2]:
                return False
            self._writer.execute('PRAGMA wal_checkpoint(PASSIVE)')
            return True

    @contextmanager
    def untied(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection, outside of a transaction of ours: for SQLite's own copy."""
        with self.errors(), self._reader().used() as connection:
            yield connection

    def check_open(self) -> None:
        """Refuse where all are closed.

        Raises:
            GalleryReadOnly: If they are.
        """
        if self.closed:
            raise GalleryReadOnly(f'{self.path.parent}: the gallery is closed')

    def _reader(self) -> _Reader:
        self.check_open()
        reader: _Reader | None = getattr(self._local, 'reader', None)
        idle = reader is not None and not reader.in_transaction()
        if self.read_only and idle and self._local.seen != _stamp(self.path):
            reader = None  # it may have been opened as a file that does not change
        if reader is None:
            with self.errors():
                reader = _Reader(self._opened(), next(self._numbers))
            with self._lock:
                self._readers.add(reader)
                if self.closed:
                    reader.end()
            self._local.reader = reader
        return reader

    def version(self) -> tuple[int, int]:
        """Numbers that are others once any other connection has changed the database, for this thread."""
        reader = self._reader()
        with self.errors(), reader.used() as connection:
            return int(connection.execute('PRAGMA data_version').fetchone()[0]), reader.number

    def in_transaction(self) -> bool:
        """Whether this thread reads one state of the database."""
        reader: _Reader | None = getattr(self._local, 'reader', None)
        return reader is not None and reader.in_transaction()

    def close(self) -> None:
        """Close every thread's connection once what it reads is read; none can be used afterwards."""
        with self._lock:
            self.closed = True
            for reader in list(self._readers):
                reader.end()
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def _write_connection(self) -> sqlite3.Connection:
        self.check_open()
        if self._writer is None:
            self._writer = self._opened()
            self._writer.execute(f'PRAGMA cache_size={-_WRITE_CACHE}')
        return self._writer

    def _opened(self) -> sqlite3.Connection:
        return self._connect_read_only() if self.read_only else self._connect()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_WAIT, isolation_level=None, check_same_thread=False)
        for pragma in ('journal_mode=WAL', 'synchronous=FULL', *_PRAGMAS):  # FULL: outlives a power cut
            connection.execute(f'PRAGMA {pragma}')
        return connection

    def _connect_read_only(self) -> sqlite3.Connection:
        seen = self._local.seen = _stamp(self.path)
        options: dict[str, Any] = dict(timeout=_WAIT, isolation_level=None, check_same_thread=False, uri=True)
        location = f'file:{quote(str(self.path.absolute()))}?mode=ro'
        self._local.immutable = not seen[2] and not os.path.exists(f'{self.path}-shm')  # nobody writes now
        if not self._local.immutable:
            connection = sqlite3.connect(location, **options)
            try:
                connection.execute('SELECT count(*) FROM sqlite_master').fetchone()
            except sqlite3.OperationalError:  # SQLite cannot make its shared memory here
                connection.close()
                if seen[2]:
                    raise GalleryReadOnly(
                        f'{self.path}: its last changes are in a write-ahead log, which cannot be read here '
                        'without write access; open it once where it can be written, or copy the folder'
                    ) from None
                self._local.immutable = True
        if self._local.immutable:  # SQLite then makes no files beside it
            connection = sqlite3.connect(f'{location}&immutable=1', **options)
        for pragma in ('query_only=ON', *_PRAGMAS):
            connection.execute(f'PRAGMA {pragma}')
        return connection

    @contextmanager
    def errors(self) -> Iterator[None]:
        """What SQLite raises, as errors of a gallery."""
        try:
            yield
        except sqlite3.ProgrammingError as error:
            if not self.closed:
                raise
            raise GalleryReadOnly(f'{self.path.parent}: the gallery is closed') from error
        except sqlite3.DatabaseError as error:
            if 'too many SQL variables' in str(error):
                raise InputError(
                    'conditions hold more values than SQLite takes at once: ask for them in parts'
                ) from error
            kind = _KINDS.get(_code(error), DamagedFileError)
            advice = f'; {DAMAGED_PAGE}' if _code(error) in _PAGES else ''
            raise kind(f'{self.path}: {error}{advice}') from error
        except UnicodeDecodeError as error:  # text in a damaged file
            raise DamagedFileError(f'{self.path}: damaged: {error}') from error


def _code(error: sqlite3.Error) -> str:
    return getattr(error, 'sqlite_errorname', '')


def _stamp(path: Path) -> tuple[int, int, int]:
    """Size and time of the database's file, and the size of its write-ahead log."""
    found = os.stat(path)
    try:
        log = os.stat(f'{path}-wal').st_size
    except OSError:
        log = 0
    return found.st_size, found.st_mtime_ns, log
