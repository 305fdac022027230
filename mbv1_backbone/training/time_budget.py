"""Training that ends in a given time, with its learning rate at 0 and a whole checkpoint."""

from __future__ import annotations

import math
import os
import time
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, LOOPS
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import DataLoader
from typing_extensions import override

from mbv1_backbone.common.errors import InputError

__all__ = ['TimedRateHook', 'TimedTrainLoop', 'use_time_budget']

_WARM_UP = 0.03  # of the time
_START = 0.01  # of the rate, at the first step
_VALIDATIONS = 10  # a run, about
_GUESS = 1.5  # of a training image's time, that a validation image takes, as long as none was measured
_SLACK = 1.2  # a validation and a checkpoint may take so much longer than those before
_WRITING = 5.0  # seconds, of a checkpoint and curves


@LOOPS.register_module()
class TimedTrainLoop(EpochBasedTrainLoop):
    """Epochs until the time is over, in the middle of the last one, with time left to validate and to write.

    ``max_epochs`` and ``max_iters`` are what the steps so far let expect.

    Args:
        runner: Of the run.
        dataloader: Of the training images.
        seconds: To the end of the run.
        began: The process and its time that they count from; in another process they count from here.
        kwargs: Of mmengine's loop.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict[str, Any],
        seconds: float,
        began: tuple[int, float] = (0, 0.0),
        **kwargs: Any,
    ) -> None:
        self.seconds = float(seconds)
        self._begin = began[1] if began[0] == os.getpid() else _now()
        self._first: tuple[int, float] | None = None  # step and time that the pace is measured from
        self._validating, self._paused = 0.0, 0.0
        super().__init__(runner, dataloader, **kwargs)

    @property
    def progress(self) -> float:
        """Share of the time for training that is gone, 0..1."""
        return min(1.0, (_now() - self._begin) / max(self._for_training(), 1e-6))

    @property
    def seconds_a_step(self) -> float:
        """Mean of the steps so far, but for the first; 0 as long as none was measured."""
        if self._first is None or self._iter <= self._first[0]:
            return 0.0
        return (_now() - self._first[1] - self._paused) / (self._iter - self._first[0])

    @override
    def run(self) -> nn.Module:
        self._max_epochs = max(self.max_epochs, self._epoch + 2)  # of a resumed run they may be over
        self._max_iters = max(self.max_iters, self._iter + 2 * len(self.dataloader))
        return super().run()

    @override
    def run_epoch(self) -> None:
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        for index, batch in enumerate(self.dataloader):
            self.run_iter(index, batch)
            if self._first is None:
                self._first = self._iter, _now()
            if self.progress >= 1:
                self._max_epochs, self._max_iters = self._epoch + 1, self._iter
                self.stop_training = True
                break
            self._expect()
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    @override
    def _decide_current_val_interval(self) -> None:
        """So many epochs that about ten validations fit into the run."""
        if self.stop_training:
            return
        epoch = self.seconds_a_step * len(self.dataloader)
        if epoch:
            least = self._for_training() / _VALIDATIONS / epoch
            self.val_interval = max(1, math.ceil(least))

    def validated(self, seconds: float) -> None:
        """Tell how long a validation took."""
        self._validating = max(self._validating, seconds)
        self._paused += seconds

    def _expect(self) -> None:
        """Set ``max_iters`` and ``max_epochs`` to what the pace lets expect; the time alone ends the run."""
        if self.seconds_a_step:
            left = self._for_training() - (_now() - self._begin)
            self._max_iters = self._iter + max(1, int(left / self.seconds_a_step))
            epochs = math.ceil(self._max_iters / len(self.dataloader))
            self._max_epochs = max(self._epoch + 2, epochs)

    def _for_training(self) -> float:
        """Seconds without the last validation and checkpoint."""
        validation = self._validating
        loop = self.runner.val_loop if self._iter else None
        if not validation and loop is not None:
            images = len(loop.dataloader.dataset) / max(1, self.dataloader.batch_size or 1)
            validation = _GUESS * images * self.seconds_a_step
        return max(self.seconds - _SLACK * validation - _WRITING, 0.5 * self.seconds)


@HOOKS.register_module()
class TimedRateHook(Hook):
    """The learning rate by the share of the time that is gone: up at first, then down to 0 along a cosine."""

    priority = 'ABOVE_NORMAL'

    def __init__(self) -> None:
        self._began = 0.0
        self._rates: list[float] = []

    def before_run(self, runner: Runner) -> None:
        """Note the rates of the config, before a checkpoint brings its own."""
        self._rates = [group['lr'] for group in runner.optim_wrapper.param_groups]

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Set the rate of the step.

        Args:
            runner: Of the run.
            batch_idx: Unused.
            data_batch: Unused.
        """
        share = _rate(runner.train_loop.progress)
        for group, rate in zip(runner.optim_wrapper.param_groups, self._rates, strict=True):
            group['lr'] = rate * share

    def before_val_epoch(self, runner: Runner) -> None:
        """A validation begins."""
        self._began = _now()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """A validation has ended."""
        runner.train_loop.validated(_now() - self._began)


def _now() -> float:
    return time.monotonic()


def _rate(progress: float) -> float:
    """Share of the greatest rate at a share of the time."""
    up = min(1.0, _START + (1 - _START) * progress / _WARM_UP)
    return up * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def use_time_budget(cfg: Config, seconds: float) -> None:
    """Have a run end in a given time, with a validation and a whole checkpoint.

    Args:
        cfg: Changed in place: the schedule of its learning rate gives way to one by time.
        seconds: From here to the end.

    Raises:
        InputError: If the config does not train by epochs.
    """
    kind = str(cfg.train_cfg.get('type', 'EpochBasedTrainLoop')).rpartition('.')[2]
    if kind != 'EpochBasedTrainLoop' or cfg.train_cfg.get('by_epoch') is False:
        raise InputError(f'--time-budget is for training by epochs; config {cfg.filename} has {kind}')
    cfg.train_cfg.pop('by_epoch', None)
    cfg.train_cfg.pop('dynamic_intervals', None)
    cfg.train_cfg.update(type='TimedTrainLoop', seconds=round(seconds, 1), began=[os.getpid(), _now()])
    cfg.param_scheduler = []
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or ()), dict(type='TimedRateHook')]
