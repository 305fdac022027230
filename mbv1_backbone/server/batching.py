"""Micro-batches: what several clients ask for at one time goes through the network together."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from mbv1_backbone.server.refusals import overloaded

__all__ = ['Batcher']

Item = TypeVar('Item')
Result = TypeVar('Result')


@dataclass(frozen=True)
class _Waiting:
    """An item in the queue, and where its result goes."""

    item: Any
    future: Future[Any]


class Batcher(Generic[Item, Result]):
    """Runs a function on batches of what many threads ask for, one thread a batch.

    A batch is what has gathered while the network was busy with the ones before, so that nobody waits for
    others to come.

    Args:
        run: From items to as many results, in their order.
        max_batch: Items in a batch, at most.
        max_pending: Items that wait, at most; more are refused.
        workers: Batches that go through the network at once.
        seen: Called with the size of each batch.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Iterable[Result]],
        max_batch: int,
        max_pending: int,
        workers: int = 1,
        seen: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._run = run
        self._max_batch = max_batch
        self._max_pending = max_pending
        self._seen = seen
        self._queue: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def __len__(self) -> int:
        return len(self._queue)

    def __call__(self, items: Sequence[Item], deadline: float) -> list[Result]:
        """The results of some items; waits for them.

        Args:
            items: Any number: more than a batch are run one batch after the other.
            deadline: By ``time.monotonic``; what still waits then is given up.

        Raises:
            Refused: If the queue is full, the deadline is past, or the service ends.
        """
        results: list[Result] = []
        for begin in range(0, len(items), self._max_batch):
            results += self._piece(items[begin : begin + self._max_batch], deadline)
        return results

    def _piece(self, items: Sequence[Item], deadline: float) -> list[Result]:
        waiting = [_Waiting(item, Future()) for item in items]
        with self._changed:
            if self._closing:
                raise overloaded('the service is ending')
            if len(self._queue) + len(waiting) > self._max_pending:
                raise overloaded(f'{len(self._queue)} images wait for the network already')
            self._queue.extend(waiting)
            self._changed.notify_all()
        try:
            return [one.future.result(max(0.0, deadline - time.monotonic())) for one in waiting]
        except FutureTimeout:
            raise overloaded('the network did not come to these images in time') from None
        finally:
            for one in waiting:
                one.future.cancel()

    def _next(self) -> list[_Waiting]:
        """What goes through the network together now; nothing once all is done and it ends."""
        with self._changed:
            while not self._queue and not self._closing:
                self._changed.wait()
            count = min(len(self._queue), self._max_batch)
            return [self._queue.popleft() for _ in range(count)]

    def _work(self) -> None:
        while batch := self._next():
            wanted = [one for one in batch if one.future.set_running_or_notify_cancel()]
            if wanted:
                self._seen(len(wanted))
                self._settle(wanted)

    def _settle(self, batch: Sequence[_Waiting]) -> None:
        """Run a batch; where that fails, each item by itself, so that it fails for its own client alone."""
        try:
            results = self._run([one.item for one in batch])
        except BaseException as error:  # whatever it is, it belongs to those who wait
            if len(batch) == 1:
                batch[0].future.set_exception(error)
                return
            for one in batch:
                self._settle([one])
            return
        for one, result in zip(batch, results, strict=True):
            one.future.set_result(result)

    def close(self) -> None:
        """Take nothing more, and finish what waits."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
