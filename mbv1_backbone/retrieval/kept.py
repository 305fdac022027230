"""What is made for one state of an index, and kept while it is used: so many bytes of it at most."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

__all__ = ['KEPT_BYTES', 'Kept']

KEPT_BYTES = 1 << 30  # of all that is kept; what was used last may be larger by itself
_COUNTED = 4096  # keys whose uses are counted, the last ones

T = TypeVar('T')


class Kept:
    """Values by their keys; those that were not used for the longest time go first. Threads may share it.

    Attributes:
        making: To be held while something is made that takes so long that others had better do without.
    """

    def __init__(self) -> None:
        self.making = threading.Lock()
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._bytes = 0
        self._asked: dict[Hashable, int] = {}
        self._guard = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T], size: Callable[[T], int]) -> T:
        """The value of a key, made where it is not there.

        Args:
            key: Of the value.
            make: Makes it.
            size: Of a value, bytes.
        """
        found: T | None = self.find(key)
        if found is not None:
            return found
        value = make()
        with self._guard:
            self._drop(key)  # another thread may have made it meanwhile
            self._values[key] = value, size(value) + len(repr(key))
            self._bytes += self._values[key][1]
            while self._bytes > KEPT_BYTES and len(self._values) > 1:
                self._drop(next(iter(self._values)))
        return value

    def find(self, key: Hashable) -> Any:
        """The value of a key; None where it is not there."""
        with self._guard:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

    def forget(self, key: Hashable) -> None:
        """Let a value go, if it is there."""
        with self._guard:
            self._drop(key)

    def count(self, key: Hashable, more: int) -> int:
        """How often something was asked for; it is counted also while nothing is kept of it."""
        with self._guard:
            asked = self._asked[key] = self._asked.pop(key, 0) + more
            if len(self._asked) > _COUNTED:
                del self._asked[next(iter(self._asked))]
            return asked

    def count_anew(self, key: Hashable) -> None:
        """Begin at 0 again."""
        with self._guard:
            self._asked.pop(key, None)

    def clear(self) -> None:
        """Let all go: the index has changed."""
        with self._guard:
            self._values.clear()
            self._asked.clear()
            self._bytes = 0

    def _drop(self, key: Hashable) -> None:
        if key in self._values:
            self._bytes -= self._values.pop(key)[1]
