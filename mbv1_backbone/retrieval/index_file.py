"""An index as a file, as FAISS writes it."""

from __future__ import annotations

import hashlib
import os
from typing import BinaryIO

import faiss
import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import HashedWriter
from mbv1_backbone.common.mapping import CAN_MAP, map_with_room
from mbv1_backbone.retrieval.factories import reason
from mbv1_backbone.retrieval.index import SearchIndex
from mbv1_backbone.retrieval.mapped import Views

__all__ = ['digest_of', 'is_mapped', 'read_index', 'write_index']

_MAPPED_LEAST = 1 << 24  # bytes of a file from which it is mapped: a smaller one is read at once
_PIECE = 1 << 20  # bytes written or read at once


def write_index(index: SearchIndex, file: BinaryIO) -> str:
    """Write an index piece by piece; the SHA-256 of what was written."""
    writer = HashedWriter(file)
    faiss.write_index(index.faiss, faiss.PyCallbackIOWriter(writer, _PIECE))
    return writer.digest.hexdigest()


def digest_of(file: BinaryIO) -> str:
    """SHA-256 of a file from its beginning, read piece by piece: nothing of it stays in this process."""
    digest = hashlib.sha256()
    file.seek(0)
    while piece := file.read(_PIECE):
        digest.update(piece)
    return digest.hexdigest()


def read_index(file: BinaryIO, factory: str, trained_for: int, dim: int, removed: np.ndarray) -> SearchIndex:
    """Read what ``write_index`` wrote, a large one as a view of the file; its checksum must be right.

    Args:
        file: The index; not cut short as long as the index is used.
        factory: FAISS's string for the index.
        trained_for: Vectors that it was trained for.
        dim: Values in a vector.
        removed: bool (rows,), True for each row that was removed.

    Raises:
        InputError: If it cannot be read, or is not the index it should be.
    """
    size = os.fstat(file.fileno()).st_size
    content = map_with_room(file, 0, size, _room(size)) if is_mapped(size) else None
    views = Views(content, size)
    faiss.set_deserialization_vector_byte_limit(max(4 * size, 1 << 20))
    faiss.set_deserialization_loop_limit(max(size, 1 << 16))
    try:
        if content is not None:
            index = views.read()
        else:
            file.seek(0)
            index = faiss.deserialize_index(np.frombuffer(file.read(), np.uint8))
    except (RuntimeError, MemoryError) as error:
        raise InputError(f'not a readable index: {reason(error)}') from error
    if (index.d, index.metric_type) != (dim, faiss.METRIC_INNER_PRODUCT):
        raise InputError(f'index of {index.d} values a vector, not {dim}')
    read = SearchIndex(index, factory, trained_for, views=views)
    read.restore(removed)
    return read


def is_mapped(size: int) -> bool:
    """Whether an index file of so many bytes is mapped where its file system can, in place of being read."""
    return CAN_MAP and size >= _MAPPED_LEAST


def _room(size: int) -> int:
    """Bytes to grow by; until then a gallery has saved its index again."""
    return size // 2 + _MAPPED_LEAST
