"""How many threads FAISS searches with: one for a single query."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext

import faiss

__all__ = ['ONE_THREAD', 'SEVERAL_THREADS']


class _OneThread:
    """FAISS works in the calling thread alone: where processors are busy, OpenMP waits 8 ms for another."""

    def __init__(self) -> None:
        self._before = threading.local()

    def __enter__(self) -> None:
        self._before.threads = faiss.omp_get_max_threads()  # of this thread
        faiss.omp_set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        faiss.omp_set_num_threads(self._before.threads)


ONE_THREAD: AbstractContextManager[None] = _OneThread()
SEVERAL_THREADS: AbstractContextManager[None] = nullcontext()
