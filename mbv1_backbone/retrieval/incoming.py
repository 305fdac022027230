"""What goes into a gallery, of any kind: columns become entries, and all of it is checked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from mbv1_backbone.retrieval.records import FOLDER, Entry

__all__ = ['changed_entry', 'checked_entry', 'checked_pairs', 'pairs_of']

_BATCH = 500  # entries that are checked at once


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


def pairs_of(
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
