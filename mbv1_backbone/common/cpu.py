"""What the processor can do: the one place that knows it."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path

from mbv1_backbone.common.errors import InputError

__all__ = ['bf16_is_fast', 'cores', 'cpu_flags']

_OVERRIDE = 'MBV1_CPU_BF16'
_FLAGS = {'avx512_bf16', 'amx_bf16'}


def bf16_is_fast() -> bool:
    """Whether this processor multiplies in bfloat16, and so does faster.

    The environment variable ``MBV1_CPU_BF16`` (0 or 1) answers instead, where it is set.

    Raises:
        InputError: If the variable is neither.
    """
    answer = os.environ.get(_OVERRIDE, '')
    if answer not in ('', '0', '1'):
        raise InputError(f'{_OVERRIDE} must be 0 or 1, got {answer!r}')
    return answer == '1' if answer else not _FLAGS.isdisjoint(cpu_flags())


@cache
def cpu_flags() -> frozenset[str]:
    """The instruction sets of the first processor, as Linux names them; empty elsewhere."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.split() for line in lines if line.startswith('flags')), []))


def cores() -> int:
    """How many cores this process may use: ``taskset`` and Slurm give it some of the machine's."""
    if sys.platform == 'linux':
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
