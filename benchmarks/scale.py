"""A gallery of very many made-up entries: filled, indexed, opened, searched and changed.

The entries are never in memory all at once: people are made up anew, block by block. Each stage is a process
of its own, so that memory is the stage's.
"""

from __future__ import annotations

import hashlib
import resource
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.engines import K, measure, recall
from benchmarks.gallery import GalleryEngine
from benchmarks.gallery_costs import apart, bytes_on_disk, resident
from benchmarks.people import DIM, People, made_up
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval import Gallery
from mbv1_backbone.retrieval.manifest import Manifest
from mbv1_backbone.retrieval.vectors import nearest
from mbv1_backbone.retrieval.width import OWN_WIDTH

BLOCK = 50_000  # entries that are made up and added at once
_PROBES = 500
_CHANGES = 20  # of each kind, one after the other
_CHANGED = 'added to be timed', 'renamed to be timed'  # whose they are
_MB = 1e6


def measure_scale(
    count: int,
    folder: Path,
    rounds: int,
    bytes_per_vector: int | None = None,
    notice: Callable[[str], object] = print,
) -> dict[str, Any]:
    """Fill a gallery, make its index, and use it.

    Args:
        count: Entries, a multiple of ``BLOCK``.
        folder: Of the gallery. It is kept: a run that was stopped goes on with the blocks that are there.
        rounds: Times that searches are timed.
        bytes_per_vector: Memory that the index may spend on a vector; None for what is best.
        notice: Told what each stage found.

    Returns:
        ``build``, ``open``, ``search``, ``change`` -> figures. ``cpu_s``: seconds of the processor; ``mb``:
        memory without pages of files, ``resident_mb`` with them, ``most_mb`` at the most. Searches:
        microseconds a query as of ``engines.measure``, recall@10, and lists looked through. Changes:
        milliseconds of the processor. Besides, the kind of index, and the room on the disk.

    Raises:
        InputError: If ``count`` is no multiple of a block, or the gallery holds something else.
    """
    if count % BLOCK:
        raise InputError(f'--entries {count}: must be a multiple of {BLOCK}')
    stages: dict[str, tuple[Callable[..., dict[str, float]], tuple[Any, ...]]] = {
        'build': (_build, (folder, count, bytes_per_vector)),
        'open': (_open, (folder,)),
        'search': (_search, (folder, count, rounds)),
        'change': (_change, (folder, count)),
    }
    found: dict[str, Any] = dict(entries=count)
    for name, (stage, arguments) in stages.items():
        found[name] = apart(stage, *arguments)
        notice(f'{name}: ' + ', '.join(f'{key} {value:.4g}' for key, value in found[name].items()))
    with Gallery(folder) as gallery:
        about = gallery.stats()
    return found | dict(index_kind=about['factory'], disk_gb=bytes_on_disk(folder) / 1e9)


