"""The gallery: people's embeddings in a folder, to search, change and trust.

``gallery.sqlite`` is the truth. The FAISS index is made of it, kept in memory, brought up to date before
every search, and saved from time to time so that opening is quick; losing it loses nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval.index import choose_factory, usable_factory
from mbv1_backbone.retrieval.live import LiveIndex
from mbv1_backbone.retrieval.lock import writer_lock
from mbv1_backbone.retrieval.records import (
    Entry,
    Found,
    IdentityMatch,
    Match,
    check_text,
    check_vectors,
)
from mbv1_backbone.retrieval.store import NewEntry, Store

_STORE = 'gallery.sqlite'
CALIBRATED = 'calibrated'  # a threshold: the one that calibration has stored, if any


@dataclass(frozen=True)
class Added:
    """What became of entries that were to be added.

    Attributes:
        ids: Id of each, None where its file was there already.
        message: What else happened, e.g. that the index was trained anew; empty if nothing.
    """

    ids: tuple[int | None, ...]
    message: str = ''

    @property
    def new(self) -> int:
        """How many were added."""
        return sum(i is not None for i in self.ids)


class Gallery:
    """An open gallery. May be used by several threads; other processes may read and write beside it.

    Example:
        >>> gallery = Gallery.create('people', dim=128, model='ab12')  # doctest: +SKIP
        >>> gallery.add(vectors, identities, files, hashes)  # doctest: +SKIP
        >>> gallery.search(probes, k=5, threshold=0.4)[0]  # doctest: +SKIP
        [Match(id=7, identity='Ada', file='ada/1.jpg', score=0.83, distance=0.34)]

    Attributes:
        folder: Where it lies.
        timeout: Seconds to wait for another writer.
    """

    def __init__(self, folder: str | os.PathLike[str], timeout: float = 10.0) -> None:
        """Open a gallery.

        Raises:
            InputError: If there is none, or it is damaged.
        """
        self.folder = Path(folder)
        self.timeout = timeout
        if not (self.folder / _STORE).is_file():
            raise InputError(f'{self.folder}: not a gallery, it has no {_STORE}')
        self._store = Store(self.folder / _STORE)
        self._store.check()
        self._pins = {key: self._store.meta(key) for key in ('model', 'preprocessing', 'dim', 'metric')}
        self._live = LiveIndex(self.folder, self._store, self._pins)
        self._live.manifest()

    @classmethod
    def create(
        cls,
        folder: str | os.PathLike[str],
        dim: int,
        model: str,
        preprocessing: Mapping[str, Any] | None = None,
        factory: str | None = None,
        bytes_per_vector: int | None = None,
        timeout: float = 10.0,
    ) -> Gallery:
        """Make an empty gallery in a new or empty folder.

        Args:
            folder: Where.
            dim: Values in an embedding.
            model: Fingerprint of the model that makes the embeddings; no other is let in later.
            preprocessing: How its images are prepared; likewise.
            factory: FAISS's string for the index; None chooses by size.
            bytes_per_vector: Memory that the chosen index may spend on a vector.
            timeout: Seconds to wait for another writer.

        Raises:
            InputError: If the folder holds something already, or a value is wrong.
        """
        folder = Path(folder)
        check_text(model, 'model')
        if isinstance(dim, bool) or not isinstance(dim, int) or not 1 <= dim <= 65536:
            raise InputError(f'dim must be a whole number from 1 to 65536, got {dim!r}')
        choose_factory(0, dim, bytes_per_vector)
        if factory is not None:
            usable_factory(factory, dim, 0)
        making = folder / f'.{_STORE}.new'  # left behind by a kill, and no obstacle
        if folder.exists() and (
            not folder.is_dir() or any(not p.name.startswith(making.name) for p in folder.iterdir())
        ):
            raise InputError(f'{folder} is not an empty folder')
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.iterdir():
            leftover.unlink()
        pins = dict(model=model, preprocessing=dict(preprocessing or {}), dim=dim, metric='cosine')
        choices = dict(factory=factory, bytes_per_vector=bytes_per_vector, calibration=None, tuning=None)
        store = Store.create(making, pins | choices)
        store.close()
        os.replace(making, folder / _STORE)
        gallery = cls(folder, timeout)
        gallery.save()
        return gallery

    # --- what it is

    @property
    def dim(self) -> int:
        """Values in an embedding."""
        return int(self._pins['dim'])

    @property
    def model(self) -> str:
        """Fingerprint of the model that made the embeddings."""
        return str(self._pins['model'])

    def check_model(self, model: str, preprocessing: Mapping[str, Any] | None = None) -> None:
        """Check that a model is the gallery's.

        Raises:
            InputError: If it is another, or prepares images otherwise; the message says which is which.
        """
        if model != self.model:
            raise InputError(
                f'gallery {self.folder} was made with model {self.model[:16]}, this is {model[:16]}; '
                'reembed moves it to another model'
            )
        if preprocessing is not None and dict(preprocessing) != self._pins['preprocessing']:
            raise InputError(
                f'gallery {self.folder} was made with preprocessing {self._pins["preprocessing"]}, '
                f'this is {dict(preprocessing)}'
            )

    @property
    def pins(self) -> dict[str, Any]:
        """What never changes: ``model``, ``preprocessing``, ``dim`` and ``metric``."""
        return dict(self._pins)

    def check_same(self, other: Gallery) -> None:
        """Check that another gallery is of the same model, preprocessing and dimension.

        Raises:
            InputError: If it is not.
        """
        self.check_pins(other.pins, str(other.folder))

    def check_pins(self, pins: Mapping[str, Any], whose: str) -> None:
        """Check that somebody's ``pins`` are this gallery's.

        Raises:
            InputError: If one is not; the message says which is which.
        """
        for key, value in self._pins.items():
            if pins.get(key) != value:
                raise InputError(
                    f'{whose} has {key} {pins.get(key)!r:.60}, gallery {self.folder} has {value!r:.60}'
                )

    def __len__(self) -> int:
        return self._store.count()

    def stats(self) -> dict[str, Any]:
        """Counts, index and sizes, for people."""
        with self._live.current() as index:
            sizes = {p.name: p.stat().st_size for p in self.folder.iterdir() if p.is_file()}
            return dict(
                entries=self._store.count(),
                identities=len(self._store.identities()),
                dim=self.dim,
                model=self.model,
                factory=index.factory,
                trained_for=index.trained_for,
                change=self._store.change(),
                bytes_on_disk=sum(sizes.values()),
            )

    # --- changing it

    def add(
        self,
        vectors: Any,
        identities: Sequence[str],
        files: Sequence[str],
        hashes: Sequence[str],
        metadata: Sequence[Mapping[str, Any]] | None = None,
    ) -> Added:
        """Add images of people, in one change: all of them or, after an error, none.

        Args:
            vectors: (N, dimension), normalised here.
            identities: Whose face each is.
            files: Where each image came from.
            hashes: SHA-256 of each image file; one that is there already is skipped.
            metadata: Free values for each.

        Raises:
            InputError: If a value is wrong, another writer is at work, or the disk is full.
        """
        array = check_vectors(vectors, self.dim)
        extra = list(metadata) if metadata is not None else [{}] * len(array)
        if not len(array) == len(identities) == len(files) == len(hashes) == len(extra):
            raise InputError(
                f'{len(array)} embeddings, {len(identities)} identities, {len(files)} files, '
                f'{len(hashes)} hashes and {len(extra)} metadata must be as many'
            )
        now = time.time()
        entries = [
            Entry(0, identity, file, sha256, now, values)
            for identity, file, sha256, values in zip(identities, files, hashes, extra, strict=True)
        ]
        return self.add_entries(list(zip(entries, array, strict=True)))

    def add_entries(self, pairs: Sequence[tuple[Entry, np.ndarray]]) -> Added:
        """Add entries with their embeddings, as another gallery has them; they get ids of this one.

        Raises:
            InputError: As ``add``.
        """
        array = check_vectors(np.array([vector for _, vector in pairs]).reshape(-1, self.dim), self.dim)
        entries = [
            NewEntry(
                check_text(entry.identity, 'identity'),
                check_text(entry.file, 'file'),
                _hash(entry.sha256),
                _time(entry.added),
                entry.metadata,
                vector,
            )
            for (entry, _), vector in zip(pairs, array, strict=True)
        ]
        with writer_lock(self.folder, 'add', self.timeout):
            ids = self._store.add(entries)
            return Added(tuple(ids), self._live.keep_up())

    def remove(self, ids: Iterable[int] = (), identity: str | None = None, file: str | None = None) -> int:
        """Remove entries by id, by identity or by file, in one change.

        Returns:
            How many there were.
        """
        with writer_lock(self.folder, 'remove', self.timeout):
            wanted = [int(i) for i in ids]
            if identity is not None or file is not None:
                wanted += self._store.select_ids(identity, file).tolist()
            count = self._store.remove(wanted)
            self._live.keep_up()
            return count

    def update(self, entry_id: int, metadata: Mapping[str, Any]) -> None:
        """Replace an entry's metadata.

        Raises:
            InputError: If there is no such entry.
        """
        with writer_lock(self.folder, 'update', self.timeout):
            self._store.set_metadata(entry_id, metadata)

    # --- reading it

    def get(self, entry_id: int) -> Entry:
        """An entry.

        Raises:
            InputError: If there is none of that id.
        """
        return self._store.entries([entry_id])[entry_id]

    def entries(
        self,
        identity: str | Sequence[str] | None = None,
        file: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Iterator[Entry]:
        """Entries, by id, of some identities, of a file, or with some metadata values."""
        return (entry for entry, _ in self._store.select(identity, file, metadata))

    def entries_with_vectors(self, **which: Any) -> Iterator[tuple[Entry, np.ndarray]]:
        """The same, each with its embedding (dimension,)."""
        return self._store.select(**which)

    def known(self, hashes: Sequence[str]) -> set[str]:
        """Those of some SHA-256 whose files are in the gallery: they need not be embedded again."""
        return self._store.known(hashes)

    def identities(self) -> dict[str, int]:
        """Number of images of each person."""
        return self._store.identities()

    def search(
        self,
        vectors: Any,
        k: int = 5,
        threshold: float | str | None = CALIBRATED,
        identity: str | Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        nprobe: int | None = None,
        ef_search: int | None = None,
    ) -> Found:
        """The ``k`` most alike entries of each embedding.

        Args:
            vectors: (N, dimension), normalised here.
            k: At least 1; where the gallery has fewer, all of them come.
            threshold: Lowest score, -1..1; by default the calibrated one where the gallery has one. An empty
                list then says: unknown. None gives all.
            identity: Look among these people only.
            metadata: Look among entries with these values only.
            nprobe: Lists of an IVF index to look through.
            ef_search: Breadth of an HNSW search.

        Returns:
            For each embedding its matches, by falling score.

        Raises:
            InputError: If a value is wrong.
        """
        array = check_vectors(vectors, self.dim, 'probes')
        _check_k(k)
        with self._live.current() as index:
            floor = self._floor(threshold)
            among = (
                self._store.select_ids(identity, None, metadata) if identity is not None or metadata else None
            )
            scores, ids = index.search(array, k, among, nprobe, ef_search)
            names = self._live.catalog.__getitem__
        counts = _counts(ids, scores, floor)
        return Found(names, ids, scores, counts)

    def search_identities(
        self,
        vectors: Any,
        k: int = 5,
        by: str = 'best',
        threshold: float | str | None = CALIBRATED,
        **search: Any,
    ) -> list[list[IdentityMatch]]:
        """The ``k`` most alike people of each embedding.

        Args:
            vectors: (N, dimension), normalised here.
            k: How many people.
            by: ``'best'``, the score of a person's most alike image, or ``'mean'``, of all of them; means
                are taken of the people whose best images come first, four times as many as asked.
            threshold: Lowest score, as for ``search``.
            search: ``identity``, ``metadata``, ``nprobe``, ``ef_search`` as for ``search``.

        Returns:
            For each embedding its people, by falling score.

        Raises:
            InputError: If a value is wrong.
        """
        if by not in ('best', 'mean'):
            raise InputError(f"by must be 'best' or 'mean', got {by!r}")
        _check_k(k)
        array = check_vectors(vectors, self.dim, 'probes')
        floor = self._floor(threshold)
        with self._live.current():
            images, found = self.identities(), []
            for probe in array:
                best = self._best_images(probe, k if by == 'best' else 4 * k, search)
                people = [self._person(name, match, images[name], probe, by) for name, match in best.items()]
                people.sort(key=lambda person: -person.score)
                found.append([person for person in people if person.score >= floor][:k])
        return found

    def _best_images(self, probe: np.ndarray, people: int, search: Mapping[str, Any]) -> dict[str, Match]:
        """The most alike image of each of the ``people`` whose best images come first."""
        k = 4 * people
        while True:
            [matches] = self.search(probe[None], k, None, **search)
            best: dict[str, Match] = {}
            for match in matches:
                best.setdefault(match.identity, match)
            if len(best) >= people or len(matches) < k:
                return dict(list(best.items())[:people])
            k *= 4

    def _person(self, name: str, best: Match, images: int, probe: np.ndarray, by: str) -> IdentityMatch:
        score = best.score
        if by == 'mean':
            score = float(np.mean([probe @ vector for _, vector in self._store.select(identity=name)]))
        return IdentityMatch(name, score, 2.0 - 2.0 * score, images, best)

    @property
    def tuning(self) -> dict[str, Any] | None:
        """What ``tune`` found last; None before that."""
        return self._store.meta('tuning')

    def set_tuning(self, found: Mapping[str, Any]) -> None:
        """Store what ``tune`` found."""
        with writer_lock(self.folder, 'tune', self.timeout):
            self._store.set_meta('tuning', dict(found))

    @property
    def calibration(self) -> dict[str, Any] | None:
        """What ``calibrate`` found last: ``threshold``, its interval and rates; None before that."""
        return self._store.meta('calibration')

    def set_calibration(self, found: Mapping[str, Any]) -> None:
        """Store a calibration: searches use its threshold from now on."""
        with writer_lock(self.folder, 'calibrate', self.timeout):
            self._store.set_meta('calibration', dict(found))

    def _floor(self, threshold: float | str | None) -> float:
        if threshold == CALIBRATED:
            found = self.calibration
            return -np.inf if found is None else float(found['threshold'])
        if threshold is None:
            return -np.inf
        if isinstance(threshold, (bool, str)) or not np.isfinite(threshold):
            raise InputError(f'threshold must be a number, None or {CALIBRATED!r}, got {threshold!r}')
        return float(threshold)

    @contextmanager
    def snapshot(self) -> Iterator[int]:
        """One state of the gallery, whatever is written meanwhile; gives the number of its last change."""
        with self._store.reading():
            yield self._store.change()

    # --- its files

    def save(self) -> None:
        """Save the index, so that opening is quick."""
        with writer_lock(self.folder, 'save', self.timeout):
            self._live.save()

    def settle(self) -> None:
        """Save the index; train it anew before, where it was trained for far fewer entries than there are."""
        with writer_lock(self.folder, 'settle', self.timeout):
            self._live.settle()

    def rebuild(self, factory: str | None = None) -> str:
        """Make index and manifest anew from the entries, trained for as many as there are now.

        Args:
            factory: FAISS's string, kept from now on; None chooses as before.

        Returns:
            The factory string; ``'Flat'`` while there are too few entries to train another.
        """
        if factory is not None:
            usable_factory(factory, self.dim, 0)
        with writer_lock(self.folder, 'rebuild', self.timeout):
            if factory is not None:
                self._store.set_meta('factory', factory)
            return self._live.rebuild()

    def compact(self) -> None:
        """Forget removed entries, give their room back to the disk, and make the index anew."""
        with writer_lock(self.folder, 'compact', self.timeout):
            self._store.forget_removals()
            self._store.vacuum()
            self._live.rebuild()

    def problems(self) -> list[str]:
        """What is wrong with the manifest and the saved index, one line each."""
        return self._live.problems()

    def breadth(self) -> tuple[str, int] | None:
        """The option of ``search`` that widens it, and its greatest value; None of an exact index."""
        with self._live.current() as index:
            return index.breadth()

    def indexed(self) -> int:
        """Vectors in the index, once it is up to date."""
        with self._live.current() as index:
            return index.count

    def close(self) -> None:
        """Close the files; the gallery is not to be used afterwards."""
        self._store.close()

    def __enter__(self) -> Gallery:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _counts(ids: np.ndarray, scores: np.ndarray, floor: float) -> list[int]:
    """How many of each row are entries that reach the floor; scores fall from left to right."""
    if ids.size and ids[:, -1].min() >= 0 and scores[:, -1].min() >= floor:
        return [ids.shape[1]] * len(ids)
    return ((ids >= 0) & (scores >= floor)).sum(axis=1).tolist()


def _check_k(k: int) -> None:
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise InputError(f'k must be a whole number of at least 1, got {k!r}')


def _time(value: float) -> float:
    if not isinstance(value, (int, float)) or not np.isfinite(value):
        raise InputError(f'added must be seconds since 1970, got {value!r:.40}')
    return float(value)


def _hash(value: str) -> str:
    if not isinstance(value, str) or len(value) != 64 or any(c not in '0123456789abcdef' for c in value):
        raise InputError(f'hashes are SHA-256, 64 hexadecimal digits, got {value!r:.80}')
    return value
