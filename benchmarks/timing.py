"""Timing that machines shared with others allow: all candidates in turn, round after round, and medians."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tqdm import tqdm

from mbv1_backbone.common.cpu import bf16_is_fast, cpu_flags

REST = 0.1  # seconds between jobs, in which the threads of the last one stop spinning


@dataclass(frozen=True)
class Times:
    """Medians of some rounds, in seconds.

    Attributes:
        wall: By the clock.
        cpu: Of the processor, all threads of this process together: other work disturbs it little.
    """

    wall: float
    cpu: float


def times(jobs: Mapping[str, Callable[[], object]], rounds: int = 5, title: str = '') -> dict[str, Times]:
    """Median times of each job, after one run of each that does not count.

    Args:
        jobs: Name -> function.
        rounds: Times that each is run, in turn, so that a busy moment hits all.
        title: What the progress bar says.
    """
    walls: dict[str, list[float]] = {name: [] for name in jobs}
    cpus: dict[str, list[float]] = {name: [] for name in jobs}
    for number in tqdm(range(rounds + 1), unit='round', desc=title or None, leave=False):
        for name, job in jobs.items():
            time.sleep(REST)
            wall, cpu = time.perf_counter(), time.process_time()
            job()
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            if number:
                walls[name].append(wall)
                cpus[name].append(cpu)
    return {name: Times(statistics.median(walls[name]), statistics.median(cpus[name])) for name in jobs}


def seconds(jobs: Mapping[str, Callable[[], object]], rounds: int = 5) -> dict[str, float]:
    """Median time of each job by the clock; as ``times``."""
    return {name: found.wall for name, found in times(jobs, rounds).items()}


def machine(*packages: str) -> dict[str, str | int]:
    """Processor, its precision, cores, Python and versions of packages: what figures are figures of."""
    found: dict[str, str | int] = dict(processor=_processor(), precision=best_precision())
    found['cores'] = os.cpu_count() or 0
    found['python'] = platform.python_version()
    return found | {name: version(name) for name in packages}


def best_precision() -> str:
    """The fastest precision of floats here: ``bf16`` where the processor multiplies in it, else ``fp32``."""
    return 'bf16' if bf16_is_fast() else 'fp32'


def _processor() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    kinds = [name for name in ('avx2', 'avx512f', 'avx512_bf16', 'amx_bf16') if name in cpu_flags()]
    return f'{names[0] if names else platform.machine()} ({", ".join(kinds)})'
