"""Work done ahead by threads, so that decoding, resizing and drawing take place beside the network."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from numbers import Integral
from typing import TypeVar

__all__ = ['DECODERS', 'Item', 'Result', 'batched', 'map_concurrently', 'prefetch']

Item = TypeVar('Item')
Result = TypeVar('Result')
DECODERS = 2  # threads that decode and resize; PIL and OpenCV let go of Python's lock meanwhile


def prefetch(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, max_pending: int
) -> Iterator[Result]:
    """What ``map`` gives, in its order, computed by threads before it is asked for.

    Args:
        function: Of an item; what it raises is raised here, in its turn.
        items: Taken one by one in the thread that asks for results.
        threads: That compute.
        max_pending: Results under way at any time, which bounds the memory.

    Example:
        >>> list(prefetch(abs, [-1, 2, -3], threads=2, max_pending=2))
        [1, 2, 3]
    """
    remaining = iter(items)
    pool = ThreadPoolExecutor(threads)
    try:
        pending: deque[Future[Result]] = deque()
        pending.extend(pool.submit(function, item) for item in islice(remaining, max_pending))
        while pending:
            result = pending.popleft().result()
            pending.extend(pool.submit(function, item) for item in islice(remaining, 1))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)


def map_concurrently(
    function: Callable[[Item], Result], items: Iterable[Item], count: int
) -> Iterator[Result]:
    """What ``map`` gives, with ``count`` items worked on at once; one at a time, in the calling thread.

    PyTorch starts threads of its own for every thread that calls it, and is half as fast with two such teams.

    Args:
        function: Called in other threads, unless the count is 1.
        items: Its arguments.
        count: Calls at once.
    """
    return map(function, items) if count == 1 else prefetch(function, items, count, count + 1)


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of ``size`` items, the last of what is left.

    Raises:
        ValueError: If the size is no whole number, or not positive.
    """
    if isinstance(size, bool) or not isinstance(size, Integral) or size < 1:
        raise ValueError(f'batch_size must be at least 1, got {size!r}')
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch
