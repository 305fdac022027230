"""What a gallery costs: building, opening, changes, memory and disk."""

from __future__ import annotations

import hashlib
import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.engines import K
from benchmarks.people import People
from mbv1_backbone.retrieval import Gallery

PARTS = 1000  # values of the number that filters ask for
_PART = 10_000  # entries added at once
_ADDED = 10_000
_REMOVED = 20
_FIRST = 100  # searches after which memory is looked at


def build(
    folder: Path, vectors: np.ndarray, people: np.ndarray, first: int = 0, late: int = 0
) -> dict[str, Any]:
    """Make a gallery; its index, and how long it took, by the clock and of the processor.

    Args:
        folder: Where.
        vectors: (N, D), which get the ids 1, 2 ...
        people: (N,), whose they are.
        first: Number of the first entry's file.
        late: Entries that are added when the index of the others is made.
    """
    early = len(vectors) - late
    start, cpu = time.perf_counter(), time.process_time()
    with Gallery.create(folder, vectors.shape[1], 'benchmark') as gallery:
        bar = tqdm(total=len(vectors), unit='entry', unit_scale=True, desc='gallery', leave=False)
        with bar:
            for begin, end in ((0, early), (early, len(vectors))):
                with gallery.bulk():
                    for at in range(begin, end, _PART):
                        some = slice(at, min(at + _PART, end))
                        gallery.add(vectors[some], *_named(people[some], first + at))
                        bar.update(some.stop - some.start)
                    bar.set_description('gallery, its index')
        took, cpu = time.perf_counter() - start, time.process_time() - cpu
        stats = gallery.stats()
        about = dict(index=stats['factory'], trained_for=stats['trained_for'])
        return about | dict(build_s=took, build_cpu_s=cpu)


def changes(folder: Path, people: People) -> dict[str, float]:
    """Seconds to add 10,000 entries, and to remove one."""
    with Gallery(folder) as gallery:
        gallery.search(people.probes[:1], K)
        more = people.vectors[:_ADDED]
        start = time.perf_counter()
        added = gallery.add(more, *_named(people.people[:_ADDED], 10**9))
        took = time.perf_counter() - start
        removals = []
        for entry_id in added.ids[:_REMOVED]:
            start = time.perf_counter()
            gallery.remove([entry_id])  # type: ignore[list-item]
            removals.append(time.perf_counter() - start)
    return {f'add_{len(more)}_s': took, 'remove_s': statistics.median(removals)}


def opened(folder: Path) -> tuple[float, float, float]:
    """Bytes an entry, without and with pages of files, and seconds from nothing to the first answer."""
    times = []
    before = resident()
    for number in range(3):
        start = time.perf_counter()
        gallery = Gallery(folder)
        probes = np.random.default_rng(0).normal(size=(_FIRST, gallery.dim))
        gallery.search(probes[:1], K)
        times.append(time.perf_counter() - start)
        if not number:
            gallery.search(probes, K)
            memory = [(now - then) / len(gallery) for now, then in zip(resident(), before, strict=True)]
        gallery.close()
        del gallery
    return memory[0], memory[1], statistics.median(times)


def apart(opened: Callable[..., Any], *what: Any) -> Any:
    """What a function finds in a process of its own.

    Raises:
        BrokenProcessPool: If the process is killed, as where memory gives out.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as pool:
        return pool.submit(opened, *what).result()


def resident() -> tuple[int, int]:
    """Bytes of this process in memory: without pages of files, and with them."""
    lines = Path('/proc/self/status').read_text().splitlines()
    sizes = {
        name: 1024 * int(rest.split()[0])
        for name, _, rest in (line.partition(':') for line in lines)
        if name in ('RssAnon', 'VmRSS')
    }
    return sizes['RssAnon'], sizes['VmRSS']


def bytes_on_disk(folder: Path) -> int:
    """Of all files in a folder."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def _named(people: np.ndarray, first: int) -> tuple[list[str], list[str], list[str], list[Mapping[str, int]]]:
    """Identities, files, hashes and metadata of entries."""
    numbers = range(first, first + len(people))
    hashes = [hashlib.sha256(str(number).encode()).hexdigest() for number in numbers]
    metadata: list[Mapping[str, int]] = [{'part': int(part)} for part in part_of(np.array(numbers))]
    return [f'person {who}' for who in people], [f'{number}.jpg' for number in numbers], hashes, metadata


def part_of(numbers: np.ndarray) -> np.ndarray:
    """A number in 0..999 for each entry, as if drawn at random."""
    return numbers * 2654435761 % 2**32 * PARTS >> 32
