"""Galleries copied from one place to another: what is there is not sent again, and all is compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from itertools import islice

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval.checks import Box
from mbv1_backbone.retrieval.conditions import metadata_json
from mbv1_backbone.retrieval.interface import GalleryLike
from mbv1_backbone.retrieval.records import Entry

__all__ = ['copy']

_BATCH = 500  # entries that are held at once
_FIELDS = [field.name for field in fields(Entry) if field.name not in ('id', 'metadata')]
Pair = tuple[Entry, np.ndarray]
Face = tuple[str, Box | None]


def copy(
    source: GalleryLike,
    target: GalleryLike,
    corrections: bool = True,
    progress: Callable[[int], object] | None = None,
) -> tuple[int, int]:
    """Make a gallery equal to another one: entries, embeddings to the bit, and the threshold.

    It goes on where an earlier copy was cut short. At the end both are read and compared; ids are the
    target's own. A folder is copied as it is at the beginning; on Milvus nobody should write meanwhile.

    Args:
        source: The gallery to copy, left as it is.
        target: Of the same model; empty, or what an earlier copy left.
        corrections: Whether what was said of faces comes with them, which only a folder keeps.
        progress: Called with a number of further entries that are sent, and again as they are compared.

    Returns:
        How many entries there are, and how many of them were sent now.

    Raises:
        InputError: If the target is of another model, or holds something else.
        UnavailableError: If a server does not answer; the same again goes on.
    """
    target.check_model_identity(source.model_identity, source.place)
    with source.one_state():
        count = len(source)
        if len(target) > count:
            raise InputError(
                f'{target.place} has {len(target)} entries, {source.place} only {count}: copy makes one that '
                'is equal, merge adds to one'
            )
        if corrections:
            _send_corrections(source, target)
        sent = _send(source, target, progress)
        _compare(source, target, progress)
    if len(target) != count:
        raise InputError(
            f'{target.place} has {len(target)} entries, {source.place} {count}: those that are too many come '
            'from elsewhere'
        )
    if (calibration := source.calibration) is not None and target.calibration != calibration:
        target.set_calibration(calibration)
    return count, sent


def _send_corrections(source: GalleryLike, target: GalleryLike) -> None:
    """Add what was said of faces; what the target has already of another mind is refused."""
    said = source.corrections()
    if others := set(target.corrections()) - set(said):
        first = min(others, key=lambda one: (one.identity, one.sha256))
        raise InputError(
            f'{target.place}: {len(others)} corrections of faces are not in {source.place}, e.g. of '
            f'{first.identity:.60}: copy to a new place'
        )
    if said:
        target.add_entries([], said)


def _send(source: GalleryLike, target: GalleryLike, progress: Callable[[int], object] | None) -> int:
    """Add what the target does not have; how much that was."""
    sent = 0
    with target.bulk():
        for batch in _batches(source.entries_with_vectors()):
            there = _by_face(target, batch)
            missing = [(entry, vector) for entry, vector in batch if _face(entry) not in there]
            if missing:
                sent += target.add_entries(missing).new
            if progress is not None:
                progress(len(batch))
    return sent


def _compare(source: GalleryLike, target: GalleryLike, progress: Callable[[int], object] | None) -> None:
    """Check that all entries of the source are in the target, as they are in the source."""
    for batch in _batches(source.entries_with_vectors()):
        there = _by_face(target, batch)
        ids = sorted(there[face].id for face in map(_face, (entry for entry, _ in batch)) if face in there)
        stored = {_face(entry): (entry, vector) for entry, vector in target.some(np.array(ids, np.int64))}
        for entry, vector in batch:
            if (other := stored.get(_face(entry))) is None:
                raise InputError(f'{target.place}: {entry.file} of {entry.identity:.60} is missing')
            if differs := _difference((entry, vector), other):
                raise InputError(
                    f'{target.place}: entry {other[0].id} ({entry.file:.100}) is not as in {source.place}: '
                    f'{differs}; remove it there, and copy again'
                )
        if progress is not None:
            progress(len(batch))


def _difference(mine: Pair, other: Pair) -> str:
    """In which field two entries of one face differ; empty where they do not."""
    for name in _FIELDS:
        here, there = getattr(mine[0], name), getattr(other[0], name)
        if here != there:
            return f'its {name} is {there!r:.60}, not {here!r:.60}'
    if metadata_json(mine[0].metadata) != metadata_json(other[0].metadata):
        return f'its metadata is {dict(other[0].metadata)!r:.60}, not {dict(mine[0].metadata)!r:.60}'
    return '' if np.array_equal(mine[1], other[1]) else 'its embedding is another'


def _by_face(gallery: GalleryLike, batch: Sequence[Pair]) -> dict[Face, Entry]:
    """What a gallery has of the faces of some entries."""
    found = gallery.faces([entry.sha256 for entry, _ in batch])
    return {_face(entry): entry for entries in found.values() for entry in entries}


def _face(entry: Entry) -> Face:
    return entry.sha256, entry.box


def _batches(pairs: Iterator[Pair]) -> Iterator[list[Pair]]:
    while batch := list(islice(pairs, _BATCH)):
        yield batch
