"""Workers of a job as processes: several on this machine, or one of those that torchrun or Slurm started."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from mbv1_backbone.common.errors import InputError

__all__ = ['local_rank', 'rank_and_size', 'run_workers']

_LOOK = 1.0  # seconds between two looks at the workers
_RANKS = (('RANK', 'WORLD_SIZE'), ('SLURM_PROCID', 'SLURM_NTASKS'))
_LOCAL = ('LOCAL_RANK', 'SLURM_LOCALID')


def rank_and_size() -> tuple[int, int]:
    """The number of this process and how many there are, of torchrun or Slurm; 0 of 1 without them.

    Raises:
        InputError: If the environment says no numbers.
    """
    for rank, size in _RANKS:
        if rank in os.environ and size in os.environ:
            return _number(rank), max(1, _number(size))
    return 0, 1


def local_rank() -> int | None:
    """The number of this process on its machine; None where nobody has said.

    Raises:
        InputError: If the environment says no number.
    """
    return next((_number(name) for name in _LOCAL if name in os.environ), None)


def _number(name: str) -> int:
    text = os.environ[name]
    if not (text.isascii() and text.isdigit()):
        raise InputError(f'environment variable {name} must be a whole number, got {text!r:.40}')
    return int(text)


def run_workers(
    count: int, worker: Callable[..., int], args: tuple[Any, ...], watch: Callable[[], object]
) -> None:
    """Run workers until all have ended. One that dies leaves its part to the others.

    Args:
        count: Of processes.
        worker: A module's function of ``args`` and the process's number, which gives an exit code.
        args: That can be pickled.
        watch: Called now and then.

    Raises:
        InputError: If none of them has ended well.
    """
    context = multiprocessing.get_context('spawn')
    processes = [context.Process(target=_ended, args=(worker, *args, number)) for number in range(count)]
    try:
        for process in processes:
            process.start()
        while any(process.is_alive() for process in processes):
            time.sleep(_LOOK)
            watch()
    finally:
        for process in processes:
            if process.pid is not None and process.is_alive():
                process.terminate()
    codes = [process.exitcode for process in processes]
    if 0 not in codes:
        raise InputError(f'no worker has ended well (exit codes {codes}); the same command goes on')


def _ended(worker: Callable[..., int], *args: Any) -> None:
    sys.exit(worker(*args))
