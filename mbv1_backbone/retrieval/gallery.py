"""The gallery: people's embeddings in a folder, to search, change and trust.

``gallery.sqlite`` is the truth. The FAISS index is made of it, kept in memory or mapped, brought up to date
before every search, and saved from time to time so that opening is quick; losing it loses nothing.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval import integrity, writes
from mbv1_backbone.retrieval.checks import check_number
from mbv1_backbone.retrieval.factories import make_index
from mbv1_backbone.retrieval.milvus.address import is_address
from mbv1_backbone.retrieval.model_tie import ModelTie
from mbv1_backbone.retrieval.naming import NamedGallery
from mbv1_backbone.retrieval.opening import create_files, discard
from mbv1_backbone.retrieval.provenance import KEY as MADE_WITH, check_made_with, described, read_made_with
from mbv1_backbone.retrieval.recall import RecallProbe
from mbv1_backbone.retrieval.width import Width

__all__ = ['Gallery']


class Gallery(NamedGallery, ModelTie):
    """An open gallery. May be used by several threads; other processes may read and write beside it.

    Example:
        >>> gallery = Gallery.create('people', dim=128, model='ab12')  # doctest: +SKIP
        >>> gallery.add(vectors, identities, files, hashes)  # doctest: +SKIP
        >>> gallery.search(probes, k=5, threshold=0.4)[0]  # doctest: +SKIP
        [Match(id=7, identity='Ada', file='ada/1.jpg', score=0.83, distance=0.34)]
    """

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
        made_with: Mapping[str, Any] | None = None,
    ) -> Gallery:
        """Make an empty gallery in a new or empty folder; after an error nothing is left.

        Args:
            folder: Where.
            dim: Values in an embedding.
            model: Fingerprint of the model that makes the embeddings; no other is let in later.
            preprocessing: How its images are prepared; likewise.
            factory: FAISS's string for the index; None chooses by size.
            bytes_per_vector: Memory that the chosen index may spend on a vector.
            timeout: Seconds to wait for another writer.
            made_with: What people call the model (``model``) and other parts, for ``stats``; it ties to none.

        Raises:
            InputError: If the folder holds something already, or a value is wrong.
        """
        if preprocessing is not None and not isinstance(preprocessing, Mapping):
            raise InputError(f'preprocessing must be a dict, got {preprocessing!r:.60}')
        tied = dict(model=model, preprocessing=dict(preprocessing or {}), dim=dim, metric='cosine')
        if is_address(folder):
            raise InputError(f'{folder}: a gallery on Milvus is made by create_gallery')
        there = Path(folder).exists()
        create_files(Path(folder), tied, factory, bytes_per_vector, made_with)
        try:
            gallery = cls(folder, timeout)
            gallery.save()
        except BaseException:
            discard(Path(folder), keep=there)
            raise
        return gallery

    # --- what it is

    @property
    def place(self) -> str:
        """Its folder."""
        return str(self.folder)

    @property
    def made_with(self) -> dict[str, Any]:
        """What people call its model (``model``) and more; empty of galleries of early versions."""
        return read_made_with(self._store)

    def set_made_with(self, made_with: Mapping[str, Any]) -> None:
        """Store what people call its model and more.

        Raises:
            InputError: If it is not what JSON can hold.
        """
        self._set(MADE_WITH, check_made_with(made_with))

    def stats(self) -> dict[str, Any]:
        """Counts, index, recall and sizes, for people."""
        with self._live.snapshot() as standing:
            index = standing.index
            sizes = {p.name: p.stat().st_size for p in self.folder.iterdir() if p.is_file()}
            return dict(
                entries=self._store.count(),
                identities=len(self._store.identities()),
                dim=self.dim,
                model=self.model,
                made_with=described(self._tied, self.made_with),
                preprocessing=self._tied['preprocessing'],
                factory=index.factory,
                trained_for=index.trained_for,
                search_width={k: v for k, v in vars(index.width).items() if v is not None},
                recall=dict(standing.measured),
                change=standing.change,
                bytes_on_disk=sum(sizes.values()),
            )

    # --- what was measured of it

    @property
    def tuning(self) -> dict[str, Any] | None:
        """What ``tune`` found last; None before that."""
        return self._store.meta('tuning')

    def set_tuning(self, found: Mapping[str, Any]) -> None:
        """Store what ``tune`` found."""
        self._set('tuning', dict(found))

    @property
    def calibration(self) -> dict[str, Any] | None:
        """What ``calibrate`` found last: ``threshold``, its interval and rates; None before that."""
        return self._store.meta('calibration')

    def set_calibration(self, found: Mapping[str, Any]) -> None:
        """Store a calibration: searches use its threshold from now on.

        Raises:
            InputError: If it has no threshold, or one that is no finite number.
        """
        if check_number(found.get('threshold'), 'threshold') is None:
            raise InputError(f'a calibration must have a threshold, got {dict(found)!r:.60}')
        self._set('calibration', dict(found))

    def _set(self, key: str, value: Any) -> None:
        with self._writing(f'set {key}'):
            writes.set_meta(self._store, key, value)
            self._changed()

    # --- its index

    def save(self) -> None:
        """Save the index, so that opening is quick."""
        with self._writing('save'):
            self._live.save()

    def optimize(self) -> None:
        """Save the index; train it anew before, where a tenth of the entries came after its training."""
        with self._writing('optimize'):
            self._live.optimize()

    def rebuild(self, factory: str | None = None) -> str:
        """Make index and manifest anew from the entries, trained for as many as there are now.

        Args:
            factory: FAISS's string, kept from now on; None chooses as before.

        Returns:
            The factory string; ``'Flat'`` while there are too few entries to train another.
        """
        if factory is not None:
            make_index(factory, self.dim)
        with self._writing('rebuild'):
            if factory is not None:
                writes.set_meta(self._store, 'factory', factory)
                self._acknowledge()
            return self._live.rebuild()

    def compact(self) -> None:
        """Forget removed entries, give their room back to the disk, and make the index anew."""
        with self._writing('compact'):
            writes.forget_removals(self._store)
            self._acknowledge()
            writes.vacuum(self._store)
            self._acknowledge()
            self._live.rebuild()

    @property
    def exact(self) -> bool:
        """Whether its index compares with all entries."""
        with self._live.current() as standing:
            return standing.index.exact

    def search_limits(self) -> Width:
        """The widest search that there is: None for what the index does not have."""
        with self._live.current() as standing:
            return standing.index.limits()

    def measure_recall(self, k: int, probes: int) -> RecallProbe:
        """Entries to measure recall with, half of them of the newest tenth."""
        return self._live.probe(k, probes)

    def copy_database(self, path: Path) -> None:
        """Copy the database, in one state, to a new file; others may write meanwhile."""
        with self._store.connections.untied() as connection:
            copy = sqlite3.connect(path)
            try:
                connection.backup(copy)
            finally:
                copy.close()

    def index_problems(self) -> list[str]:
        """What is wrong with the manifest and the saved index, one line each."""
        return self._live.saved.problems()

    def integrity_problems(self) -> list[str]:
        """What is wrong with the database as a whole, one line each."""
        try:
            integrity.check_integrity(self._store)
            return integrity.attribute_problems(self._store)
        except InputError as error:
            return [str(error)]

    def indexed(self) -> int:
        """Vectors in the index, once it is up to date."""
        with self._live.current() as standing:
            return standing.index.count

    def __enter__(self) -> Gallery:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
