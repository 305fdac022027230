"""Vectors that an index is made of and measured with: some of them, or all of them block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import faiss
import numpy as np

__all__ = ['BLOCK', 'ArrayVectors', 'MatrixVectors', 'Vectors', 'nearest']

BLOCK = 4096  # vectors that are held at once


class Vectors(Protocol):
    """Rows of vectors, which may be more than memory holds.

    Attributes:
        people: int64 (rows,), whose each is, numbered from 0; None where that is not known.
    """

    people: np.ndarray | None

    @property
    def dim(self) -> int:
        """Values in a vector."""

    def __len__(self) -> int: ...

    def some(self, rows: np.ndarray) -> np.ndarray:
        """float32 (N, dim) of rows that ascend."""

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All of them in order: rows (N,) and vectors, float32 (N, dim), which hold until the next block."""


class ArrayVectors:
    """The rows of an array (N, dim)."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self.dim = array.shape[1]
        self.people: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._array)

    def some(self, rows: np.ndarray) -> np.ndarray:
        """As ``Vectors``."""
        return self._array[rows]

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """As ``Vectors``."""
        for start in range(0, len(self._array), BLOCK):
            part = self._array[start : start + BLOCK]
            yield np.arange(start, start + len(part)), part


class MatrixVectors:
    """The rows of a matrix that FAISS keeps, in its precision.

    Args:
        matrix: An index whose rows can be reconstructed.
        rows: Those that count, ascending; None for all.
    """

    def __init__(self, matrix: Any, rows: np.ndarray | None = None) -> None:
        self._matrix = matrix
        self._rows: np.ndarray = np.arange(int(matrix.ntotal)) if rows is None else rows
        self.dim = int(matrix.d)
        self.people: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def some(self, rows: np.ndarray) -> np.ndarray:
        """As ``Vectors``."""
        return self._matrix.reconstruct_batch(rows)

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """As ``Vectors``."""
        for start in range(0, len(self._rows), BLOCK):
            rows = self._rows[start : start + BLOCK]
            yield rows, self.some(rows)


def nearest(probes: np.ndarray, blocks: Iterable[tuple[np.ndarray, np.ndarray]], k: int) -> np.ndarray:
    """Rows (N, k) of the vectors that are truly nearest to each probe, the nearest first.

    Args:
        probes: float32 (N, dim), of length 1.
        blocks: Rows and their vectors, to compare them with, as of ``Vectors.blocks``.
        k: At most as many as there are.
    """
    scores = np.full((len(probes), 0), 0, np.float32)
    found = np.full((len(probes), 0), 0, np.int64)
    for rows, block in blocks:
        more, places = faiss.knn(probes, block, min(k, len(block)), faiss.METRIC_INNER_PRODUCT)
        scores, found = np.hstack([scores, more]), np.hstack([found, rows[places]])
        order = np.argsort(-scores, axis=1, kind='stable')[:, :k]
        scores = np.take_along_axis(scores, order, 1)
        found = np.take_along_axis(found, order, 1)
    return found
