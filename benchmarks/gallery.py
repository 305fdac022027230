"""A gallery beside other engines: the same people, at equal recall, in one run."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from benchmarks.engines import Engine, K, Tuned, measure, recall, tune
from benchmarks.gallery_costs import PARTS, apart, build, bytes_on_disk, changes, opened, part_of, resident
from benchmarks.other_engines import RIVALS, FaissLists, lists_ladders
from benchmarks.people import People
from benchmarks.rivals import CONSTRUCTION, Rival, built
from mbv1_backbone.common.errors import NotInstalledError
from mbv1_backbone.retrieval import Condition, Gallery
from mbv1_backbone.retrieval.width import OWN_WIDTH, Width

SHARES = (0.5, 0.1, 0.01, 0.001)  # of the entries that a filter lets pass
NEWEST = 10  # a tenth of the entries comes after the index was trained
_FIRST = 100  # searches after which memory is looked at


class GalleryEngine(Engine):
    """An open gallery, whose entries have the ids 1, 2, 3 ...

    Args:
        gallery: The gallery.
        conditions: Look among these entries only.
        records: Whether every match is read as a record, with name and file, as Qdrant gives them.
    """

    name = 'gallery'

    def __init__(
        self, gallery: Gallery, conditions: Sequence[Condition] | None = None, records: bool = False
    ) -> None:
        self.gallery = gallery
        self.conditions = list(conditions) if conditions else None
        self.records = records

    @property
    def ladders(self) -> Sequence[Sequence[Width]]:
        """Widths of the index that it has."""
        limits = self.gallery.search_limits()
        if limits.nprobe is None:
            return [[OWN_WIDTH]]
        return [[Width(*setting) for setting in _settings(row)] for row in lists_ladders(limits.nprobe)]

    def search(self, probes: np.ndarray, k: int, setting: Width) -> list[Any]:
        """The matches of each probe."""
        found = self.gallery.search(probes, k, None, metadata=self.conditions, **vars(setting))
        return [list(row) for row in found] if self.records else [row.ids for row in found]

    def rows(self, found: list[Any]) -> np.ndarray:
        """Rows in the order of adding."""
        width = max(map(len, found), default=0)
        rows: np.ndarray = np.full((len(found), width), -1)
        for row, ids in zip(rows, found, strict=True):
            row[: len(ids)] = np.asarray([match.id for match in ids] if self.records else ids) - 1
        return rows

    def set_threads(self, count: int) -> None:
        """Of FAISS."""
        faiss.omp_set_num_threads(count)


def compare(
    people: People,
    folder: Path,
    cache: Path,
    rivals: Sequence[str],
    rounds: int,
    construction: int = CONSTRUCTION,
    notice: Callable[[str], object] = print,
) -> dict[str, Any]:
    """All figures of one set of people.

    Args:
        people: Embeddings to enrol and to search for.
        folder: Where the gallery is made; emptied before and after.
        cache: Where other engines' indexes are kept, of any people.
        rivals: Names of ``RIVALS``, or ``faiss`` for the gallery's index without the gallery.
        rounds: Times that searches are timed.
        construction: Candidates for the neighbours of a new entry of a graph.
        notice: Told of an engine that is left out.

    Returns:
        ``engines``: of each its setting, recall, times, bytes an entry and curve; ``filters``: the same of
        searches among some; ``gallery``: its building, opening, adding and removing.
    """
    truth = exact(people.vectors, people.probes)
    shutil.rmtree(folder, ignore_errors=True)
    about = build(folder, people.vectors, people.people, late=len(people.vectors) // NEWEST)
    about['memory'], about['resident'], about['open_s'] = apart(opened, folder)
    kept = cache / _fingerprint(people.vectors)
    engines, costs = _rivals(people, kept, rivals, about['index'], construction, notice)
    with Gallery(folder) as gallery:
        ours = GalleryEngine(gallery)
        tuned = {name: tune(one, people.probes, truth) for name, one in {'gallery': ours, **engines}.items()}
        ways = {name: (one, tuned[name].setting) for name, one in {'gallery': ours, **engines}.items()}
        ways['gallery, its own width'] = (ours, OWN_WIDTH)
        ways['gallery, records read'] = (GalleryEngine(gallery, records=True), tuned['gallery'].setting)
        found = measure(ways, people.probes, rounds)
        for name, (engine, setting) in ways.items():
            engine.set_threads(os.cpu_count() or 1)
            found[name] |= _recalls(engine, setting, people, truth)
        filters = _filtered(gallery, people, rounds)
    for name, one in tuned.items():
        found[name] |= _described(one) | costs.get(name, {})
    about |= changes(folder, people) | dict(disk=bytes_on_disk(folder) / len(people.vectors))
    shutil.rmtree(folder)
    return dict(entries=len(people.vectors), engines=found, filters=filters, gallery=about)


def exact(vectors: np.ndarray, probes: np.ndarray) -> np.ndarray:
    """The rows (P, 10) that are truly nearest to each probe."""
    return faiss.knn(probes, vectors, K, faiss.METRIC_INNER_PRODUCT)[1]


def _rivals(
    people: People,
    kept: Path,
    names: Sequence[str],
    factory: str,
    construction: int,
    notice: Callable[[str], object],
) -> tuple[dict[str, Engine], dict[str, dict[str, float]]]:
    """Other engines, built or read, and what each costs: seconds to build, bytes an entry."""
    engines: dict[str, Engine] = {}
    costs: dict[str, dict[str, float]] = {}
    count, dim = people.vectors.shape
    for name in names:
        try:
            rival = _made(name, dim, count, construction, factory)
        except NotInstalledError as error:
            notice(str(error))
            continue
        if rival is None:
            continue
        costs[rival.name] = dict(build_s=built(rival, people.vectors, kept))
        if rival.kept:
            rival.close()
            memory, resident = apart(_opened_rival, (name, dim, count, construction, factory), kept)
            costs[rival.name] |= dict(memory=memory / count, resident=resident / count)
            built(rival, people.vectors, kept)
        engines[rival.name] = rival
    return engines, costs


def _made(name: str, dim: int, count: int, construction: int, factory: str) -> Rival | None:
    if name == 'faiss':
        if 'IVF' not in factory:
            return None  # all are compared: that is what NumPy does
        lists = FaissLists(dim, count, construction)
        lists.factory = factory
        return lists
    RIVALS[name].check()
    return RIVALS[name](dim, count, construction)


def _recalls(engine: Engine, setting: Any, people: People, truth: np.ndarray) -> dict[str, Any]:
    """Recall of all probes, of the newest people, and of people by how many images they have."""
    found = engine.rows(engine.search(people.probes, K, setting))
    newest = people.probe_people > people.people[-len(people.people) // NEWEST - 1]
    images = np.bincount(people.people)[people.probe_people]
    by_images = {
        int(number): recall(found[images == number], truth[images == number])
        for number in np.unique(images)
        if (images == number).sum() >= _FIRST
    }
    return dict(
        recall=recall(found, truth),
        recall_newest=recall(found[newest], truth[newest]),
        recall_by_images=by_images,
    )


def _described(tuned: Tuned) -> dict[str, Any]:
    setting = tuned.setting
    if isinstance(setting, Width):
        setting = {name: value for name, value in vars(setting).items() if value is not None}
    return dict(setting=setting, reached=tuned.reached, curve=tuned.curve, chosen=tuned.chosen)


def _filtered(gallery: Gallery, people: People, rounds: int) -> dict[str, dict[str, float]]:
    """Searches among a share of the entries, at the width that the gallery has by itself."""
    engines: dict[str, tuple[Engine, Any]] = {'all': (GalleryEngine(gallery), OWN_WIDTH)}
    first, recalls = {'all': 0.0}, {'all': float('nan')}
    parts = part_of(np.arange(len(people.vectors)))
    for share in SHARES:
        name, least = f'{100 * share:g} %', share * PARTS
        engine = GalleryEngine(gallery, [Condition('part', '<', least)])
        start = time.perf_counter()
        engine.search(people.probes[:1], K, OWN_WIDTH)
        first[name] = time.perf_counter() - start
        match = np.flatnonzero(parts < least)
        if len(match) < K:
            continue
        truth = match[exact(people.vectors[match], people.probes)]
        recalls[name] = recall(engine.rows(engine.search(people.probes, K, OWN_WIDTH)), truth)
        engines[name] = (engine, OWN_WIDTH)
    found = measure(engines, people.probes, rounds, threads=(1,))
    return {name: value | dict(first_s=first[name], recall=recalls[name]) for name, value in found.items()}


def _opened_rival(what: tuple[str, int, int, int, str], kept: Path) -> tuple[int, int]:
    """Bytes in all, without and with pages of files."""
    rival = _made(*what)
    assert rival is not None
    probes = np.random.default_rng(0).normal(size=(_FIRST, rival.dim)).astype(np.float32)
    before = resident()
    built(rival, np.empty((rival.count, 0), np.float32), kept)
    rival.search(probes, K, rival.ladders[0][-1])
    after = resident()
    return after[0] - before[0], after[1] - before[1]


def _settings(row: Sequence[tuple[int, int]]) -> list[tuple[int, None, int]]:
    return [(nprobe, None, candidates) for nprobe, candidates in row]


def _fingerprint(vectors: np.ndarray) -> str:
    """A name for vectors that others do not have."""
    some = np.ascontiguousarray(vectors[:: max(1, len(vectors) // 1000)])
    return f'{len(vectors)}-{hashlib.sha256(some.tobytes()).hexdigest()[:12]}'
