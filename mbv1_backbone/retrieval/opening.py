"""Opening and making a gallery: what is trusted, what is checked, what is refused."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mbv1_backbone.common.errors import (
    DamagedFileError,
    InputError,
    LockedError,
    Mbv1Error,
    NoSpaceError,
    is_full,
)
from mbv1_backbone.retrieval import integrity
from mbv1_backbone.retrieval.acknowledged import read_acknowledged, write_acknowledged
from mbv1_backbone.retrieval.checks import check_count, check_text
from mbv1_backbone.retrieval.connections import GalleryReadOnly
from mbv1_backbone.retrieval.factories import choose_factory, make_index
from mbv1_backbone.retrieval.live import LiveIndex
from mbv1_backbone.retrieval.lock import writer_lock
from mbv1_backbone.retrieval.migration import migrate
from mbv1_backbone.retrieval.provenance import KEY as MADE_WITH, check_made_with
from mbv1_backbone.retrieval.saved import SavedIndex
from mbv1_backbone.retrieval.schema import get_meta
from mbv1_backbone.retrieval.store import Store

__all__ = ['STORE', 'TIED_TO', 'OpenGallery', 'create_files', 'discard']

STORE = 'gallery.sqlite'
_GLANCE = 0.2  # seconds to wait for a writer before looking again
TIED_TO = ('model', 'preprocessing', 'dim', 'metric')


class OpenGallery:
    """A gallery's open files; searching, writing and upkeep build on it.

    Attributes:
        folder: Where it lies.
        timeout: Seconds to wait for another writer.
        read_only: Whether it can only be searched and read.
    """

    def __init__(
        self, folder: str | os.PathLike[str], timeout: float = 10.0, read_only: bool | None = None
    ) -> None:
        """Open a gallery. One of an older format is moved to the present one.

        Args:
            folder: Where it lies.
            timeout: Seconds to wait for another writer.
            read_only: Whether to write nothing at all; by default so where nothing can be written.

        Raises:
            InputError: If there is none, it is damaged, or a change that was acknowledged is missing.
        """
        self.folder = Path(folder)
        self.timeout = timeout
        path = self.folder / STORE
        if not path.is_file():
            raise InputError(f'{self.folder}: not a gallery, it has no {STORE}')
        writable = os.access(self.folder, os.W_OK) and os.access(path, os.W_OK)
        self.read_only = not writable if read_only is None else read_only
        migrate(path, self.read_only, timeout)
        self._file = _file_of(path)
        self._store = Store(path, self.read_only)
        try:
            integrity.check_tables(self._store)
            self._trust()
            self._tied = {key: self._store.meta(key) for key in TIED_TO}
            self._live = LiveIndex(self._store, SavedIndex(self.folder, self._tied))
            self._live.saved.manifest()
        except BaseException:
            self._store.close()
            raise
        self._bulk = 0

    def _trust(self) -> None:
        """Check the database as a whole where somebody else has written to it, and that no change is lost."""
        acknowledged = read_acknowledged(self.folder)
        if acknowledged is not None and acknowledged.fits(self._store.path):
            if not self._store.has_state(acknowledged.change, acknowledged.state):
                raise self._lost(acknowledged.change)
            return
        deadline = time.monotonic() + self.timeout
        while not self.read_only and time.monotonic() < deadline:
            try:
                with writer_lock(self.folder, 'open', _GLANCE):  # nobody is writing now
                    self._trust_as_it_is()
                    self._acknowledge()
                return
            except LockedError:  # who may acknowledge meanwhile
                acknowledged = read_acknowledged(self.folder)
                if acknowledged is not None and acknowledged.fits(self._store.path):
                    break
        self._trust_as_it_is()

    def _trust_as_it_is(self) -> None:
        acknowledged = read_acknowledged(self.folder)
        if acknowledged is not None:
            if not self._store.has_state(acknowledged.change, acknowledged.state):
                raise self._lost(acknowledged.change)
            if acknowledged.fits(self._store.path):
                return
        integrity.check_integrity(self._store)

    def _lost(self, change: int) -> DamagedFileError:
        return DamagedFileError(
            f'{self._store.path}: change {change} was acknowledged, but this database has not seen it: its '
            'write-ahead log was lost, or another database was put in its place; repair takes it as it is'
        )

    def _check_place(self) -> None:
        """Check that the file is still the database that was opened. The caller holds the writer lock.

        Raises:
            DamagedFileError: If another was put in its place, or it has not seen what was acknowledged.
        """
        path = self._store.path
        try:
            if _file_of(path) != self._file:
                raise DamagedFileError(
                    f'{path}: another database was put in its place while it was open: nothing is written; '
                    'open the gallery anew'
                )
            acknowledged = read_acknowledged(self.folder)
            if acknowledged is None or acknowledged.fits(path):
                return
        except FileNotFoundError as error:
            raise DamagedFileError(
                f'{path}: has been removed while it was open: nothing is written'
            ) from error
        there = Store(path)  # with no pages in memory of what was there before
        try:
            if not there.has_state(acknowledged.change, acknowledged.state):
                raise self._lost(acknowledged.change)
        finally:
            there.close()

    def _acknowledge(self) -> None:
        """Keep the present state outside of the database. The caller holds the writer lock."""
        with self._store.connections.latest() as connection:
            change, state = (get_meta(connection, key) for key in ('change', 'state'))
        try:
            write_acknowledged(self.folder, change, state, self._store.path)
        except FileNotFoundError as error:
            raise DamagedFileError(
                f'{self.folder}: has been removed or replaced while it was open: the change is lost: {error}'
            ) from error
        except OSError as error:
            raise NoSpaceError(
                f'{self.folder}: the change is stored, but not acknowledged: {error}'
            ) from error

    @contextmanager
    def _writing(self, operation: str) -> Iterator[None]:
        """Hold the writer lock.

        Raises:
            GalleryReadOnly: If the gallery is open for reading only.
            LockedError: If another writer holds it.
        """
        if self.read_only:
            raise GalleryReadOnly(f'{self.folder}: opened for reading only: no {operation}')
        self._store.connections.check_open()
        with writer_lock(self.folder, operation, self.timeout):
            self._check_place()
            yield

    def _changed(self) -> str:
        """Acknowledge a change, and see to the index; what people should know. The lock is held."""
        self._acknowledge()
        return '' if self._bulk else self._live.maintain()

    def close(self) -> None:
        """Close the files for all threads; the gallery cannot be used afterwards."""
        if not self.read_only:
            with suppress(Mbv1Error, OSError), writer_lock(self.folder, 'close', _GLANCE):
                self._check_place()
                if self._store.connections.checkpoint():  # what SQLite would do now, unseen
                    self._acknowledge()
        self._store.close()


def _file_of(path: Path) -> tuple[int, int]:
    """What tells a file from another that is put in its place."""
    found = os.stat(path)
    return found.st_dev, found.st_ino


def create_files(
    folder: Path,
    tied: Mapping[str, Any],
    factory: str | None,
    bytes_per_vector: int | None,
    made_with: Mapping[str, Any] | None = None,
) -> None:
    """Make the files of an empty gallery in a new or empty folder; after an error nothing is left.

    Args:
        folder: New or empty.
        tied: What the gallery is tied to: ``model``, ``dim`` and more.
        factory: A FAISS factory string; None chooses one as the gallery grows.
        bytes_per_vector: Memory that the chosen index may spend on a vector; None for no limit.
        made_with: What people call what it is tied to.

    Raises:
        InputError: If the folder holds something already, or a value is wrong.
    """
    names = check_made_with({} if made_with is None else made_with)
    check_text(tied['model'], 'model')
    dim = tied['dim']
    if check_count(dim, 'dim') > 65536:
        raise InputError(f'dim must be a whole number from 1 to 65536, got {dim!r}')
    if bytes_per_vector is not None:
        check_count(bytes_per_vector, 'bytes_per_vector')
    choose_factory(0, dim, bytes_per_vector)
    if factory is not None:
        make_index(factory, dim)
    making = folder / f'.{STORE}.new'  # left behind by a kill, and no obstacle
    if folder.exists() and (
        not folder.is_dir() or any(not p.name.startswith(making.name) for p in folder.iterdir())
    ):
        raise InputError(f'{folder} is not an empty folder')
    there = folder.exists()
    try:
        json.dumps(dict(tied), allow_nan=False)
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.iterdir():
            leftover.unlink()
        choices = dict(factory=factory, bytes_per_vector=bytes_per_vector, calibration=None, tuning=None)
        store = Store.create(making, {**tied, **choices, MADE_WITH: names})
        store.close()
        os.replace(making, folder / STORE)
    except BaseException as error:
        discard(folder, keep=there)
        if isinstance(error, (OSError, TypeError, ValueError)) and not isinstance(error, Mbv1Error):
            kind = NoSpaceError if is_full(error) else InputError
            raise kind(f'{folder}: a gallery cannot be made: {error}') from error
        raise


def discard(folder: Path, keep: bool) -> None:
    """Remove a gallery that could not be made; the folder itself stays if it was there before."""
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for path in folder.iterdir():
        path.unlink(missing_ok=True)