def _blocks(count: int, first: int = 0) -> Iterator[People]:
    """The entries, block by block, the same of every count, with each block's share of the probes."""
    wanted = -(-_PROBES * BLOCK // count)
    for number in range(first, count // BLOCK):
        people = made_up(BLOCK, _PROBES, seed=number)
        yield replace(people, probes=people.probes[:wanted], probe_people=people.probe_people[:wanted])


def _build(folder: Path, count: int, bytes_per_vector: int | None) -> dict[str, float]:
    """Add what is missing, and make the index. Making entries up is not counted."""
    if not folder.exists():
        Gallery.create(folder, DIM, 'benchmark', bytes_per_vector=bytes_per_vector).close()
    adding = 0.0
    with Gallery(folder) as gallery:
        if len(gallery) % BLOCK:  # of a run that was stopped while it changed some
            for name in _CHANGED:
                gallery.remove(identity=name)
        there = len(gallery)
        if there > count or there % BLOCK:
            raise InputError(f'{folder}: holds {there} entries, not blocks of {BLOCK} of {count}')
        bar = tqdm(total=count, initial=there, unit='entry', unit_scale=True, desc='adding', leave=False)
        with bar, gallery.bulk():
            for first, people in zip(range(there, count, BLOCK), _blocks(count, there // BLOCK), strict=True):
                cpu = time.process_time()
                gallery.add(people.vectors, *_named(people.people, first))
                adding += time.process_time() - cpu
                bar.update(BLOCK)
            bar.set_description('index')
            found, cpu = dict(added=count - there, add_cpu_s=adding, add_most_mb=_most()), time.process_time()
        return found | dict(index_cpu_s=time.process_time() - cpu, index_most_mb=_most())


def _open(folder: Path) -> dict[str, float]:
    """Open it, once files are in the system's cache, and search until memory stands."""
    probes = made_up(BLOCK, _PROBES, seed=0).probes
    before = resident()
    cpu, start = time.process_time(), time.perf_counter()
    with Gallery(folder) as gallery:
        gallery.search(probes[:1], K)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - start
        opened = resident()
        gallery.search(probes, K)
        searched = resident()
    return dict(
        cpu_s=cpu,
        wall_s=wall,
        mb=(opened[0] - before[0]) / _MB,
        most_mb=_most() - before[1] / _MB,
        mb_searched=(searched[0] - before[0]) / _MB,
        resident_mb_searched=(searched[1] - before[1]) / _MB,
    )


def _search(folder: Path, count: int, rounds: int) -> dict[str, float]:
    """Times of one thread, at the width that the gallery has by itself, and what is found."""
    probes = np.concatenate([people.probes for people in _blocks(count)])
    with Gallery(folder) as gallery:
        engine = GalleryEngine(gallery)
        found = measure({'gallery': (engine, OWN_WIDTH)}, probes, rounds, threads=[1])['gallery']
        rows = np.array([[int(Path(match.file).stem) for match in row] for row in gallery.search(probes, K)])
    manifest = Manifest.read(folder)
    lists = manifest.search_width.get('nprobe') if manifest else None
    return found | dict(recall=recall(rows, _nearest(probes, count)), lists=lists or 0)


def _nearest(probes: np.ndarray, count: int) -> np.ndarray:
    """The rows (P, 10) that are truly nearest to each probe."""
    blocks = zip(range(0, count, BLOCK), _blocks(count), strict=True)
    return nearest(probes, ((first + np.arange(BLOCK), people.vectors) for first, people in blocks), K)


def _change(folder: Path, count: int) -> dict[str, float]:
    """Add an entry, rename its person, remove it: again and again, so that nothing is left of it."""
    people = made_up(_CHANGES, 1, seed=count)
    times: dict[str, list[float]] = defaultdict(list)
    with Gallery(folder) as gallery:
        gallery.search(people.probes, K)
        for number, vector in enumerate(people.vectors):
            _, files, hashes = _named(np.array([number]), count + number)
            changes: dict[str, Callable[[], object]] = dict(
                add=partial(gallery.add, vector[None], [_CHANGED[0]], files, hashes),
                rename=partial(gallery.rename, *_CHANGED),
                remove=partial(gallery.remove, identity=_CHANGED[1]),
            )
            for name, change in changes.items():
                cpu = time.process_time()
                change()
                times[name].append(1000 * (time.process_time() - cpu))
    return {f'{name}_ms': statistics.median(taken) for name, taken in times.items()}


def _named(people: np.ndarray, first: int) -> tuple[list[str], list[str], list[str]]:
    """Identities, files and hashes of entries; a block's first entry says which person's they are."""
    files = [f'{row}.jpg' for row in range(first, first + len(people))]
    hashes = [hashlib.sha256(file.encode()).hexdigest() for file in files]
    return [f'person {first}-{who}' for who in people], files, hashes


def _most() -> float:
    """MB of this process at the most until now, pages of files among them."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _MB
