"""How much a service takes in before it refuses more."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.server.refusals import Refused, overloaded

__all__ = ['Budget', 'Limits']


@dataclass(frozen=True)
class Limits:
    """Bounds of one service; each request that is beyond one of them is refused by its name.

    Attributes:
        body_bytes: Of a request's body.
        images: In one request.
        image_pixels: Of one image, which others of the request outlive.
        pixels: Of all images together that are decoded at one time, three bytes each.
        requests: That are worked on at one time.
        queue: Images or faces that wait for a network.
        batch: Images or faces that go through a network together, at most.
        seconds: From a request's first byte to its answer; upkeep of the gallery may take longer.

    Raises:
        InputError: If one is not positive, or an image has no room among all pixels.
    """

    body_bytes: int = 32 * 2**20
    images: int = 32
    image_pixels: int = 25_000_000
    pixels: int = 200_000_000
    requests: int = 64
    queue: int = 256
    batch: int = 16
    seconds: float = 30.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise InputError(f'{field.name} must be positive, got {getattr(self, field.name):g}')
        if self.image_pixels > self.pixels:
            raise InputError(f'pixels must be at least image_pixels, {self.image_pixels}, got {self.pixels}')
        if self.batch > self.queue:
            raise InputError(f'queue must be at least batch, {self.batch}, got {self.queue}')


class Budget:
    """An amount that requests share: each takes a part of it and gives that back.

    Args:
        total: All of it.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = total
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, amount: int, deadline: float) -> Iterator[None]:
        """Hold a part inside; waits for others until then.

        Args:
            amount: Of the total.
            deadline: By ``time.monotonic``.

        Raises:
            Refused: If it is more than all, or too little is free until the deadline.
        """
        if amount > self.total:
            raise Refused(
                413, 'too_large', f'images: {amount} pixels together, at most {self.total} are taken'
            )
        with self._changed:
            while self._free < amount:
                if not self._changed.wait(max(0.0, deadline - time.monotonic())) and self._free < amount:
                    raise overloaded('too many pixels are being worked on')
            self._free -= amount
        try:
            yield
        finally:
            with self._changed:
                self._free += amount
                self._changed.notify_all()
