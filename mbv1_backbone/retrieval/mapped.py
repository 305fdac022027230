"""Parts of a FAISS index that are views of a file: what grows behind it, what is copied before it changes.

FAISS reads the rows of flat indexes, lists of codes of 8 bits and more, and graphs as views where its reader
allows it (``ZeroCopyIOReader``), and copies blocks of 4-bit codes. A view that FAISS itself changed would end
the process, so it is never asked to.
"""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

__all__ = ['Views']

_EVERY_ID = 0, 2**62
_BEHIND = 4  # bytes that FAISS writes behind the rows of a refined index, read once


class Views:
    """A file's content that parts of an index are views of, or none.

    Args:
        content: uint8, with room to grow behind the file's bytes; None for an index that FAISS owns.
        length: Bytes of the file.
    """

    def __init__(self, content: np.ndarray | None = None, length: int = 0) -> None:
        self._content = content
        self._length = length
        self._changeable = content is None  # but for flat indexes

    def read(self) -> Any:
        """FAISS's index of the content, which must live as long.

        Raises:
            RuntimeError: If FAISS cannot read it.
        """
        return faiss.read_index(faiss.ZeroCopyIOReader(faiss.swig_ptr(self._content), self._length))

    def append(self, flat: Any, vectors: np.ndarray) -> None:
        """Add vectors (N, dim), float32, to a flat index: behind the file, where its rows are its end."""
        codes = flat.codes
        if self._content is None or codes.is_owned:
            flat.add(vectors)
            return
        more = flat.sa_encode(vectors).ravel()
        start = int(codes.data()) - self._content.ctypes.data if codes.size() else 0
        end = start + codes.size()
        if end + _BEHIND < self._length or end + len(more) > len(self._content):
            _own_rows(flat)
            flat.add(vectors)
            return
        self._content[end : end + len(more)] = more
        codes.view_size = codes.c_size = codes.size() + len(more)
        flat.ntotal += len(vectors)

    def make_changeable(self, inner: Any) -> None:
        """Copy the lists or the graph of an index into memory, before they change for the first time.

        Args:
            inner: FAISS's index that finds candidates, behind transformations.
        """
        if self._changeable:
            return
        if isinstance(inner, faiss.IndexIVF):
            lists = faiss.downcast_InvertedLists(inner.invlists)
            if isinstance(lists, faiss.ArrayInvertedLists):
                copied = faiss.ArrayInvertedLists(inner.nlist, lists.code_size)
                lists.copy_subset_to(copied, faiss.InvertedLists.SUBSET_TYPE_ID_RANGE, *_EVERY_ID)
                copied.this.disown()
                inner.replace_invlists(copied, True)
        elif isinstance(inner, faiss.IndexHNSW):
            _own_rows(faiss.downcast_index(inner.storage))
            inner.hnsw.neighbors = _copied(inner.hnsw.neighbors)
        self._changeable = True


def _own_rows(flat: Any) -> None:
    flat.codes = _copied(flat.codes)


def _copied(view: Any) -> Any:
    copy = type(view)(view.size())
    faiss.memcpy(copy.data(), view.data(), view.byte_size())
    return copy
