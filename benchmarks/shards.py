"""Several galleries that answer as one, beside the one that they merge into."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from benchmarks.engines import RECALL, Engine, K, measure, recall
from benchmarks.gallery import exact
from benchmarks.gallery_costs import build
from benchmarks.people import made_up
from mbv1_backbone.retrieval import Gallery, Shards, tune
from mbv1_backbone.retrieval.maintenance import merge


class _Searched(Engine):
    """Galleries whose files are named by the rows of the entries."""

    ladders = [[None]]

    def __init__(self, some: Gallery | Shards) -> None:
        self.some = some
        self.width: dict[str, Any] = tune(some if isinstance(some, Gallery) else some.galleries[0], RECALL, K)

    def search(self, probes: np.ndarray, k: int, setting: Any) -> Any:
        return [list(found) for found in self.some.search(probes, k, **self.width)]

    def rows(self, found: Any) -> np.ndarray:
        return np.array([[int(Path(match.file).stem) for match in row] for row in found])

    def set_threads(self, count: int) -> None:
        faiss.omp_set_num_threads(count)


def measure_shards(count: int, folder: Path, rounds: int, shards: int = 4) -> dict[str, Any]:
    """``shards`` galleries that hold ``count`` entries between them, and the one that they merge into.

    Args:
        count: Entries.
        folder: Where they are made; emptied before and after.
        rounds: Times that searches are timed.
        shards: Galleries.

    Returns:
        ``engines``: times and recall of both; ``build_s``: seconds to make each part, one after the other;
        ``merge_s``: seconds to merge them all into one gallery.
    """
    people = made_up(count)
    truth = exact(people.vectors, people.probes)
    shutil.rmtree(folder, ignore_errors=True)
    parts = [rows for rows in np.array_split(np.arange(count), shards) if len(rows)]
    made = [
        build(folder / str(number), people.vectors[rows], people.people[rows], int(rows[0]))
        for number, rows in enumerate(parts)
    ]
    several = Shards([Gallery(folder / str(number)) for number in range(len(parts))])
    one = Gallery.create(folder / 'one', people.vectors.shape[1], 'benchmark')
    start = time.perf_counter()
    merge(one, several.galleries)
    merge_s = time.perf_counter() - start
    engines: dict[str, tuple[Engine, Any]] = {
        f'{shards} galleries as one': (_Searched(several), None),
        'merged into one': (_Searched(one), None),
    }
    found = measure(engines, people.probes, rounds)
    for name, (engine, _) in engines.items():
        found[name]['recall'] = recall(engine.rows(engine.search(people.probes, K, None)), truth)
    one.close()
    several.close()
    shutil.rmtree(folder)
    about = dict(entries=count, shards=shards, index=[part['index'] for part in made])
    return about | dict(build_s=[part['build_s'] for part in made], merge_s=merge_s, engines=found)
