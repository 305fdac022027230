"""Engines for nearest neighbours at equal recall: each as wide as that asks, timed side by side."""

from __future__ import annotations

import os
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.timing import times

K = 10
RECALL = 0.99
BATCH = 100
_SECONDS = 0.4  # of each job in a round
_CURVE = (-16, -8, -4, 0, 4, 8, 16)  # places on a ladder, around the chosen one
_QUICK = 3  # times that a setting's time is taken while settings are chosen


class Engine(ABC):
    """What searches some entries, numbered 0, 1, 2 ...

    Attributes:
        name: For tables.
    """

    name: str

    @property
    @abstractmethod
    def ladders(self) -> Sequence[Sequence[Any]]:
        """Settings of the search, rows from the cheapest to the dearest; only one for an exact search."""

    @abstractmethod
    def search(self, probes: np.ndarray, k: int, setting: Any) -> Any:
        """The ``k`` entries most alike to each probe (N, D), in the engine's own form."""

    def rows(self, found: Any) -> np.ndarray:
        """What ``search`` gave as numbers of entries (N, k)."""
        return np.asarray(found)

    @abstractmethod
    def set_threads(self, count: int) -> None:
        """How many threads a search may use."""


@dataclass(frozen=True)
class Tuned:
    """The cheapest setting that reaches the recall, and what is around it.

    Attributes:
        setting: Of the engine; its dearest where none reaches the recall.
        reached: Whether it does.
        curve: (microseconds of CPU a query, recall) of settings from cheap to dear.
        chosen: Its place in the curve.
    """

    setting: Any
    reached: bool
    curve: list[tuple[float, float]]
    chosen: int


def geometric(last: int, first: int = 1, factor: float = 1.12) -> list[int]:
    """Whole numbers that grow by a factor, ``first`` and ``last`` among them."""
    found = {first, max(first, last)}
    value = float(first)
    while value < last:
        found.add(round(value))
        value *= factor
    return sorted(found)


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    """Share of the truly nearest (N, k) that are found."""
    if not len(truth):
        return float('nan')
    hits = [len(set(row) & set(right)) for row, right in zip(found.tolist(), truth.tolist(), strict=True)]
    return sum(hits) / truth.size


def tune(engine: Engine, probes: np.ndarray, truth: np.ndarray, wanted: float = RECALL) -> Tuned:
    """Find the cheapest setting, in CPU time of one thread, that reaches a recall.

    Args:
        engine: The engine.
        probes: (N, D).
        truth: (N, k), the entries that are nearest.
        wanted: Recall.
    """
    known: dict[Any, float] = {}

    def recall_of(setting: Any) -> float:
        if setting not in known:
            engine.set_threads(os.cpu_count() or 1)
            known[setting] = recall(engine.rows(engine.search(probes, truth.shape[1], setting)), truth)
        return known[setting]

    least = [(ladder, _least(ladder, recall_of, wanted)) for ladder in engine.ladders]
    able = [(ladder, place) for ladder, place in least if recall_of(ladder[place]) >= wanted]
    reached = bool(able)
    time_of = {
        ladder[place]: _cpu(engine, probes, truth.shape[1], ladder[place])
        for ladder, place in (able or least[-1:])
    }
    ladder, place = min(able or least[-1:], key=lambda one: time_of[one[0][one[1]]])
    around = sorted({min(max(place + step, 0), len(ladder) - 1) for step in _CURVE})
    recalls = [recall_of(ladder[one]) for one in around]
    costs = [
        1e6 * _cpu(engine, probes, truth.shape[1], ladder[one])
        for one in tqdm(around, desc=f'{engine.name}, curve', unit='setting', leave=False)
    ]
    return Tuned(ladder[place], reached, list(zip(costs, recalls, strict=True)), around.index(place))


def measure(
    engines: Mapping[str, tuple[Engine, Any]],
    probes: np.ndarray,
    rounds: int,
    threads: Sequence[int] = (1, 2),
) -> dict[str, dict[str, float]]:
    """Times of a query in batches of 100 and of a single one, of all engines in turn.

    Args:
        engines: Name -> engine and the setting of its search.
        probes: (N, D).
        rounds: That count.
        threads: How many threads each may use, one measurement a number.

    Returns:
        Name -> microseconds a query: ``batch_cpu_1`` (CPU time of one thread), ``batch_wall_1``,
        ``single_cpu_1`` ... ``single_wall_2``.
    """
    found: dict[str, dict[str, float]] = {name: {} for name in engines}
    for count in threads:
        jobs: dict[str, Callable[[], object]] = {}
        queries: dict[str, int] = {}
        for name, (engine, setting) in engines.items():
            engine.set_threads(count)
            for kind, size in (('batch', BATCH), ('single', 1)):
                job = f'{name}/{kind}'
                jobs[job], queries[job] = _job(engine, probes, size, setting)
        for job, taken in times(jobs, rounds, f'{count} thread{"s" * (count > 1)}').items():
            name, _, kind = job.rpartition('/')
            found[name][f'{kind}_cpu_{count}'] = 1e6 * taken.cpu / queries[job]
            found[name][f'{kind}_wall_{count}'] = 1e6 * taken.wall / queries[job]
    return found


def _job(engine: Engine, probes: np.ndarray, size: int, setting: Any) -> tuple[Callable[[], None], int]:
    """Searches in batches of a size for less than half a second, or one; and how many queries they are."""
    engine.search(probes[:size], K, setting)
    start = time.perf_counter()
    engine.search(probes[:size], K, setting)
    took = time.perf_counter() - start
    batches = min(max(1, int(_SECONDS / max(took, 1e-6))), len(probes) // size)

    def run() -> None:
        for number in range(batches):
            engine.search(probes[number * size : (number + 1) * size], K, setting)

    return run, batches * size


def _cpu(engine: Engine, probes: np.ndarray, k: int, setting: Any) -> float:
    """CPU seconds of a query in batches, one thread."""
    engine.set_threads(1)
    run, queries = _job(engine, probes, BATCH, setting)
    taken = []
    for _ in range(_QUICK):
        start = time.process_time()
        run()
        taken.append((time.process_time() - start) / queries)
    return statistics.median(taken)


def _least(ladder: Sequence[Any], recall_of: Callable[[Any], float], wanted: float) -> int:
    """Place of the cheapest setting of a ladder that reaches the recall; the last where none does."""
    low, high, step = -1, 0, 1
    while high < len(ladder) - 1 and recall_of(ladder[high]) < wanted:
        low, high, step = high, min(high + step, len(ladder) - 1), 2 * step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if recall_of(ladder[middle]) >= wanted else (middle, high)
    return high
