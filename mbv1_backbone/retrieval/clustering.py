"""Grouping the faces of a gallery that nobody has named, by the gallery's own neighbours.

Average linkage (``linkage``) of each face and its most alike ones, as the index finds them, so that no matrix
of all pairs is ever held. What people have said stays: faces that were split or corrected stay apart, groups
that were merged or split stay together, and two faces of one photograph are never one person.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval.apart import is_label
from mbv1_backbone.retrieval.checks import check_number
from mbv1_backbone.retrieval.gallery import Gallery
from mbv1_backbone.retrieval.groups import Faces, Grouping, describe, give_names
from mbv1_backbone.retrieval.linkage import average_linkage
from mbv1_backbone.retrieval.records import Entry
from mbv1_backbone.retrieval.unnamed import is_group, is_unnamed

__all__ = ['cluster', 'cluster_all', 'estimate_threshold']

_BLOCK = 1024  # pairs whose scores are computed at once
_PAIRS = 200_000  # drawn to estimate the threshold
_DEVIATIONS = 4.0  # from the mean of impostor pairs
_SEED = 1234
_SETTLED = 'settled'  # a key of groups that people have looked at: those are not merged with each other


def cluster(gallery: Gallery, threshold: float | None = None) -> Grouping:
    """Group the faces that nobody has named, and name the groups: ``group-0123456789``.

    A group keeps its name where most of it stays together. Named people are left as they are; where a group
    looks like one of them, it says so.

    Args:
        gallery: Open for writing.
        threshold: Mean cosine of two groups from which on they are one, -1..1; by default the calibrated
            one, and where there is none ``estimate_threshold``.

    Raises:
        InputError: If the threshold is out of its range.
        LockedError: If another writer is at work.
    """
    faces = Faces.read(gallery, [name for name in gallery.identities() if is_unnamed(name)])
    threshold, origin = _threshold(gallery, faces, threshold)
    settled = _settled(gallery, faces)
    labels = average_linkage(
        faces.vectors,
        faces.neighbours(gallery, threshold),
        threshold,
        start=_start(faces, settled),
        keys=[
            [entry.sha256, _SETTLED] if place in settled else [entry.sha256]
            for place, entry in enumerate(faces.entries)
        ],
        apart=_apart(gallery, faces),
    )
    groups = give_names(gallery, faces, labels, settled)
    names = faces.names_of(groups)
    changed = gallery.regroup(names, {entry.id: entry.identity for entry in faces.entries})
    described = tuple(describe(gallery, faces, groups, threshold))
    alone = tuple(entry_id for entry_id, name in names.items() if not is_group(name))
    return Grouping(threshold, origin, described, alone, changed)


def cluster_all(gallery: Gallery, threshold: float | None = None) -> tuple[float, list[Entry], np.ndarray]:
    """Group all faces as if nobody had a name, and change nothing: to measure it on people who are known.

    Args:
        gallery: Of known people.
        threshold: As of ``cluster``.

    Returns:
        The threshold, the entries, and the number of the group of each, int64 (N,).

    Raises:
        InputError: If the threshold is out of its range.
    """
    faces = Faces.read(gallery, None)
    threshold, _ = _threshold(gallery, faces, threshold)
    labels = average_linkage(
        faces.vectors,
        faces.neighbours(gallery, threshold),
        threshold,
        keys=[[entry.sha256] for entry in faces.entries],
    )
    return threshold, faces.entries, labels


def estimate_threshold(vectors: np.ndarray) -> float:
    """A threshold from faces alone, whoever they are: four standard deviations above an impostor pair.

    Of pairs that are drawn from many people nearly all are impostors. Their mean and deviation are taken
    from the lower tail (the quantiles that lie one and two deviations below the mean of a normal
    distribution), where the pairs of one person hardly are. About one in ten thousand impostor pairs scores
    four deviations above the mean or more.

    Args:
        vectors: float32 (N, dimension), of length 1.

    Returns:
        A cosine, at most 1; 1 where there are fewer than two faces.
    """
    count = len(vectors)
    if count < 2:
        return 1.0
    if count * (count - 1) // 2 <= _PAIRS:
        one, other = np.triu_indices(count, 1)
    else:
        generator = np.random.default_rng(_SEED)
        one = generator.integers(0, count, _PAIRS)
        other = (one + generator.integers(1, count, _PAIRS)) % count
    scores = np.concatenate(
        [
            np.einsum('ij,ij->i', vectors[one[i : i + _BLOCK]], vectors[other[i : i + _BLOCK]])
            for i in range(0, len(one), _BLOCK)
        ]
    )
    far, near = np.quantile(scores, (0.0228, 0.1587))
    return float(min(1.0, near + (1 + _DEVIATIONS) * (near - far)))


def _threshold(gallery: Gallery, faces: Faces, given: float | None) -> tuple[float, str]:
    if (number := check_number(given, 'threshold')) is not None:
        if not -1 <= number <= 1:
            raise InputError(f'threshold must lie in -1..1, as scores do, got {given!r:.60}')
        return number, 'given'
    calibration = gallery.calibration
    if calibration is not None:
        return float(calibration['threshold']), 'calibrated'
    return estimate_threshold(faces.vectors), 'estimated'


def _settled(gallery: Gallery, faces: Faces) -> dict[int, str]:
    """Places of faces that people have said to belong to their group, and its name."""
    right = {(one.sha256, one.box, one.identity) for one in gallery.corrections() if one.correct}
    return {
        place: entry.identity
        for place, entry in enumerate(faces.entries)
        if is_group(entry.identity) and (entry.sha256, entry.box, entry.identity) in right
    }


def _start(faces: Faces, settled: Mapping[int, str]) -> np.ndarray:
    """The clusters to begin with, (N,): those of settled groups, and each other face by itself."""
    start = np.arange(len(faces.entries))
    first: dict[str, int] = {}
    for place, name in settled.items():
        start[place] = first.setdefault(name, place)
    return start


def _apart(gallery: Gallery, faces: Faces) -> list[tuple[set[int], set[int]]]:
    """Places of faces that were said not to be of a group, and of those that are or were of it."""
    place_of = {(entry.sha256, entry.box): place for place, entry in enumerate(faces.entries)}
    out: dict[str, set[int]] = defaultdict(set)
    group: dict[str, set[int]] = defaultdict(set)
    for place, entry in enumerate(faces.entries):
        group[entry.identity].add(place)
    for one in gallery.corrections():
        if (face := (one.sha256, one.box)) not in place_of:
            continue
        if not one.correct:
            out[one.identity].add(place_of[face])
        elif is_label(one.identity):
            group[one.identity].add(place_of[face])
    return [(places, group[name]) for name, places in out.items() if name in group]
