"""What goes into a gallery, of any kind: columns become entries, and all of it is checked."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval.checks import (
    check_box,
    check_landmarks,
    check_number,
    check_sha256,
    check_text,
    check_time,
    check_vectors,
)
from mbv1_backbone.retrieval.conditions import metadata_json
from mbv1_backbone.retrieval.records import FOLDER, Added, Correction, Entry

__all__ = ['TakesFaces', 'changed_entry', 'checked_entry', 'checked_pairs', 'name_taken']

_BATCH = 500  # entries that are checked at once


class TakesFaces(ABC):
    """A gallery of any kind, as far as faces are added to it by columns."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Values in an embedding."""

    @abstractmethod
    def add_entries(
        self, pairs: Iterable[tuple[Entry, np.ndarray]], corrections: Iterable[Correction] = ()
    ) -> Added:
        """Add entries with their embeddings, as another gallery has them."""

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
        """Add faces of people, as ``add_entries`` adds entries.

        In a folder that is one change: all of them or, after an error, none. On Milvus 500 go in a request,
        and after an error those that were acknowledged stay.

        Args:
            vectors: (N, dimension), normalised here.
            identities: Whose face each is.
            files: Where each image came from.
            hashes: SHA-256 of each image file; a face (file and box) that is there already is skipped.
            metadata: Free values for each.
            boxes: Of each face in its image, (x0, y0, x1, y1) in pixels, kept as whole ones; None for an
                image that is the face.
            landmarks: Of each face, (x, y) pairs in pixels, or None.
            detector_scores: How sure the detector was of each, or None.
            qualities: Of each face for recognition, or None.

        Raises:
            InputError: If a value is wrong.
            LockedError: If another writer is at work on a folder.
            NoSpaceError: If its disk is full.
            UnavailableError: If the server does not answer.
        """
        array = check_vectors(vectors, self.dim)
        required = dict(identities=identities, files=files, hashes=hashes)
        optional = dict(
            metadata=metadata,
            boxes=boxes,
            landmarks=landmarks,
            **{'detector scores': detector_scores, 'qualities': qualities},
        )
        return self.add_entries(_pairs_of(array, required, optional))


def checked_entry(entry: Entry) -> Entry:
    """An entry as a gallery takes it, without its id.

    Raises:
        InputError: If a value is wrong.
    """
    return Entry(
        id=0,
        identity=check_text(entry.identity, 'identity'),
        file=check_text(entry.file, 'file'),
        sha256=check_sha256(entry.sha256),
        added=check_time(entry.added),
        metadata=entry.metadata,
        box=check_box(entry.box),
        landmarks=check_landmarks(entry.landmarks),
        detector_score=check_number(entry.detector_score, 'detector_score'),
        quality=check_number(entry.quality, 'quality'),
    )


def checked_pairs(pairs: Iterator[tuple[Entry, np.ndarray]], dim: int) -> Iterator[tuple[Entry, np.ndarray]]:
    """Entries and their embeddings as a gallery takes them, some hundred at a time as they come.

    Args:
        pairs: The entries and their embeddings (dim,).
        dim: Values in an embedding.

    Raises:
        InputError: If a value is wrong.
    """
    while batch := list(islice(pairs, _BATCH)):
        try:
            array = np.stack([np.asarray(vector) for _, vector in batch])
        except ValueError as error:
            raise InputError(f'embeddings must be of shape (N, {dim}): {error}') from error
        for (entry, _), vector in zip(batch, check_vectors(array, dim), strict=True):
            yield checked_entry(entry), vector


def _pairs_of(
    array: np.ndarray, columns: Mapping[str, Sequence[Any]], optional: Mapping[str, Sequence[Any] | None]
) -> Iterator[tuple[Entry, np.ndarray]]:
    """Entries with their embeddings, of the columns that ``add`` takes.

    Args:
        array: float32 (N, dimension), checked.
        columns: ``identities``, ``files`` and ``hashes``, as messages call them.
        optional: The others by name, in the order of ``Entry``'s fields; None where nothing is given.

    Raises:
        InputError: If a column is not of the embeddings' number.
    """
    full: dict[str, Sequence[Any]] = dict(columns)
    for name, column in optional.items():
        nothing: Any = {} if name == 'metadata' else None
        full[name] = [nothing] * len(array) if column is None else list(column)
    if wrong := [name for name, column in full.items() if len(column) != len(array)]:
        raise InputError(f'{len(array)} embeddings need as many {wrong[0]}, got {len(full[wrong[0]])}')
    now = time.time()
    entries = (
        Entry(0, identity, file, sha256, now, *rest)
        for identity, file, sha256, *rest in zip(*full.values(), strict=True)
    )
    return zip(entries, array, strict=True)


def changed_entry(
    metadata: Mapping[str, Any] | None, file: str | None, quality: float | None, keep: bool
) -> Callable[[Entry], Entry]:
    """What ``update`` makes of an entry; what is not given stays.

    Args:
        metadata: All of its metadata, but for the key ``folder``, which stays unless it is given.
        file: Where its image lies now.
        quality: Of its face.
        keep: Whether keys that ``metadata`` does not name stay.

    Raises:
        InputError: If a value is wrong.
    """
    new: dict[str, Any] = {}
    given: dict[str, Any] | None = None
    if metadata is not None:
        metadata_json(metadata)
        given = dict(metadata)
    if file is not None:
        new['file'] = check_text(file, 'file')
    if quality is not None:
        new['quality'] = check_number(quality, 'quality')

    def changed(entry: Entry) -> Entry:
        if given is None:
            return replace(entry, **new)
        kept = {key: value for key, value in entry.metadata.items() if keep or key == FOLDER}
        return replace(entry, metadata={**kept, **given}, **new)

    return changed


def name_taken(place: object, name: str) -> InputError:
    """Why a person of a gallery is not renamed to somebody else's name."""
    return InputError(
        f'{place}: there is a {name!r:.60} already: merge_identities '
        '(mbv1 gallery merge-people) makes the two one'
    )
