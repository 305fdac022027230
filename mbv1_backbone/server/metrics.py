"""What a service counts, in the text form of Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ['Metrics']

_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counts of one service: requests by route, and batches by network. No names of people, files or keys."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            'mbv1_requests', 'Requests answered', ['route', 'method', 'status'], registry=self._registry
        )
        self._seconds = Histogram(
            'mbv1_request_seconds', 'From the first byte to the answer', ['route'], registry=self._registry
        )
        self._batches = Histogram(
            'mbv1_batch_size',
            'Images or faces that went through a network together',
            ['network'],
            buckets=_SIZES,
            registry=self._registry,
        )
        self._waiting = Gauge(
            'mbv1_waiting', 'Images or faces that wait for a network', ['network'], registry=self._registry
        )
        self._active = Gauge('mbv1_active_requests', 'Requests that are worked on', registry=self._registry)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request.

        Args:
            route: As it is declared, without the values in it.
            method: Of HTTP.
            status: Of the answer.
            seconds: That it took.
        """
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def batches(self, network: str) -> Callable[[int], None]:
        """What counts the sizes of a network's batches."""
        histogram = self._batches.labels(network)
        return lambda size: histogram.observe(size)

    def watch(self, network: str, waiting: Callable[[], int]) -> None:
        """Let a network's queue be asked for its length."""
        self._waiting.labels(network).set_function(lambda: float(waiting()))

    def watch_active(self, active: Callable[[], int]) -> None:
        """Let the number of requests be asked for."""
        self._active.set_function(lambda: float(active()))

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self._registry)
