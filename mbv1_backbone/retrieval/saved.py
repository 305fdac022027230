"""The index and its catalog as files, and the manifest that says which they are and of what state."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import faiss

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import HashedWriter, atomic_file
from mbv1_backbone.retrieval.catalog import Catalog
from mbv1_backbone.retrieval.index import SearchIndex
from mbv1_backbone.retrieval.index_file import digest_of, is_mapped, read_index, write_index
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
        with atomic_file(self.folder / f'{name}.faiss') as file:
            sha256 = write_index(standing.index, file)
        with atomic_file(self.folder / f'{name}.npz') as file:
            names = HashedWriter(file)
            standing.catalog.write(names, standing.index.removed)
        Manifest(
            **self._identity,
            format=FORMAT,
            factory=standing.index.factory,
            faiss=faiss.__version__,
            index=f'{name}.faiss',
            sha256=sha256,
            catalog=f'{name}.npz',
            catalog_sha256=names.digest.hexdigest(),
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

    def load(self, checked: bool = False) -> IndexState | None:
        """What was saved; None where it is not there as it was saved.

        Args:
            checked: Whether the files are known to be what the manifest says, since they were just written.
        """
        for _ in range(3):  # a writer may put newer ones in their place meanwhile
            if (manifest := self.manifest()) is None:
                return None
            try:
                with (
                    open(self.folder / manifest.index, 'rb') as index,
                    open(self.folder / manifest.catalog, 'rb') as catalog,
                ):
                    if not checked and not _is_as_saved(manifest, index, catalog):
                        return None
                    return self._read(manifest, index, catalog)
            except OSError:
                continue
            except (InputError, TypeError, ValueError, AttributeError):
                return None
        return None

    @staticmethod
    def _read(manifest: Manifest, index_file: BinaryIO, catalog_file: BinaryIO) -> IndexState:
        size = os.fstat(catalog_file.fileno()).st_size
        catalog, removed = Catalog.read(catalog_file, is_mapped(size))
        index = read_index(index_file, manifest.factory, manifest.trained_for, manifest.dim, removed)
        index.width = Width(**manifest.search_width)
        return IndexState(index, catalog, manifest.change, manifest.state, dict(manifest.recall))

    def is_mapped(self) -> bool:
        """Whether the saved index is so large that it is used where it lies."""
        manifest = self.manifest()
        return manifest is not None and is_mapped((self.folder / manifest.index).stat().st_size)

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


def _is_as_saved(manifest: Manifest, index: BinaryIO, catalog: BinaryIO) -> bool:
    found = digest_of(index), digest_of(catalog)
    return found == (manifest.sha256, manifest.catalog_sha256)
