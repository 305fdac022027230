"""An index of the entries that match a filter: short codes of all of them, before the matrix of all rows."""

from __future__ import annotations

import math
from dataclasses import replace

import faiss
import numpy as np

from mbv1_backbone.retrieval.index import SearchIndex
from mbv1_backbone.retrieval.matrix import refined
from mbv1_backbone.retrieval.parameters import Parameters
from mbv1_backbone.retrieval.threads import ONE_THREAD, SEVERAL_THREADS
from mbv1_backbone.retrieval.training import are_uneven, train
from mbv1_backbone.retrieval.vectors import MatrixVectors
from mbv1_backbone.retrieval.width import MEASURED_K, OWN_WIDTH, Width

__all__ = ['MatchingIndex']


class MatchingIndex:
    """Some rows of an index with codes of their own. It holds as long as the index does not change.

    Lists would not help: whoever has few images among those that match has strangers among the nearest, who
    lie in nearly all of them. The full vectors are those of the index.

    Args:
        index: With a matrix.
        rows: int64 (N,), those that match, ascending.

    Attributes:
        rows: The same.
        parameters: How widely it is searched.
    """

    def __init__(self, index: SearchIndex, rows: np.ndarray) -> None:
        self.rows = rows
        self._index = index
        self._bitmap = index.bitmap_of(rows)
        vectors = MatrixVectors(index.matrix, rows)
        self._codes = faiss.index_factory(vectors.dim, _codes_for(vectors), faiss.METRIC_INNER_PRODUCT)
        with ONE_THREAD:  # threads would wait for each other at each of many small steps
            train(self._codes, vectors)
            self._numbered = faiss.IndexIDMap(self._codes)
            for some, block in vectors.blocks():
                self._numbered.add_with_ids(block, some)
        self._refined = refined(self._numbered, index.matrix)
        self.parameters = Parameters(self._refined, Width())

    @property
    def nbytes(self) -> int:
        """Bytes of memory, but for those of the index's own matrix."""
        codes = len(self.rows) * (int(self._codes.sa_code_size()) + self.rows.itemsize)
        return int(self.rows.nbytes + self._bitmap.nbytes + codes)

    def limits(self) -> Width:
        """The widest search that there is."""
        return self.parameters.limits(len(self.rows))

    def filled(self, width: Width, k: int) -> Width:
        """A width with every value, as ``Parameters.filled``; room grows in proportion to ``k``."""
        own = self.parameters.own.candidates
        if width.candidates is None and own is not None and k > MEASURED_K:
            width = replace(width, candidates=min(math.ceil(own * k / MEASURED_K), len(self.rows)))
        return self.parameters.filled(width, k, len(self.rows))

    def search(self, vectors: np.ndarray, k: int, width: Width = OWN_WIDTH) -> tuple[np.ndarray, np.ndarray]:
        """The most alike of the rows, as ``SearchIndex.search``.

        Args:
            vectors: Probes, float32 (N, D).
            k: Of them, no more than there are rows.
            width: Of the search; where it finds fewer, all are compared.
        """
        parameters = self.parameters.of(self.filled(width, k), k)
        with ONE_THREAD if len(vectors) == 1 else SEVERAL_THREADS:
            scores, rows = self._refined.search(vectors, k, params=parameters)
        few = np.flatnonzero(rows[:, -1] < 0)
        if len(few):
            scores[few], rows[few] = self.compare_all(vectors[few], k)
        return scores, rows

    def compare_all(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The same, exactly."""
        return self._index.compare_all(vectors, k, faiss.IDSelectorBitmap(self._bitmap))


def _codes_for(vectors: MatrixVectors) -> str:
    """FAISS's factory string of codes of four bits for two values."""
    if vectors.dim % 2:
        return 'SQ8'
    half = vectors.dim // 2
    rotation = f'OPQ{half}_{vectors.dim},' if are_uneven(vectors) else ''
    return f'{rotation}PQ{half}x4fs'
