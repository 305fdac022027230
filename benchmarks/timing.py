"""Timing that machines shared with others allow: all candidates in turn, round after round, and medians."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

from tqdm import tqdm

from mbv1_backbone.common.cpu import bf16_is_fast, cpu_flags

_REST = 0.1  # seconds between jobs, in which the threads of the last one stop spinning


def seconds(jobs: Mapping[str, Callable[[], object]], rounds: int = 5) -> dict[str, float]:
    """Median time of each job, after one run of each that does not count.

    Args:
        jobs: Name -> function.
        rounds: Times that each is run, in turn, so that a busy moment hits all.
    """
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for number in tqdm(range(rounds + 1), unit='round', leave=False):
        for name, job in jobs.items():
            time.sleep(_REST)
            start = time.perf_counter()
            job()
            if number:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


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
