"""The matrix of full vectors within an index, and some of its rows as an index of their own."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

__all__ = ['bytes_of', 'gathered', 'matrix_of', 'refined']

_HALF = faiss.ScalarQuantizer.QT_fp16


def matrix_of(refine: Any, inner: Any) -> Any:
    """FAISS's matrix of all rows in single or half precision; None where an index keeps codes only.

    Args:
        refine: The part of the index that puts candidates in order; None where it has none.
        inner: The part that finds candidates.
    """
    found = refine
    if found is None:
        found = faiss.downcast_index(inner.storage) if isinstance(inner, faiss.IndexHNSW) else inner
    half = isinstance(found, faiss.IndexScalarQuantizer) and found.sq.qtype == _HALF
    return found if half or isinstance(found, faiss.IndexFlat) else None


def gathered(matrix: Any, rows: np.ndarray) -> Any:
    """A FAISS index of some rows of a matrix, in their order."""
    count, size = int(matrix.ntotal), int(matrix.code_size)
    codes = faiss.rev_swig_ptr(matrix.codes.data(), count * size).reshape(count, size)
    if isinstance(matrix, faiss.IndexFlat):
        some = faiss.IndexFlatIP(matrix.d)
    else:
        some = faiss.IndexScalarQuantizer(matrix.d, _HALF, faiss.METRIC_INNER_PRODUCT)
    some.add_sa_codes(np.ascontiguousarray(codes[rows]))
    return some


def bytes_of(matrix: Any) -> int:
    """Bytes of a matrix's rows."""
    return int(matrix.ntotal) * int(matrix.code_size)


def refined(candidates: Any, matrix: Any) -> Any:
    """FAISS's index of candidates, which are rows of a matrix that puts them in order.

    Args:
        candidates: FAISS's index, whose ids are rows; of some or all of them.
        matrix: Of all rows.
    """
    count, candidates.ntotal = candidates.ntotal, matrix.ntotal  # it checks for as many of either
    index = faiss.IndexRefine(candidates, matrix)
    candidates.ntotal = count
    return index
