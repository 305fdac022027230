"""Gallery search beside FAISS itself, NumPy, hnswlib and usearch: the same vectors, in one run."""

from __future__ import annotations

import hashlib
import importlib
import multiprocessing
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from tqdm import tqdm

from benchmarks.timing import seconds
from mbv1_backbone.retrieval import Gallery, Shards, tune
from mbv1_backbone.retrieval.maintenance import merge
from mbv1_backbone.retrieval.manifest import Manifest

DIM = 128
K = 10
RECALL = 0.99
_IMAGES = 20  # of each made-up person
_PROBES = 1000
_BATCH = 100
_SINGLES = 200  # single queries in one round
_ADDED = 10_000
_REMOVED = 20

Search = Callable[[np.ndarray], np.ndarray]  # (N, dimension) -> the K nearest rows or ids (N, K)


def made_up(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Normalised embeddings (count, 128) of people with 20 images each, and probes (1000, 128) of them."""
    generator = np.random.default_rng(seed)
    people = generator.normal(size=(-(-count // _IMAGES), DIM)).astype(np.float32)
    rows: np.ndarray = np.arange(count) // _IMAGES
    probes = generator.integers(0, len(people), _PROBES)
    return tuple(
        _normalised(people[which] + 0.6 * generator.normal(size=(len(which), DIM)).astype(np.float32))
        for which in (rows, probes)
    )  # type: ignore[return-value]


def measure(count: int, folder: Path, rounds: int, rivals: bool = True) -> dict[str, Any]:
    """All figures of a gallery of ``count`` made-up entries.

    Args:
        count: Entries.
        folder: Where the gallery is made; emptied before and after.
        rounds: Times that searches are timed.
        rivals: Whether graphs of hnswlib and usearch are built too, where they are installed.

    Returns:
        ``gallery``: building, opening, adding, removing, memory and disk; ``search``: for each way its
        queries a second in batches of 100, milliseconds of a single one, and recall@10.
    """
    vectors, probes = made_up(count)
    truth = _exact(vectors, probes)
    shutil.rmtree(folder, ignore_errors=True)
    built, ids = _build(folder, vectors)
    ways: dict[str, Search] = {'NumPy, all compared': partial(_numpy, vectors)}
    gallery = Gallery(folder)
    options: dict[str, Any] = tune(gallery, RECALL, K)
    row_of: np.ndarray = np.zeros(max(ids) + 1, np.int64)
    row_of[ids] = np.arange(count)
    ways['plain FAISS, same index'] = _plain(folder, options)
    ways['gallery'] = lambda some: [found.ids for found in gallery.search(some, K, **options)]  # type: ignore
    ways['gallery, every record read'] = lambda some: [list(m) for m in gallery.search(some, K, **options)]  # type: ignore
    graphs: dict[str, float] = {}
    if rivals:
        for name, make in (('hnswlib', _hnswlib), ('usearch', _usearch)):
            try:
                start = time.perf_counter()
                search = make(vectors)
            except ImportError:
                continue
            graphs[name] = time.perf_counter() - start
            ways[name] = _wide_enough(search, probes, truth)
    found = _time(ways, probes, rounds)
    for name, way in ways.items():
        rows = _rows(name, way(probes), row_of)
        found[name]['recall'] = _recall(rows, truth)
    if graphs:
        built['graph_build_s'] = graphs
    gallery.close()
    built |= _changes(folder, options) | _opening(folder)
    shutil.rmtree(folder)
    return dict(entries=count, index=built.pop('index'), width=options, gallery=built, search=found)


def measure_shards(count: int, folder: Path, rounds: int, shards: int = 4) -> dict[str, Any]:
    """``shards`` galleries that hold ``count`` entries between them, and the one that they merge into.

    Returns:
        ``search``: as of ``measure``; ``build_s``: seconds to make each part, one after the other;
        ``merge_s``: seconds to merge them all into one gallery.
    """
    vectors, probes = made_up(count)
    truth = _exact(vectors, probes)
    shutil.rmtree(folder, ignore_errors=True)
    parts = [rows for rows in np.array_split(np.arange(count), shards) if len(rows)]
    built = [
        _build(folder / str(number), vectors[rows], int(rows[0]))[0] for number, rows in enumerate(parts)
    ]
    several = Shards([Gallery(folder / str(number)) for number in range(len(parts))])
    one = Gallery.create(folder / 'one', DIM, 'benchmark')
    start = time.perf_counter()
    merge(one, several.galleries)
    merge_s = time.perf_counter() - start

    def searched(some: Any) -> Search:
        width = tune(some, RECALL, K) if isinstance(some, Gallery) else tune(some.galleries[0], RECALL, K)
        return lambda probes: np.array(
            [[int(Path(match.file).stem) for match in found] for found in some.search(probes, K, **width)]
        )

    ways = {f'{shards} galleries as one': searched(several), 'merged into one': searched(one)}
    found = _time(ways, probes, rounds)
    for name, way in ways.items():
        found[name]['recall'] = _recall(way(probes), truth)
    one.close()
    several.close()
    shutil.rmtree(folder)
    about = dict(entries=count, shards=shards, index=[part['index'] for part in built])
    return about | dict(build_s=[part['build_s'] for part in built], merge_s=merge_s, search=found)


def draw(results: Sequence[dict[str, Any]], title: str, path: str | Path) -> Path:
    """Curves over the number of entries: queries a second, the gallery's own verbs, and room."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 4.6), layout='constrained')
    FigureCanvasAgg(figure)
    batches, single, verbs, room = figure.subplots(1, 4)
    sizes = [result['entries'] for result in results]
    ways = list(dict.fromkeys(name for result in results for name in result['search']))
    for axes, key in ((batches, 'batch_qps'), (single, 'single_ms')):
        for name in ways:
            has = [(r['entries'], r['search'][name][key]) for r in results if name in r['search']]
            dashed = dict(linestyle='--') if name == 'plain FAISS, same index' else {}
            axes.plot(*zip(*has, strict=True), marker='o', label=name, **dashed)
    batches.set(ylabel='queries a second, batches of 100', yscale='log')
    single.set(ylabel='ms, a single query', yscale='log')
    for key, label in (('open_s', 'open, s'), ('add_10k_s', 'add 10 000, s'), ('remove_s', 'remove one, s')):
        verbs.plot(sizes, [r['gallery'][key] for r in results], marker='o', label=label)
    verbs.set(ylabel='seconds', yscale='log')
    for key, label in (('memory_per_vector', 'memory'), ('disk_per_vector', 'disk')):
        room.plot(sizes, [r['gallery'][key] for r in results], marker='o', label=label)
    room.axhline(4 * DIM, color='grey', linestyle=':', label='the values themselves')
    room.set(ylabel='bytes an entry', ylim=0)
    for axes in (batches, single, verbs, room):
        axes.set(xlabel='entries', xscale='log')
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    figure.suptitle(title)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path


def _time(ways: dict[str, Search], probes: np.ndarray, rounds: int) -> dict[str, dict[str, float]]:
    def batches(way: Search) -> None:
        for start in range(0, len(probes), _BATCH):
            way(probes[start : start + _BATCH])

    def singles(way: Search) -> None:
        for place in range(_SINGLES):
            way(probes[place : place + 1])

    jobs = {(name, kind): partial(kind, way) for name, way in ways.items() for kind in (batches, singles)}
    times = seconds({f'{name}/{kind.__name__}': job for (name, kind), job in jobs.items()}, rounds)
    return {
        name: dict(
            batch_qps=len(probes) / times[f'{name}/batches'],
            single_ms=1000 * times[f'{name}/singles'] / _SINGLES,
        )
        for name in ways
    }


def _build(folder: Path, vectors: np.ndarray, number: int = 0) -> tuple[dict[str, Any], list[int]]:
    """Make a gallery, whose files count from ``number``; how long it took, and the ids."""
    ids: list[int] = []
    start = time.perf_counter()
    with Gallery.create(folder, DIM, 'benchmark') as gallery:
        bar = tqdm(total=len(vectors), unit='entry', unit_scale=True, desc='add', leave=False)
        with bar, gallery.bulk():
            for first, part in _parts(vectors):
                ids += [i for i in gallery.add(part, *_named(number + first, len(part))).ids if i is not None]
                bar.update(len(part))
        return dict(build_s=time.perf_counter() - start, index=gallery.stats()['factory']), ids


def _changes(folder: Path, options: dict[str, Any]) -> dict[str, float]:
    """Seconds to add 10,000 entries to it, and to remove one."""
    more, probes = made_up(_ADDED, seed=1)
    with Gallery(folder) as gallery:
        gallery.search(probes[:1], K, **options)
        start = time.perf_counter()
        added = gallery.add(more, *_named(10**9, len(more)))
        took = time.perf_counter() - start
        removals = []
        for entry_id in added.ids[:_REMOVED]:
            start = time.perf_counter()
            gallery.remove([entry_id])  # type: ignore[list-item]
            removals.append(time.perf_counter() - start)
        gallery.remove([i for i in added.ids[_REMOVED:] if i is not None])
        gallery.compact()
    return dict(add_10k_s=took, remove_s=statistics.median(removals))


def _opening(folder: Path) -> dict[str, float]:
    """Seconds from nothing to the first answer, and room, in a process of its own."""
    with multiprocessing.get_context('spawn').Pool(1) as pool:
        open_s, memory = pool.apply(_open, (str(folder),))
    with Gallery(folder) as gallery:
        count, disk = len(gallery), gallery.stats()['bytes_on_disk']
    return dict(open_s=open_s, memory_per_vector=memory / count, disk_per_vector=disk / count)


def _open(folder: str) -> tuple[float, int]:
    times = []
    for _ in range(3):
        before, start = _resident(), time.perf_counter()
        gallery = Gallery(folder)
        gallery.search(np.ones((1, DIM)), K)
        times.append(time.perf_counter() - start)
        memory = _resident() - before
        gallery.close()
        if len(times) == 1:
            first = memory
        del gallery
    return statistics.median(times), first


def _resident() -> int:
    """Bytes of this process in memory that are not pages of files."""
    lines = Path('/proc/self/status').read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith('RssAnon'))


