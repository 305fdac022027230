"""The groups that clustering finds in a gallery: their faces, their names, and what is said of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mbv1_backbone.retrieval.gallery import Gallery
from mbv1_backbone.retrieval.records import Entry
from mbv1_backbone.retrieval.unnamed import group_name, is_group, is_unnamed, unnamed

__all__ = ['Faces', 'Group', 'Grouping', 'describe', 'give_names']

_NEIGHBOURS = 50  # of each face, at most
_BLOCK = 16_384  # faces that are searched for at once: names of all are sorted for each search
_ROUNDED = 0.01  # by which scores of an index may lie below the true ones


@dataclass(frozen=True)
class Group:
    """Faces that belong together.

    Attributes:
        identity: Its automatic name.
        ids: Of its entries, ascending.
        photographs: How many image files they are in.
        cohesion: Mean cosine of its pairs, -1..1.
        like: The most alike person who has a name, and the mean vector's score; None where nobody reaches
            the threshold.
    """

    identity: str
    ids: tuple[int, ...]
    photographs: int
    cohesion: float
    like: tuple[str, float] | None = None


@dataclass(frozen=True)
class Grouping:
    """What clustering found.

    Attributes:
        threshold: Mean cosine of two groups from which on they are one.
        origin: Where it came from: ``given``, ``calibrated`` or ``estimated``.
        groups: The largest first.
        alone: Ids of the faces that are in none.
        changed: How many entries have got another name.
    """

    threshold: float
    origin: str
    groups: tuple[Group, ...]
    alone: tuple[int, ...]
    changed: int


@dataclass(frozen=True)
class Faces:
    """Some entries, by id, with their vectors (N, dimension).

    Attributes:
        names: Of the people among whom neighbours are looked for; None for all.
    """

    entries: list[Entry]
    vectors: np.ndarray
    names: list[str] | None

    @classmethod
    def read(cls, gallery: Gallery, names: list[str] | None) -> Faces:
        """Read the faces of some people, or of all."""
        pairs = list(gallery.entries_with_vectors(identity=names)) if names is None or names else []
        vectors = np.array([vector for _, vector in pairs], np.float32).reshape(-1, gallery.dim)
        everybody = names is not None and len(pairs) == len(gallery)
        return cls([entry for entry, _ in pairs], vectors, None if everybody else names)

    def names_of(self, groups: Mapping[str, Sequence[int]]) -> dict[int, str]:
        """The name of each entry, by id, where some are in groups and the others alone."""
        names = {entry.id: unnamed(entry.sha256, entry.box) for entry in self.entries}
        for name, mine in groups.items():
            names |= dict.fromkeys((self.entries[place].id for place in mine), name)
        return names

    def neighbours(self, gallery: Gallery, threshold: float) -> np.ndarray:
        """Pairs of places (M, 2) of faces that reach the threshold, of each face the most alike ones."""
        ids = np.array([entry.id for entry in self.entries], np.int64)
        floor = max(-1.0, threshold - _ROUNDED)
        found = [np.empty((0, 2), np.int64)]
        for begin in range(0, len(ids), _BLOCK):
            block = self.vectors[begin : begin + _BLOCK]
            for place, near in enumerate(gallery.search(block, _NEIGHBOURS + 1, floor, self.names), begin):
                places = np.searchsorted(ids, near.ids)
                known = ids[np.minimum(places, len(ids) - 1)] == near.ids  # not what came meanwhile
                found.append(np.stack([np.full(known.sum(), place), places[known]], axis=1))
        return np.concatenate(found)


def _members(labels: np.ndarray) -> list[list[int]]:
    """Places of each cluster."""
    members: list[list[int]] = [[] for _ in range(int(labels.max(initial=-1)) + 1)]
    for place, label in enumerate(labels.tolist()):
        members[label].append(place)
    return members


def give_names(
    gallery: Gallery, faces: Faces, labels: np.ndarray, settled: Mapping[int, str]
) -> dict[str, list[int]]:
    """Name the clusters of several faces: as before where most of one had a name, anew where not.

    Args:
        gallery: Whose other names are taken, and those of which something was said.
        faces: That were clustered.
        labels: The cluster of each, int (N,).
        settled: The names of those by their places that people have said to be right.

    Returns:
        The name of each, and the places of its faces; faces alone are left out.
    """
    named: dict[str, list[int]] = {}
    groups = [mine for mine in _members(labels) if len(mine) > 1 or mine[0] in settled]
    claims = []
    for number, mine in enumerate(groups):
        fixed = {settled[place] for place in mine if place in settled}
        for name, count in Counter(faces.entries[place].identity for place in mine).items():
            if is_group(name):
                claims.append((name not in fixed, -count, number, name))
    left = dict(enumerate(groups))
    for _, _, number, name in sorted(claims):
        if number in left and name not in named:
            named[name] = left.pop(number)
    taken = {*gallery.identities(), *named, *(one.identity for one in gallery.corrections())}
    for mine in left.values():
        name = group_name([(faces.entries[place].sha256, faces.entries[place].box) for place in mine], taken)
        taken.add(name)
        named[name] = mine
    return named


def describe(
    gallery: Gallery, faces: Faces, members: Mapping[str, Sequence[int]], threshold: float
) -> list[Group]:
    """What is to be said of groups, the largest first.

    Args:
        gallery: With the people that they may be like.
        faces: That were clustered.
        members: The name of each group, and the places of its faces.
        threshold: Score of a group that is like somebody, at least.
    """
    sums = np.array([faces.vectors[list(mine)].sum(axis=0, dtype=np.float64) for mine in members.values()])
    likes = _likes(gallery, faces, list(members.values()), sums, threshold)
    groups = []
    for (name, mine), total, like in zip(members.items(), sums, likes, strict=True):
        count = len(mine)
        groups.append(
            Group(
                identity=name,
                ids=tuple(faces.entries[place].id for place in mine),
                photographs=len({faces.entries[place].sha256 for place in mine}),
                cohesion=float(total @ total - count) / (count * (count - 1)) if count > 1 else 1.0,
                like=like,
            )
        )
    return sorted(groups, key=lambda group: (-len(group.ids), group.ids))


def _likes(
    gallery: Gallery, faces: Faces, members: Sequence[Sequence[int]], sums: np.ndarray, threshold: float
) -> list[tuple[str, float] | None]:
    """The named person whom each group looks like, if there is one that it can be."""
    people = [name for name in gallery.identities() if not is_unnamed(name)]
    likes: list[tuple[str, float] | None] = [None] * len(members)
    if not people or not members:
        return likes
    wrong = {(one.sha256, one.box, one.identity) for one in gallery.corrections() if not one.correct}
    for number, near in enumerate(gallery.search(sums, 1, threshold, people)):
        if not near:
            continue
        name, entries = near[0].identity, [faces.entries[place] for place in members[number]]
        beside = gallery.faces(sorted({entry.sha256 for entry in entries}))
        others = {one.identity for same in beside.values() for one in same}
        if name not in others and not any((one.sha256, one.box, name) in wrong for one in entries):
            likes[number] = name, near[0].score
    return likes
