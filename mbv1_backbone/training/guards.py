"""What keeps a run from spoiling its work folder: one run at a time, and no checkpoint of lost weights."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mbv1_backbone.common.errors import InputError, LockedError
from mbv1_backbone.training.checkpoint import first_not_finite, latest_checkpoint

__all__ = ['FiniteHook', 'only_run', 'refused_without_trace']

_LOCK = '.training.lock'
_LOG = logging.getLogger('mbv1_backbone')
_RANKS = ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK')


@contextmanager
def only_run(work_dir: str | os.PathLike[str]) -> Iterator[None]:
    """Hold a work folder for a training run; the system frees it when the process ends, however it ends.

    Of several processes of one run the first holds it. Record locks, unlike ``flock``, are not inherited
    by data-loading workers, which may outlive a killed run by seconds. Where the file system has no locks,
    the log warns, and the run goes on.

    Raises:
        LockedError: If another run holds it; the message says which.
    """
    if _is_helper():
        yield
        return
    path = Path(work_dir) / _LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, 'a+') as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if isinstance(error, (BlockingIOError, PermissionError)):
                file.seek(0)
                raise LockedError(
                    f'work folder {work_dir} is in use by another training run ({file.read().strip()}): '
                    'give another --work-dir'
                ) from None
            _LOG.warning(
                'work folder %s: its file system has no locks (%s); a second run in it is not refused',
                work_dir,
                error.strerror,
            )
        file.seek(0)
        file.truncate()
        file.write(
            f'process {os.getpid()} on {socket.gethostname()} since {time.strftime("%Y-%m-%d %H:%M:%S")}'
        )
        file.flush()
        yield


@contextmanager
def refused_without_trace(work_dir: str | os.PathLike[str], new: Path | None) -> Iterator[None]:
    """Give a work folder back as it was where a run is refused inside.

    mmengine opens its logs and copies the config before the data is read.

    Args:
        work_dir: Held by ``only_run``.
        new: The topmost folder that was made for it, which goes with it; None where the folder was there.
    """
    if _is_helper():
        yield
        return
    folder = Path(work_dir)
    there = {path.name for path in folder.iterdir()}
    configs = {path: path.read_bytes() for path in folder.glob('*.py')}
    try:
        yield
    except InputError:
        for path in [new] if new else [path for path in folder.iterdir() if path.name not in there]:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        for path, content in () if new else configs.items():
            path.write_bytes(content)
        raise


def _is_helper() -> bool:
    """Whether this process is another than the first of its run."""
    return any(os.environ.get(name, '0') != '0' for name in _RANKS)


class FiniteHook(Hook):
    """Ends a run whose loss or weights are NaN or infinite, before a checkpoint of them is written.

    The loss is looked at in every iteration without waiting for the device, and judged when a checkpoint is
    due. Under scaled float16 a step with infinite gradients is skipped, so the weights decide alone.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._first = torch.tensor(0)  # the first iteration, from 1, with a loss that is not finite

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Note whether the loss is finite.

        Args:
            runner: Of the run.
            batch_idx: Unused.
            data_batch: Unused.
            outputs: What the step returned, with the ``loss``.
        """
        loss = outputs.get('loss') if isinstance(outputs, dict) else None
        if isinstance(loss, torch.Tensor):
            bad = ~loss.detach().isfinite().all() & (self._first.to(loss.device) == 0)
            self._first = torch.where(bad, runner.iter + 1, self._first.to(loss.device))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Refuse to write what cannot be used.

        Raises:
            InputError: If the loss or a weight is not finite.
        """
        first, scaled = int(self._first), 'loss_scaler' in (checkpoint.get('optimizer') or {})
        tensor = first_not_finite(checkpoint['state_dict'])
        if tensor is None and (scaled or not first):
            self._first = torch.tensor(0)
            return
        what = f'the loss is not finite since iteration {first}' if first else f'{tensor} is not finite'
        good = latest_checkpoint(runner.work_dir)
        raise InputError(
            f'{what}: training stops, and writes no checkpoint; the last good one is {good or "none yet"}. A '
            'lower rate (optim_wrapper.optimizer.lr) or clipped gradients (optim_wrapper.clip_grad) may help'
        )
