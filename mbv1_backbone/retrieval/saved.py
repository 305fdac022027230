"""The index and its catalog as files, and the manifest that says which they are and of what state."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import atomic_file, write_atomically
from mbv1_backbone.retrieval.catalog import Catalog
from mbv1_backbone.retrieval.index import SearchIndex
from mbv1_backbone.retrieval.index_file import read_index, write_index
from mbv1_backbone.retrieval.manifest import NAME, Manifest
from mbv1_backbone.retrieval.schema import FORMAT
from mbv1_backbone.retrieval.width import Width

__all__ = ['IndexState', 'SavedIndex']

_OURS = re.compile(r'(?P<name>index-\d+-[0-9a-f]{8})\.(faiss|npz)')
_UNFINISHED = re.compile(r'\.(index-\d+-[0-9a-f]{8}\.(faiss|npz)|manifest\.json)\..*\.tmp')


@dataclass
class IndexState:
    """An index, the names behind its rows, and the state of the database that they stand at.

    Attributes:
        index: The index.
        catalog: Of its rows.
        change: Number of the last change that it holds.
        state: Random id of the database's state after it.
        measured: Recall@10, of ``all`` and of the ``newest``, and how many ``entries`` there were.
        calibration: What the database says of it in this state.
    """

    index: SearchIndex
    catalog: Catalog
    change: int
    state: str
    measured: dict[str, Any]
    calibration: Mapping[str, Any] | None = None


class SavedIndex:
    """Index files in a gallery's folder.

    Args:
        folder: The gallery.
        identity: What the gallery is tied to: model, preprocessing, dimension, metric.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder = folder
        self._identity = identity

    def save(self, standing: IndexState) -> None:
        """Write the files, then the manifest, then remove the files that were there before.

        Raises:
            OSError: If they cannot be written.
        """
        name = f'index-{standing.change}-{os.urandom(4).hex()}'
        catalog = standing.catalog.to_bytes(standing.index.removed)
        with atomic_file(self.folder / f'{name}.faiss') as file:
            sha256 = write_index(standing.index, file)
        write_atomically(self.folder / f'{name}.npz', catalog)
        Manifest(
            **self._identity,
            format=FORMAT,
            factory=standing.index.factory,
            faiss=faiss.__version__,
            index=f'{name}.faiss',
            sha256=sha256,
            catalog=f'{name}.npz',
            catalog_sha256=hashlib.sha256(catalog).hexdigest(),
            change=standing.change,
            state=standing.state,
            trained_for=standing.index.trained_for,
            search_width=asdict(standing.index.width),
            recall=standing.measured,
        ).write(self.folder)
        for path in self.folder.iterdir():
            ours = _OURS.fullmatch(path.name)
            if (ours and ours['name'] != name) or _UNFINISHED.fullmatch(path.name):
                path.unlink(missing_ok=True)

    def load(self) -> IndexState | None:
        """What was saved; None where it is not there as it was saved."""
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
            try:
                return self._read(manifest, content, catalog)
            except (InputError, TypeError, ValueError, AttributeError):
                return None
        return None

    @staticmethod
    def _read(manifest: Manifest, content: np.ndarray, catalog_bytes: bytes) -> IndexState:
        catalog, removed = Catalog.from_bytes(catalog_bytes)
        index = read_index(content, manifest.factory, manifest.trained_for, manifest.dim, removed)
        index.width = Width(**manifest.search_width)
        return IndexState(index, catalog, manifest.change, manifest.state, dict(manifest.recall))

    def manifest(self) -> Manifest | None:
        """The manifest; None where a kill at creation has left none, or it is of an older format.

        Raises:
            InputError: If it is damaged, or says otherwise than the store.
        """
        if not (self.folder / NAME).exists() or (manifest := Manifest.read(self.folder)) is None:
            return None
        for key, value in dict(self._identity, format=FORMAT).items():
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
