"""An index as a file, as FAISS writes it."""

from __future__ import annotations

import hashlib
from typing import BinaryIO

import faiss
import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval.factories import reason
from mbv1_backbone.retrieval.index import SearchIndex

__all__ = ['read_index', 'write_index']

_PIECE = 1 << 20  # bytes written at once


def write_index(index: SearchIndex, file: BinaryIO) -> str:
    """Write an index piece by piece; the SHA-256 of what was written."""
    digest = hashlib.sha256()

    def write(piece: bytes) -> int:
        digest.update(piece)
        file.write(piece)
        return len(piece)

    faiss.write_index(index.faiss, faiss.PyCallbackIOWriter(write, _PIECE))
    return digest.hexdigest()


def read_index(
    content: np.ndarray, factory: str, trained_for: int, dim: int, removed: np.ndarray
) -> SearchIndex:
    """Read what ``write_index`` wrote; its checksum must have been checked before.

    Args:
        content: uint8, the file's bytes.
        factory: FAISS's string for the index.
        trained_for: Vectors that it was trained for.
        dim: Values in a vector.
        removed: bool (rows,), True for each row that was removed.

    Raises:
        InputError: If it cannot be read, or is not the index it should be.
    """
    faiss.set_deserialization_vector_byte_limit(max(4 * len(content), 1 << 20))
    faiss.set_deserialization_loop_limit(max(len(content), 1 << 16))
    try:
        index = faiss.deserialize_index(content)
    except (RuntimeError, MemoryError) as error:
        raise InputError(f'not a readable index: {reason(error)}') from error
    if (index.d, index.metric_type) != (dim, faiss.METRIC_INNER_PRODUCT):
        raise InputError(f'index of {index.d} values a vector, not {dim}')
    read = SearchIndex(index, factory, trained_for)
    read.restore(removed)
    return read
