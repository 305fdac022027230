"""Other engines for nearest neighbours, as their documentation uses them; graphs of 16 edges an entry."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from threadpoolctl import threadpool_limits
from typing_extensions import override

from benchmarks.engines import geometric
from benchmarks.rivals import Rival
from mbv1_backbone.retrieval.training import train
from mbv1_backbone.retrieval.vectors import ArrayVectors

EDGES = 16
_SCORES = 20_000_000  # that NumPy has in memory at once


class Hnswlib(Rival):
    """https://github.com/nmslib/hnswlib."""

    name, package, module = 'hnswlib', 'hnswlib', 'hnswlib'

    def _new(self) -> Any:
        return import_module('hnswlib').Index(space='ip', dim=self.dim)

    @override
    def start(self, path: Path) -> None:
        self.index = self._new()
        self.index.init_index(max_elements=self.count, M=EDGES, ef_construction=self.construction)

    @override
    def add(self, first: int, vectors: np.ndarray) -> None:
        self.index.add_items(vectors, np.arange(first, first + len(vectors)))

    @override
    def save(self, path: Path) -> None:
        self.index.save_index(str(path))

    @override
    def load(self, path: Path) -> None:
        self.index = self._new()
        self.index.load_index(str(path), max_elements=self.count)

    @override
    def search(self, probes: np.ndarray, k: int, setting: Any) -> np.ndarray:
        self.index.set_ef(setting)
        return self.index.knn_query(probes, k=k)[0]

    @override
    def set_threads(self, count: int) -> None:
        self.index.set_num_threads(count)


class Usearch(Rival):
    """https://github.com/unum-cloud/usearch."""

    name, package, module = 'usearch', 'usearch', 'usearch.index'
    threads = 0

    @override
    def start(self, path: Path) -> None:
        self.index = import_module('usearch.index').Index(
            ndim=self.dim, metric='ip', connectivity=EDGES, expansion_add=self.construction
        )

    @override
    def add(self, first: int, vectors: np.ndarray) -> None:
        self.index.add(np.arange(first, first + len(vectors)), vectors)

    @override
    def save(self, path: Path) -> None:
        self.index.save(path)

    @override
    def load(self, path: Path) -> None:
        self.start(path)
        self.index.load(path)

    @override
    def search(self, probes: np.ndarray, k: int, setting: Any) -> np.ndarray:
        self.index.expansion_search = setting
        return np.atleast_2d(self.index.search(probes, k, threads=self.threads).keys)

    @override
    def set_threads(self, count: int) -> None:
        self.threads = count


class _Faiss(Rival):
    """An index of https://github.com/facebookresearch/faiss, without the gallery."""

    package, module = 'faiss-cpu', 'faiss'

    @override
    def add(self, first: int, vectors: np.ndarray) -> None:
        self.index.add(vectors)

    @override
    def save(self, path: Path) -> None:
        faiss.write_index(self.index, str(path))

    @override
    def load(self, path: Path) -> None:
        self.index = faiss.read_index(str(path))

    @override
    def set_threads(self, count: int) -> None:
        faiss.omp_set_num_threads(count)


class FaissGraph(_Faiss):
    """FAISS's own graph."""

    name = 'FAISS HNSW16'

    @override
    def start(self, path: Path) -> None:
        self.index = faiss.IndexHNSWFlat(self.dim, EDGES, faiss.METRIC_INNER_PRODUCT)
        self.index.hnsw.efConstruction = self.construction

    @override
    def search(self, probes: np.ndarray, k: int, setting: Any) -> np.ndarray:
        return self.index.search(probes, k, params=faiss.SearchParametersHNSW(efSearch=setting))[1]


class FaissLists(_Faiss):
    """FAISS's index of a factory string with exact re-ranking, as the gallery's."""

    name = "FAISS, the gallery's index"
    factory = ''

    @property
    @override
    def key(self) -> str:
        return f'{self.package}-{version(self.package)}-{self.factory}'

    @property
    @override
    def ladders(self) -> Sequence[Sequence[Any]]:
        """Lists to look through and candidates that are compared exactly."""
        return lists_ladders(self.nlist)

    @override
    def start(self, path: Path) -> None:
        self.index = faiss.index_factory(self.dim, self.factory, faiss.METRIC_INNER_PRODUCT)

    @override
    def learn(self, vectors: np.ndarray) -> None:
        train(self.index, ArrayVectors(vectors))

    @property
    def nlist(self) -> int:
        """How many lists it has."""
        base = faiss.downcast_index(self.index)
        if isinstance(base, faiss.IndexRefine):
            base = faiss.downcast_index(base.base_index)
        return int(faiss.extract_index_ivf(base).nlist)

    @override
    def search(self, probes: np.ndarray, k: int, setting: Any) -> np.ndarray:
        nprobe, candidates = setting
        lists = faiss.SearchParametersIVF(nprobe=nprobe)
        if self.factory.startswith('OPQ'):
            lists = faiss.SearchParametersPreTransform(index_params=lists)
        parameters = faiss.IndexRefineSearchParameters(
            k_factor=max(1.0, candidates / k), base_index_params=lists
        )
        return self.index.search(probes, k, params=parameters)[1]


