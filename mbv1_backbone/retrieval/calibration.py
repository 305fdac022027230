"""A threshold that means something: computed for one gallery, from its own people and non-mated probes.

A non-mated probe, of somebody who is not enrolled, is a false positive where its best score reaches the
threshold; FPIR is the share of them for which it does, DIR the share of enrolled people's probes whose own
person comes first and reaches it (ISO/IEC 19795-1;
https://nvlpubs.nist.gov/nistpubs/ir/2019/NIST.IR.8271.pdf, section 3).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval.checks import check_vectors
from mbv1_backbone.retrieval.interface import GalleryLike
from mbv1_backbone.retrieval.records import Entry
from mbv1_backbone.retrieval.unnamed import is_alone

__all__ = ['Calibration', 'Compared', 'Curve', 'CurvePoint', 'calibrate', 'compare', 'curve']

_SEED = 1234
_DRAWS = 500  # of the bootstrap
_BLOCK = 1024  # entries that are held, and probes that are compared with them, at once


@dataclass(frozen=True)
class Calibration:
    """A gallery's threshold.

    Attributes:
        fpir: Wanted share of non-mated probes that are taken for somebody, 0..1.
        threshold: Score that keeps to it.
        low: Lower end of the threshold's 95 % confidence interval.
        high: Upper end.
        non_mated: Non-mated probes that it was computed from.
        dir: Share of enrolled people's probes that are found and named rightly at it, None without any.
        probes: Such probes.
        change: The gallery's change that it was computed at.
    """

    fpir: float
    threshold: float
    low: float
    high: float
    non_mated: int
    dir: float | None
    probes: int
    change: int


class CurvePoint(NamedTuple):
    """What a threshold does.

    Attributes:
        fpir: Share of non-mated probes that it lets be taken for somebody, 0..1; less among equal scores.
        threshold: A score.
        dir: As of ``Calibration``.
    """

    fpir: float
    threshold: float
    dir: float | None


@dataclass(frozen=True)
class Curve:
    """FPIR against DIR.

    Attributes:
        points: By ascending FPIR.
        non_mated: Non-mated probes.
        probes: Enrolled people's probes.
        change: The gallery's change that it was computed at.
    """

    points: tuple[CurvePoint, ...]
    non_mated: int
    probes: int
    change: int


@dataclass(frozen=True)
class Compared:
    """Best scores of probes.

    Attributes:
        change: The gallery's.
        best: Of non-mated probes (N,).
        groups: Numbers of the people that these stand in for (N,).
        right: Of enrolled people's probes (M,): own person's best score, minus infinity where another comes
            first.
    """

    change: int
    best: np.ndarray
    groups: np.ndarray
    right: np.ndarray

    def curve(self, points: int = 200) -> Curve:
        """FPIR against DIR, at points as of ``curve``.

        Raises:
            InputError: If there are too few non-mated probes for a curve: 2.
        """
        count = len(self.best)
        if count < 2:
            raise InputError(f'a curve needs 2 non-mated probes or more, got {count}')
        places = np.unique(np.geomspace(1, count - 1, points).round().astype(int)) / count
        thresholds = [_threshold(self.best, fpir) for fpir in places.tolist()]
        return Curve(
            points=tuple(
                CurvePoint(fpir, threshold, self.dir_at(threshold))
                for fpir, threshold in zip(places.tolist(), thresholds, strict=True)
            ),
            non_mated=count,
            probes=len(self.right),
            change=self.change,
        )

    def dir_at(self, threshold: float) -> float | None:
        """The share of enrolled people's probes that are named rightly; None without any."""
        return float((self.right >= threshold).mean()) if len(self.right) else None


def calibrate(gallery: GalleryLike, fpir: float, non_mated: Any = None, sample: int = 20_000) -> Calibration:
    """Compute a gallery's threshold and store it in the gallery.

    Faces alone that nobody has named are left out, since they may be anybody's; groups count as people.
    Every enrolled image stands in for a non-mated probe, compared with all other people's images; where
    embeddings of people who are not enrolled are given, they are compared with all. For DIR every image of
    a person with several is compared with all the others. Entries are read block by block, and never held.

    Args:
        gallery: At least two people, or one and non-mated probes.
        fpir: Wanted rate, in (0, 1).
        non_mated: Embeddings (N, dimension) of people who are not in the gallery, in place of the stand-ins.
        sample: At most so many images are compared, drawn without order.

    Raises:
        InputError: If the rate is out of its range, or there are too few non-mated probes: 1 / fpir.
    """
    if not 0 < fpir < 1:
        raise InputError(f'fpir must lie between 0 and 1, got {fpir}')
    compared = compare(gallery, non_mated, sample)
    best = compared.best
    if len(best) * fpir < 1:
        raise InputError(
            f'an FPIR of {fpir:g} needs {np.ceil(1 / fpir):.15g} non-mated probes or more, got {len(best)}'
        )
    threshold = _threshold(best, fpir)
    low, high = _interval(best, compared.groups, fpir)
    found = Calibration(
        fpir=fpir,
        threshold=threshold,
        low=low,
        high=high,
        non_mated=len(best),
        dir=compared.dir_at(threshold),
        probes=len(compared.right),
        change=compared.change,
    )
    gallery.set_calibration(asdict(found))
    return found


