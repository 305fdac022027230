"""Workers of a job as tasks of a Ray cluster: the same function as in processes, the same leases."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import Any

from mbv1_backbone.common.errors import InputError, NotInstalledError, one_line

__all__ = ['run_on_ray']

_LOOK = 1.0  # seconds between two looks at the workers
_TRIES = 3  # times that Ray starts a worker anew whose machine or process has died
_PASSED_ON = ('MBV1_', 'PYTHONPATH')  # beginnings of environment variables that every worker gets


def run_on_ray(
    address: str,
    count: int,
    worker: Callable[..., int],
    args: tuple[Any, ...],
    watch: Callable[[], object],
    cpus: int = 1,
    cards: int = 0,
) -> None:
    """Run workers on a Ray cluster until all have ended.

    Each is one task, which goes through the parts that nobody works on. One that Ray cannot place yet begins
    when a machine joins the cluster; one whose machine has died is started anew, and its part is taken over.

    Args:
        address: Of the cluster: ``auto``, ``local``, ``HOST:PORT`` or ``ray://HOST:PORT``.
        count: Of workers.
        worker: A module's function of ``args`` and the worker's number, which gives an exit code.
        args: That can be pickled.
        watch: Called now and then.
        cpus: Cores that Ray keeps for a worker.
        cards: GPUs that Ray keeps for a worker.

    Raises:
        NotInstalledError: If Ray is not installed.
        InputError: If there is no such cluster, it has no room for one worker, or none has ended well.
    """
    try:
        import ray
    except ImportError as error:
        raise NotInstalledError(
            'Ray is not installed: pip install "mbv1-backbone[ray]"', name='ray'
        ) from error
    environment = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
    try:
        ray.init(address, logging_level=logging.WARNING, runtime_env={'env_vars': environment})
    except Exception as error:  # ConnectionError, ValueError, RuntimeError, of gRPC, ...: any kind
        raise InputError(f'--ray {address}: {one_line(error)}') from error
    try:
        _check_room(ray, address, {'CPU': cpus, 'GPU': cards})
        task = ray.remote(num_cpus=cpus, num_gpus=cards, max_retries=_TRIES)(worker)
        codes = _codes(ray, [task.remote(*args, number) for number in range(count)], watch)
    finally:
        ray.shutdown()
    if 0 not in codes:
        raise InputError(f'no worker has ended well (exit codes {codes}); the same command goes on')


def _check_room(ray: Any, address: str, needed: dict[str, int]) -> None:
    """Check that some machine of the cluster could take a worker, since Ray would wait for one for ever."""
    machines = [node['Resources'] for node in ray.nodes() if node['Alive']]
    for kind, amount in needed.items():
        most = max((machine.get(kind, 0) for machine in machines), default=0)
        if most < amount:
            raise InputError(
                f'--ray {address}: a worker needs {amount} {kind}, the largest machine there has {most:g}'
            )


def _codes(ray: Any, pending: list[Any], watch: Callable[[], object]) -> list[int | None]:
    """Exit codes of tasks, in the order of their ends; None of one that has died, which is said, with why."""
    codes: list[int | None] = []
    while pending:
        done, pending = ray.wait(pending, timeout=_LOOK)
        for one in done:
            try:
                codes.append(ray.get(one))
            except ray.exceptions.RayError as error:  # what a worker raised is at its end
                lines = str(error).strip().splitlines() or [type(error).__name__]
                print(f'a worker on Ray has died: {lines[-1].strip()[:300]}', file=sys.stderr)
                codes.append(None)
        watch()
    return codes