class Qdrant(Rival):
    """Qdrant Edge, Qdrant's engine in the process, https://qdrant.tech/edge/; its folder is the graph."""

    name, package, module = 'Qdrant Edge', 'qdrant-edge-py', 'qdrant_edge'
    in_place = True

    def _config(self, threads: int) -> Any:
        qdrant = import_module('qdrant_edge')
        return qdrant.EdgeConfig(
            vectors=qdrant.EdgeVectorParams(size=self.dim, distance=qdrant.Distance.Dot),
            hnsw_config=qdrant.HnswIndexConfig(
                m=EDGES, ef_construct=self.construction, full_scan_threshold=1, max_indexing_threads=0
            ),
            optimizers=qdrant.EdgeOptimizersConfig(
                default_segment_number=1, max_segment_size=10**9, indexing_threshold=1
            ),
            max_search_threads=threads,
        )

    @override
    def start(self, path: Path) -> None:
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        self.path, self.threads = path, 0
        self.shard = import_module('qdrant_edge').EdgeShard.create(
            str(path), self._config(os.cpu_count() or 1)
        )

    @override
    def add(self, first: int, vectors: np.ndarray) -> None:
        qdrant = import_module('qdrant_edge')
        points = [qdrant.Point(number, values) for number, values in enumerate(vectors.tolist(), first)]
        self.shard.update(qdrant.UpdateOperation.upsert_points(points))

    @override
    def finish(self) -> None:
        self.shard.optimize()

    @override
    def save(self, path: Path) -> None:
        self.shard.flush()

    @override
    def load(self, path: Path) -> None:
        self.path, self.threads = path, 0
        self.shard = import_module('qdrant_edge').EdgeShard.load(str(path))

    @override
    def close(self) -> None:
        self.shard.close()

    @override
    def search(self, probes: np.ndarray, k: int, setting: Any) -> np.ndarray:
        qdrant = import_module('qdrant_edge')
        params = qdrant.SearchParams(hnsw_ef=setting)
        requests = [
            qdrant.QueryRequest(limit=k, query=qdrant.Query.Nearest(values), params=params)
            for values in probes.tolist()
        ]
        found = self.shard.query_batch(qdrant.QueryBatchRequest(requests))
        return np.array([[point.id for point in points] for points in found])

    @override
    def set_threads(self, count: int) -> None:
        if count != self.threads:
            self.shard.close()
            self.shard = import_module('qdrant_edge').EdgeShard.load(str(self.path), self._config(count))
            self.threads = count


class Exact(Rival):
    """NumPy, all compared."""

    name, package, module = 'NumPy, all compared', 'numpy', 'numpy'
    ladders = [[None]]
    kept = False

    @override
    def start(self, path: Path) -> None:
        self.vectors: np.ndarray = np.empty((self.count, self.dim), np.float32)

    @override
    def add(self, first: int, vectors: np.ndarray) -> None:
        self.vectors[first : first + len(vectors)] = vectors

    @override
    def save(self, path: Path) -> None:
        raise NotImplementedError('it is not kept')

    @override
    def load(self, path: Path) -> None:
        raise NotImplementedError('it is not kept')

    @override
    def search(self, probes: np.ndarray, k: int, setting: Any = None) -> np.ndarray:
        at_once = max(1, _SCORES // self.count)
        parts = (probes[first : first + at_once] for first in range(0, len(probes), at_once))
        return np.concatenate([self._nearest(part, k) for part in parts])

    def _nearest(self, probes: np.ndarray, k: int) -> np.ndarray:
        scores = probes @ self.vectors.T
        best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1)
        return np.take_along_axis(best, order, 1)

    @override
    def set_threads(self, count: int) -> None:
        threadpool_limits(count, 'blas')


_CANDIDATES = (30, 40, 50, 80, 120, 160, 240, 400, 800)


def lists_ladders(lists: int) -> list[list[tuple[int, int]]]:
    """Settings of lists of codes: lists to look through and candidates, a ladder for each number of these."""
    return [[(nprobe, candidates) for nprobe in geometric(lists)] for candidates in _CANDIDATES]


RIVALS: dict[str, type[Rival]] = {
    'numpy': Exact,
    'hnsw16': FaissGraph,
    'hnswlib': Hnswlib,
    'usearch': Usearch,
    'qdrant': Qdrant,
}
