"""The index in memory: it holds what the store holds, before every search; and the file that keeps it."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import atomic_file, write_atomically
from mbv1_backbone.retrieval.catalog import Catalog
from mbv1_backbone.retrieval.index import SearchIndex, choose_factory, usable_factory
from mbv1_backbone.retrieval.manifest import NAME, Manifest
from mbv1_backbone.retrieval.store import FORMAT, Store

_UNSAVED = 0.1  # share of changed vectors after which the index is saved again
_UNSAVED_LEAST = 5000
_SETTLED = 0.8  # share of the entries that an index should have been trained for, after much was added


class LiveIndex:
    """A gallery's index. Readers of any number share it; it changes while none reads.

    Args:
        folder: The gallery.
        store: Its entries.
        pins: What never changes, for the manifest.
    """

    def __init__(self, folder: Path, store: Store, pins: Mapping[str, Any]) -> None:
        self.folder = folder
        self._store = store
        self._pins = pins
        self._index: SearchIndex | None = None
        self.catalog = Catalog()  # of the ids in the index
        self._change = -1  # of the store, that the index holds
        self._unsaved = 0  # vectors that changed since the index was saved
        self._guard = _SharedLock()

    @contextmanager
    def current(self) -> Iterator[SearchIndex]:
        """The index as the store is at this moment, and with it a snapshot of the store."""
        while True:
            with self._guard.shared(), self._store.reading():
                if self._index is not None and self._store.change() == self._change:
                    yield self._index
                    return
            with self._guard.alone():
                self._refresh()

    def _refresh(self) -> None:
        if self._index is not None and self._caught_up(self._index):
            return
        self._index = None
        if (loaded := self.load()) is not None:
            index, self.catalog, self._change = loaded
            self._unsaved = 0
            if not index.removable:  # what was removed before it was saved is in it still
                index.remove(np.array([i for i in self._store.removed() if i in self.catalog], np.int64))
            if self._caught_up(index):
                self._index = index
                return
        self._index, self.catalog, self._change = self._built()
        self._unsaved = self._index.count

    def _caught_up(self, index: SearchIndex) -> bool:
        """Bring an index up to date; False where it turns out not to be the index of these entries."""
        if (delta := self._store.since(self._change)) is None:
            return False
        index.remove(delta.removed)
        index.add(np.array([entry.id for entry in delta.entries], np.int64), delta.vectors)
        self.catalog.add((entry.id, entry.identity, entry.file) for entry in delta.entries)
        self._unsaved += len(delta.entries) + len(delta.removed)
        self._change = delta.change
        return index.count == delta.total

    def _built(self) -> tuple[SearchIndex, Catalog, int]:
        """An index and a catalog made of the store, and the change they stand at."""
        catalog, seen = Catalog(), 0
        with self._store.reading():
            change, count = self._store.change(), self._store.count()
            ids: np.ndarray = np.empty(count, np.int64)
            vectors: np.ndarray = np.empty((count, self._store.dim), np.float32)
            for entry, vector in self._store.select():
                if seen < count:
                    ids[seen], vectors[seen] = entry.id, vector
                    catalog.add([(entry.id, entry.identity, entry.file)])
                seen += 1
            if seen != count:
                raise InputError(f'{self._store.path}: damaged: {seen} of {count} entries are there')
            wanted = self._store.meta('factory') or self._chosen(count)
        return SearchIndex.build(wanted, ids, vectors), catalog, change

    def _chosen(self, count: int) -> str:
        return choose_factory(count, self._store.dim, self._store.meta('bytes_per_vector'))

    def rebuild(self) -> str:
        """Make the index anew, trained for as many as there are now, and save it; its factory string."""
        index, catalog, change = self._built()
        with self._guard.alone():
            self._index, self.catalog, self._change = index, catalog, change
        self.save()
        return index.factory

    def keep_up(self) -> str:
        """After a change: train anew where the index is outgrown, save it where much has changed.

        A failure here loses nothing, since the entries are safe.

        Returns:
            What people should know; empty if nothing.
        """
        with self.current() as index:
            outgrown = self._outgrown(index)
            unsaved = self._unsaved > max(_UNSAVED_LEAST, _UNSAVED * index.count)
        try:
            if outgrown:
                factory = self.rebuild()
                if factory == 'Flat':  # nothing to train
                    return ''
                return f'index trained anew for {self._store.count()} entries: {factory}'
            if unsaved:
                self.save()
        except OSError as error:
            return f'the entries are safe, but the index could not be saved: {error}'
        return ''

    def settle(self) -> None:
        """Save the index; train it anew before, where it was trained for far fewer than there are."""
        with self.current() as index:
            fewer = index.factory != 'Flat' and index.trained_for < _SETTLED * index.count
        if fewer:
            self.rebuild()
        else:
            self.save()

    def _outgrown(self, index: SearchIndex) -> bool:
        fixed = self._store.meta('factory')
        if fixed is not None:
            return index.outgrown() or usable_factory(fixed, self._store.dim, index.count) != index.factory
        larger = index.count > index.trained_for and self._chosen(index.count) != index.factory
        return larger or index.outgrown()

    def save(self) -> None:
        """Save the index and the manifest. The caller holds the writer lock."""
        with self.current() as index:
            name = f'index-{self._change}-{os.urandom(4).hex()}'
            catalog = self.catalog.to_bytes()
            with atomic_file(self.folder / f'{name}.faiss') as file:
                sha256 = index.write(file)
            write_atomically(self.folder / f'{name}.npz', catalog)
            manifest = Manifest(
                **self._pins,
                format=FORMAT,
                factory=index.factory,
                faiss=faiss.__version__,
                index=f'{name}.faiss',
                sha256=sha256,
                catalog=f'{name}.npz',
                catalog_sha256=hashlib.sha256(catalog).hexdigest(),
                count=int(index.faiss.ntotal),
                change=self._change,
                trained_for=index.trained_for,
            )
            manifest.write(self.folder)
            self._unsaved = 0
        for old in [*self.folder.glob('index-*'), *self.folder.glob('.*.tmp')]:
            if old.stem != name:
                old.unlink(missing_ok=True)

    def load(self) -> tuple[SearchIndex, Catalog, int] | None:
        """The saved index and catalog, and their change; None where they are not there as they were saved."""
        for _ in range(3):  # a writer may put newer ones in their place meanwhile
            if (manifest := self.manifest()) is None:
                return None
            try:
                content = np.memmap(self.folder / manifest.index, np.uint8, 'r')
                catalog = (self.folder / manifest.catalog).read_bytes()
            except (OSError, ValueError):  # numpy maps no empty file
                continue
            found = hashlib.sha256(content.data).hexdigest(), hashlib.sha256(catalog).hexdigest()
            if found != (manifest.sha256, manifest.catalog_sha256):
                return None
            about = (manifest.factory, manifest.trained_for, manifest.dim, manifest.count)
            try:
                return SearchIndex.read(content, *about), Catalog.from_bytes(catalog), manifest.change
            except InputError:
                return None
        return None

    def manifest(self) -> Manifest | None:
        """The manifest, None where a kill at creation has left none.

        Raises:
            InputError: If it is damaged, or says otherwise than the store.
        """
        if not (self.folder / NAME).exists():
            return None
        manifest = Manifest.read(self.folder)
        for key, value in dict(self._pins, format=FORMAT).items():
            if getattr(manifest, key) != value:
                raise InputError(
                    f'{self.folder}: the manifest says {key} {getattr(manifest, key)!r:.40}, '
                    f'the entries {value!r:.40}; repair makes it anew'
                )
        return manifest

    def problems(self) -> list[str]:
        """What is wrong with the manifest and the saved index, one line each."""
        try:
            manifest = self.manifest()
        except InputError as error:
            return [str(error)]
        if manifest is None:
            return [f'{self.folder}: no {NAME}; repair makes it anew']
        if self.load() is None:
            path = self.folder / manifest.index
            return [f'{path}: missing, or not the file that was saved; repair makes it anew']
        return []


class _SharedLock:
    """Held by any number of readers, or by one alone."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._readers = 0

    @contextmanager
    def shared(self) -> Iterator[None]:
        with self._condition:
            self._readers += 1
        try:
            yield
        finally:
            with self._condition:
                self._readers -= 1
                self._condition.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._condition:
            while self._readers:
                self._condition.wait()
            yield
