"""The index in memory: before every search it holds what the store holds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np

from mbv1_backbone.retrieval.building import build_index, measure, stored_vectors, wanted_factory
from mbv1_backbone.retrieval.kept import Kept
from mbv1_backbone.retrieval.recall import RecallProbe
from mbv1_backbone.retrieval.saved import IndexState, SavedIndex
from mbv1_backbone.retrieval.store import Delta, Store

__all__ = ['LiveIndex']

_UNSAVED = 0.1  # share of changed vectors after which the index is saved again
_UNSAVED_LEAST = 5000
_WIDENED = 2  # times the lists that were looked through after training: then training anew pays
_WIDENED_SHARE = 0.05  # of new entries, at least
_BARRED = 1.0  # seconds that a reader waits for one who waits to be alone
_UNMEASURED = 0.02  # share of new entries after which the width of the search is measured again


class LiveIndex:
    """A gallery's index. Readers of any number share it; it changes while none reads.

    Args:
        store: The entries.
        saved: The index's files.

    Attributes:
        kept: What belongs to the state of the index; to be used within ``snapshot``.
    """

    def __init__(self, store: Store, saved: SavedIndex) -> None:
        self._store = store
        self.saved = saved
        self.kept = Kept()
        self._standing: IndexState | None = None
        self._unsaved = 0  # vectors that changed since the index was saved
        self._guard = _SharedLock()

    def current(self) -> AbstractContextManager[IndexState]:
        """The index as the store is at this moment; it stays so inside. May be nested."""
        if self._guard.held() and self._standing is not None:
            return nullcontext(self._standing)
        return self._up_to_date(nullcontext)

    @contextmanager
    def snapshot(self) -> Iterator[IndexState]:
        """The same, and for this thread the store in the same state."""
        with self._up_to_date(self._store.reading) as standing:
            yield standing

    @contextmanager
    def _up_to_date(self, reading: Callable[[], AbstractContextManager[Any]]) -> Iterator[IndexState]:
        """The index as the store is, looked at within ``reading``, however often others change it."""
        while True:
            with self._guard, reading():
                standing = self._standing
                if standing is not None and self._store.stamp().state == standing.state:
                    yield standing
                    return
            with self._guard.alone(), self._store.reading():
                self._refresh()

    def _refresh(self) -> None:
        standing, self._standing = self._standing, None
        if standing is None or not self._catch_up(standing):
            standing, self._unsaved = self.saved.load(), 0
            if standing is not None and (self._is_far_behind(standing) or not self._catch_up(standing)):
                standing = None
        if standing is not None:
            self._standing = standing
            return
        self._stand(build_index(self._store, None))

    def _stand(self, standing: IndexState) -> None:
        self._standing = standing
        self._unsaved = standing.index.count
        self.kept.clear()

    def _catch_up(self, standing: IndexState) -> bool:
        """Bring an index up to date; False where it turns out not to be the index of these entries."""
        delta = self._store.since(standing.change, standing.state)
        if delta is None:
            return False
        self.kept.clear()
        self._unsaved += _apply(standing, delta)
        standing.change, standing.state = delta.stamp.change, delta.stamp.state
        standing.calibration = delta.stamp.calibration
        return standing.index.count == delta.stamp.entries

    def rebuild(self) -> str:
        """Make the index anew, trained for as many as there are now, and save it; its factory string."""
        standing = build_index(self._store, self._standing)
        with self._guard.alone():
            self._stand(standing)
        self.save()
        return standing.index.factory

    def maintain(self) -> str:
        """After a change: train anew where a tenth is new, measure again, save where much has changed.

        A failure here loses nothing, since the entries are safe. Inside of a snapshot nothing is done.

        Returns:
            What people should know; empty if nothing.
        """
        if self._guard.held() or self._store.connections.in_transaction():
            return ''
        with self.current() as standing:
            index = standing.index
            retrain = self._measure_again(standing, _UNMEASURED, _WIDENED_SHARE)
            unsaved = self._unsaved > max(_UNSAVED_LEAST, _UNSAVED * index.count)
        try:
            if retrain:
                factory = self.rebuild()
                if factory == 'Flat':  # nothing to train
                    return ''
                return f'index trained anew for {index.count} entries: {factory}'
            if unsaved:
                self.save()
        except OSError as error:
            return f'the entries are safe, but the index could not be saved: {error}'
        return ''

    def optimize(self) -> None:
        """Save the index; train it anew before, where much has changed since it was trained."""
        if self._standing is not None and self._is_far_behind(self._standing):
            self.rebuild()
            return
        with self.current() as standing:
            retrain = self._measure_again(standing, 0, 0)
        if retrain:
            self.rebuild()
        else:
            self.save()

    def _is_far_behind(self, standing: IndexState) -> bool:
        """Whether more entries are new than an index holds: then it costs less to read all.

        That is done block by block; what has changed is read all at once.
        """
        there = standing.index.count
        return self._store.count() - there > max(_UNSAVED_LEAST, there)

    def _measure_again(self, standing: IndexState, unmeasured: float, widened: float) -> bool:
        """Set the width of the search anew where entries have come; whether the index is to be trained anew.

        Args:
            standing: The index.
            unmeasured: Share of entries that must have come since it was measured.
            widened: Share of entries that must have come since it was trained, to train it anew where they
                make the search much wider.
        """
        index = standing.index
        if index.needs_retraining() or self._other_factory(standing):
            return True
        fresh = index.count - standing.measured.get('entries', 0)
        if index.exact or fresh <= unmeasured * index.count:
            return False
        measure(standing, self._store)
        lists, before = index.width.nprobe, standing.measured.get('lists_at_training')
        wide = lists is not None and before is not None and lists > _WIDENED * before
        return wide and index.count - index.trained_for > widened * index.count

    def _other_factory(self, standing: IndexState) -> bool:
        """Whether more entries than at training ask for another kind of index."""
        if standing.index.count <= standing.index.trained_for or standing.index.factory != 'Flat':
            return False
        return wanted_factory(self._store, standing.index.count, None) != 'Flat'

    def save(self) -> None:
        """Save the index and the manifest. The caller holds the writer lock."""
        with self.current() as standing:
            self.saved.save(standing)
            self._unsaved = 0
        if self.saved.is_mapped() and not self._guard.held():
            self._take_saved(standing)

    def _take_saved(self, standing: IndexState) -> None:
        """Let an index in memory go for the file of it that was just written.

        They are equal, row by row, so readers may keep the one that they have: nobody is waited for.
        """
        with self._guard:
            saved = self.saved.load(checked=True) if self._standing is standing else None
            if saved is not None and saved.state == standing.state:
                saved.calibration = standing.calibration
                self._standing = saved
                self.kept.clear()

    def probe(self, k: int, probes: int) -> RecallProbe:
        """Rows to measure recall with."""
        with self.snapshot() as standing:
            return RecallProbe(standing.index, k, probes, stored_vectors(standing, self._store))


def _apply(standing: IndexState, delta: Delta) -> int:
    """Put what has happened into an index; how many vectors changed."""
    ids = np.array([entry.id for entry in delta.entries], np.int64)
    known = standing.catalog.rows_of(ids)
    fresh = np.flatnonzero(known < 0)
    changed = {
        int(known[place]): (delta.entries[place].identity, delta.entries[place].file)
        for place in np.flatnonzero(known >= 0).tolist()
    }
    if changed:
        standing.catalog = standing.catalog.renamed(changed)
    standing.index.add(delta.vectors[fresh])
    standing.catalog.add(
        (entry.id, entry.identity, entry.file) for entry in (delta.entries[place] for place in fresh.tolist())
    )
    gone = standing.catalog.rows_of(delta.removed)
    gone = gone[gone >= 0]  # one that came and went was never here
    standing.index.remove(gone)
    return len(fresh) + len(gone)


class _SharedLock:
    """Held by any number of readers (``with`` itself, may be nested), or by one alone.

    New readers wait a moment for whoever waits to be alone, since reads that overlap may leave no gap; only a
    moment, since those that are there may take long, or wait for new ones.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._readers = 0
        self._waiting = 0  # to be alone
        self._mine = threading.local()

    def __enter__(self) -> None:
        with self._condition:
            if self._waiting and not self.held():
                self._condition.wait_for(lambda: not self._waiting, _BARRED)
            self._readers += 1
        self._mine.depth = getattr(self._mine, 'depth', 0) + 1

    def __exit__(self, *_: object) -> None:
        self._mine.depth -= 1
        with self._condition:
            self._readers -= 1
            if not self._readers:
                self._condition.notify_all()

    def held(self) -> bool:
        """Whether this thread reads."""
        return getattr(self._mine, 'depth', 0) > 0

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No reader may come, and those that are there are waited for."""
        with self._condition:
            self._waiting += 1
            try:
                self._condition.wait_for(lambda: not self._readers)
            finally:
                self._waiting -= 1
                self._condition.notify_all()
            yield