def curve(gallery: GalleryLike, points: int = 200, sample: int = 20_000) -> Curve:
    """What ``calibrate`` would find for every rate, and store nothing: FPIR against DIR.

    Args:
        gallery: At least two people.
        points: Of the curve, at most; the rates between them grow by an equal factor.
        sample: As of ``calibrate``.

    Raises:
        InputError: If there are too few non-mated probes for a curve: 2.
    """
    return compare(gallery, sample=sample).curve(points)


def compare(gallery: GalleryLike, non_mated: Any = None, sample: int = 20_000) -> Compared:
    """The best scores of probes, from which every threshold and curve follow; all is as of ``calibrate``.

    Args:
        gallery: At least two people, or one and non-mated probes.
        non_mated: Embeddings (N, dimension) of people who are not in the gallery, in place of the stand-ins.
        sample: At most so many images are compared.
    """
    given = None if non_mated is None else check_vectors(non_mated, gallery.dim, 'non-mated probes')
    with gallery.one_state() as change:
        people = list(gallery.identities())
        known = [name for name in people if not is_alone(name)]
        which = {} if len(known) == len(people) else dict(identity=known)
        ids = gallery.ids(**which)
        blocks = _blocks(gallery.dim, gallery.some(ids[_drawn(len(ids), sample)]))
        drawn = _Columns(*(np.concatenate(column) for column in zip(*blocks, strict=True)))
        blocks = _blocks(gallery.dim, gallery.entries_with_vectors(**which))
        other, own, best = _best_scores(drawn, given, blocks)
    groups = drawn.people if given is None else np.arange(len(given))
    best = other if given is None else best
    several, finite = np.isfinite(own), np.isfinite(best)
    right = np.where(own > other, own, -np.inf)[several]
    return Compared(change, best[finite], groups[finite], right)


def _drawn(count: int, max_items: int) -> np.ndarray:
    if count <= max_items:
        return np.arange(count)
    return np.sort(np.random.default_rng(_SEED).choice(count, max_items, replace=False))


class _Columns(NamedTuple):
    """Some entries: ids (N,), a number for each person's name (N,), and vectors (N, dimension)."""

    ids: np.ndarray
    people: np.ndarray
    vectors: np.ndarray


def _number(name: str) -> int:
    """A number for a name: 64 bits of its BLAKE2b, since the names themselves may be too many to hold."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), 'little', signed=True)


def _blocks(dim: int, pairs: Iterator[tuple[Entry, np.ndarray]]) -> Iterator[_Columns]:
    """Entries in blocks; where there are none, an empty one."""
    block = list(islice(pairs, _BLOCK))
    while True:
        yield _Columns(
            np.array([entry.id for entry, _ in block], np.int64),
            np.array([_number(entry.identity) for entry, _ in block], np.int64),
            np.array([vector for _, vector in block], np.float32).reshape(-1, dim),
        )
        if not (block := list(islice(pairs, _BLOCK))):
            return


def _best_scores(
    probes: _Columns, given: np.ndarray | None, blocks: Iterable[_Columns]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Best scores among entries that come in blocks.

    Returns:
        For each probe its best score with another person's image, and with another image of its own person;
        for each given vector (M, dimension) its best score with any. Where there is none, minus infinity.
    """
    other, own = np.full(len(probes.ids), -np.inf), np.full(len(probes.ids), -np.inf)
    best = np.full(0 if given is None else len(given), -np.inf)
    for block in blocks:
        if not len(block.ids):
            continue
        for start in range(0, len(best), _BLOCK):
            part: Any = slice(start, start + _BLOCK)
            best[part] = np.maximum(best[part], (given[part] @ block.vectors.T).max(axis=1))  # type: ignore
        order = np.argsort(block.people, kind='stable')
        for start in range(0, len(other), _BLOCK):
            part = slice(start, start + _BLOCK)
            scores = probes.vectors[part] @ block.vectors.T
            rows, columns = _same(probes.people[part], block.people, order)
            genuine = scores[rows, columns]
            genuine[probes.ids[part][rows] == block.ids[columns]] = -np.inf  # the image itself
            np.maximum.at(own[part], rows, genuine)
            scores[rows, columns] = -np.inf
            other[part] = np.maximum(other[part], scores.max(axis=1))
    return other, own, best


def _same(probes: np.ndarray, people: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs (probe, entry) of one person, as places; ``order`` sorts the entries by person."""
    ascending = people[order]
    first, end = np.searchsorted(ascending, probes, 'left'), np.searchsorted(ascending, probes, 'right')
    counts = end - first
    rows = np.repeat(np.arange(len(probes)), counts)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows, order[np.repeat(first, counts) + within]


def _threshold(best: np.ndarray, fpir: float) -> float:
    """The lowest score that at most a share of ``fpir`` of the probes reach: just above the next one."""
    ordered = np.sort(best)[::-1]
    allowed = int(np.floor(fpir * len(ordered) + 1e-9))
    return float(np.nextafter(np.float32(ordered[min(allowed, len(ordered) - 1)]), np.float32(2)))


def _interval(best: np.ndarray, groups: np.ndarray, fpir: float) -> tuple[float, float]:
    """95 % of the thresholds of bootstrap draws; people are drawn, not images, as images of one are alike."""
    generator = np.random.default_rng(_SEED)
    order = np.argsort(groups, kind='stable')
    members = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    thresholds = []
    for _ in range(_DRAWS):
        drawn = generator.integers(0, len(members), len(members))
        thresholds.append(_threshold(best[np.concatenate([members[i] for i in drawn])], fpir))
    return float(np.quantile(thresholds, 0.025)), float(np.quantile(thresholds, 0.975))
