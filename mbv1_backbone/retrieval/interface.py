"""What every gallery promises: one in a folder (``Gallery``), and one on Milvus (``MilvusGallery``).

What the two do not promise alike is said in docs/milvus.md, and by name in tests/retrieval/test_kinds.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

import numpy as np

from mbv1_backbone.retrieval.answering import CALIBRATED
from mbv1_backbone.retrieval.conditions import Where
from mbv1_backbone.retrieval.records import Added, Correction, Entry, IdentityMatch, SearchResults

__all__ = ['GalleryLike']

Self = TypeVar('Self', bound='GalleryLike')


class GalleryLike(Protocol):
    """An open gallery of any kind; ``Gallery`` says what each method takes, gives and refuses.

    Attributes:
        read_only: Whether it can only be searched and read.
    """

    read_only: bool

    # --- what it is

    @property
    def place(self) -> str:
        """Where it is, as the verbs take it."""

    @property
    def dim(self) -> int:
        """Values in an embedding."""

    @property
    def model(self) -> str:
        """Fingerprint of the model that made the embeddings."""

    @property
    def model_identity(self) -> dict[str, Any]:
        """What never changes: ``model``, ``preprocessing``, ``dim`` and ``metric``."""

    @property
    def made_with(self) -> dict[str, Any]:
        """What people call its model (``model``) and more."""

    @property
    def calibration(self) -> dict[str, Any] | None:
        """What ``calibrate`` found last; None before that."""

    def set_made_with(self, made_with: Mapping[str, Any]) -> None:
        """Store what people call its model and more."""

    def set_calibration(self, found: Mapping[str, Any]) -> None:
        """Store a calibration: searches use its threshold from now on."""

    def check_model(self, model: str, preprocessing: Mapping[str, Any] | None = None) -> None:
        """Refuse a model that is not the gallery's."""

    def check_model_identity(self, identity: Mapping[str, Any], whose: str) -> None:
        """Refuse a ``model_identity`` that is not the gallery's."""

    def stats(self) -> dict[str, Any]:
        """Counts, index and sizes, for people."""

    # --- what it holds

    def __len__(self) -> int: ...

    def get(self, entry_id: int) -> Entry:
        """An entry."""

    def entries(
        self,
        identity: str | Sequence[str] | None = None,
        file: str | None = None,
        metadata: Where | None = None,
    ) -> Iterator[Entry]:
        """Entries, by id.

        Args:
            identity: Of these people only.
            file: Of this file only.
            metadata: With these values only.
        """

    def entries_with_vectors(self, **which: Any) -> Iterator[tuple[Entry, np.ndarray]]:
        """The same, each with its embedding (dimension,)."""

    def ids(self, **which: Any) -> np.ndarray:
        """Ids of the same entries, int64 (N,), ascending."""

    def some(self, ids: np.ndarray) -> Iterator[tuple[Entry, np.ndarray]]:
        """Entries of some ascending ids with their embeddings; those that are not there are left out."""

    def faces(self, hashes: Sequence[str]) -> dict[str, list[Entry]]:
        """Entries of image files, by SHA-256."""

    def known(self, hashes: Sequence[str]) -> set[str]:
        """Those of some SHA-256 whose files are in the gallery."""

    def identities(self) -> dict[str, int]:
        """Number of images of each person, in the order of their names."""

    def images_of(self, identities: Sequence[str]) -> dict[str, int]:
        """Number of images of those of some people that are there."""

    def metadata_kinds(self, key: str) -> set[str]:
        """Of which kinds the values of a metadata key are."""

    def corrections(self) -> list[Correction]:
        """All that was said of faces; always empty on Milvus."""

    def snapshot(self) -> AbstractContextManager[int]:
        """One state for this thread, with the number of its last change; on Milvus no such state, and 0."""

    def one_state(self) -> AbstractContextManager[int]:
        """The same of the entries alone, however long it takes."""

    # --- searching

    def search(
        self,
        vectors: Any,
        k: int = 5,
        threshold: float | str | None = CALIBRATED,
        identity: str | Sequence[str] | None = None,
        metadata: Where | None = None,
    ) -> SearchResults:
        """The ``k`` most alike entries of each embedding.

        Args:
            vectors: (N, dimension), normalised here.
            k: At least 1.
            threshold: Lowest score; by default the calibrated one; None gives all.
            identity: Among these people only.
            metadata: Among entries with these values only.
        """

    def search_identities(
        self,
        vectors: Any,
        k: int = 5,
        by: str = 'best',
        threshold: float | str | None = CALIBRATED,
        identity: str | Sequence[str] | None = None,
        metadata: Where | None = None,
    ) -> list[list[IdentityMatch]]:
        """The ``k`` most alike people of each embedding.

        Args:
            vectors: (N, dimension), normalised here.
            k: At least 1.
            by: ``'best'`` or ``'mean'`` score of a person's images.
            threshold: Lowest score, as of ``search``.
            identity: Among these people only.
            metadata: Among entries with these values only.
        """

    # --- changing

    def add(
        self,
        vectors: Any,
        identities: Sequence[str],
        files: Sequence[str],
        hashes: Sequence[str],
        metadata: Sequence[Mapping[str, Any]] | None = None,
        boxes: Sequence[Any] | None = None,
        landmarks: Sequence[Any] | None = None,
        detector_scores: Sequence[float | None] | None = None,
        qualities: Sequence[float | None] | None = None,
    ) -> Added:
        """Add faces of people.

        Args:
            vectors: (N, dimension), normalised here.
            identities: Whose face each is.
            files: Where each image came from.
            hashes: SHA-256 of each image file; a face that is there already is skipped.
            metadata: Free values for each.
            boxes: Of each face in its image, or None.
            landmarks: Of each face, or None.
            detector_scores: Of each face, or None.
            qualities: Of each face, or None.
        """

    def add_entries(
        self, pairs: Iterable[tuple[Entry, np.ndarray]], corrections: Iterable[Correction] = ()
    ) -> Added:
        """Add entries with their embeddings, as another gallery has them."""

    def remove(self, ids: Iterable[int] = (), identity: str | None = None, file: str | None = None) -> int:
        """Remove entries by id, by identity or by file.

        Args:
            ids: Of entries.
            identity: A person, all of whose entries go.
            file: A file, all of whose entries go; of the person only, where both are given.
        """

    def update(
        self,
        entry_id: int,
        metadata: Mapping[str, Any] | None = None,
        file: str | None = None,
        quality: float | None = None,
        keep: bool = False,
    ) -> None:
        """Replace what an entry says of itself.

        Args:
            entry_id: The entry.
            metadata: All of its metadata, but for ``folder``.
            file: Where its image lies now.
            quality: Of its face.
            keep: Whether keys that ``metadata`` does not name stay.
        """

    def remove_metadata(self, key: str) -> int:
        """Take a key out of the metadata of all entries that have it; how many had."""

    def rename(self, identity: str, new: str) -> int:
        """Give a person another name, that nobody has."""

    def merge_identities(self, identities: Sequence[str], into: str) -> int:
        """Make several names one person's."""

    def bulk(self) -> AbstractContextManager[None]:
        """Put the upkeep of the index off to the end of many additions."""

    def optimize(self) -> None:
        """Bring the index up to date, where it is the gallery's own."""

    # --- upkeep

    def integrity_problems(self) -> list[str]:
        """What is wrong with what is stored, one line each."""

    def index_problems(self) -> list[str]:
        """What is wrong with the index, one line each."""

    def indexed(self) -> int:
        """Vectors in the index."""

    def close(self) -> None:
        """Close it; it cannot be used afterwards."""

    def __enter__(self: Self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