def _named(first: int, count: int) -> tuple[list[str], list[str], list[str]]:
    """Identities, files and hashes of made-up entries."""
    numbers = range(first, first + count)
    hashes = [hashlib.sha256(str(i).encode()).hexdigest() for i in numbers]
    return [f'person {i // _IMAGES}' for i in numbers], [f'{i}.jpg' for i in numbers], hashes


def _parts(vectors: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for first in range(0, len(vectors), _ADDED):
        yield first, vectors[first : first + _ADDED]


def _normalised(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _exact(vectors: np.ndarray, probes: np.ndarray) -> np.ndarray:
    index = faiss.IndexFlatIP(DIM)
    index.add(vectors)
    return index.search(probes, K)[1]


def _plain(folder: Path, width: dict[str, int]) -> Search:
    """FAISS's own search of a gallery's index file, whose labels are rows."""
    manifest = Manifest.read(folder)
    assert manifest is not None
    index = faiss.read_index(str(folder / manifest.index))
    parameters = None
    if width:
        lists = faiss.SearchParametersIVF(nprobe=width['nprobe'])
        factor = max(1.0, width['candidates'] / K)
        parameters = faiss.IndexRefineSearchParameters(k_factor=factor, base_index_params=lists)
    return lambda some: index.search(some, K, params=parameters)[1]


def _numpy(vectors: np.ndarray, some: np.ndarray) -> np.ndarray:
    scores = some @ vectors.T
    best = np.argpartition(-scores, K - 1, axis=1)[:, :K]
    order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1)
    return np.take_along_axis(best, order, 1)


def _hnswlib(vectors: np.ndarray) -> Callable[[int], Search]:
    index = importlib.import_module('hnswlib').Index(space='ip', dim=DIM)
    index.init_index(max_elements=len(vectors), M=16, ef_construction=200)
    index.add_items(vectors)

    def of_width(width: int) -> Search:
        def search(some: np.ndarray) -> np.ndarray:
            index.set_ef(width)
            return index.knn_query(some, k=K)[0]

        return search

    return of_width


def _usearch(vectors: np.ndarray) -> Callable[[int], Search]:
    index = importlib.import_module('usearch.index').Index(ndim=DIM, metric='ip', connectivity=16)
    index.add(np.arange(len(vectors)), vectors)

    def of_width(width: int) -> Search:
        def search(some: np.ndarray) -> np.ndarray:
            index.expansion_search = width
            return np.atleast_2d(index.search(some, K).keys)

        return search

    return of_width


def _wide_enough(of_width: Callable[[int], Search], probes: np.ndarray, truth: np.ndarray) -> Search:
    """The narrowest search, by doubling, that reaches the recall; the widest where none does."""
    for width in (16, 32, 64, 128, 256, 512):
        search = of_width(width)
        if _recall(search(probes), truth) >= RECALL:
            break
    return search


def _rows(name: str, found: Any, row_of: np.ndarray) -> np.ndarray:
    """Rows of the vectors in place of a gallery's ids or records."""
    if name == 'gallery':
        return row_of[np.stack(found)]
    if name.startswith('gallery'):
        return row_of[np.array([[match.id for match in row] for row in found])]
    return np.asarray(found)


def _recall(found: np.ndarray, truth: np.ndarray) -> float:
    hits = [len(set(row) & set(right)) for row, right in zip(found.tolist(), truth.tolist(), strict=True)]
    return sum(hits) / truth.size
