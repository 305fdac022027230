"""Training that ends in a given time, with its learning rate at 0 and a whole checkpoint."""

from __future__ import annotations

import math
import time
from typing import Any
from uuid import uuid4

import torch
from mmengine.config import Config
from mmengine.dist import broadcast
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, LOOPS
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import DataLoader
from typing_extensions import override

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.training.config import train_loop_of

__all__ = ['TimedRateHook', 'TimedTrainLoop', 'use_time_budget']

_HERE = uuid4().hex  # this process; its number may be another one's later on
_WARM_UP = 0.03  # of the time
_START = 0.01  # of the rate, at the first step
_VALIDATIONS = 10  # a run, about
_TRAINED = 2  # times as long as a validation takes, at the least, is trained before the next one
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
        began: The process and its time that they count from; in another process, as of a run of the config
            that this one leaves, they count from here.
        kwargs: Of mmengine's loop.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict[str, Any],
        seconds: float,
        began: tuple[str, float] = ('', 0.0),
        **kwargs: Any,
    ) -> None:
        self.seconds = float(seconds)
        self._begin = began[1] if began[0] == _HERE else _now()
        self._gone = 0.0
        self._first: tuple[int, float] | None = None  # step and time that the pace is measured from
        self._validating, self._paused, self._paused_at = 0.0, 0.0, 0.0
        self._validated = 0  # the epoch of the last validation
        super().__init__(runner, dataloader, **kwargs)

    @property
    def progress(self) -> float:
        """Share of the time for training that is gone, 0..1."""
        return min(1.0, self._gone / self._for_training())

    @property
    def seconds_a_step(self) -> float:
        """Mean of the steps so far, but for the first; 0 as long as none was measured."""
        if self._first is None or self._iter <= self._first[0]:
            return 0.0
        return (self._gone - self._first[1] - self._paused) / (self._iter - self._first[0])

    @override
    def run(self) -> nn.Module:
        self._look_at_clock()
        self._expect()  # of a resumed run the config's steps may be over
        return super().run()

    @override
    def run_epoch(self) -> None:
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        for index, batch in enumerate(self.dataloader):
            self.run_iter(index, batch)
            self._look_at_clock()
            if self._first is None:
                self._first = self._iter, self._gone
            if self.progress >= 1:
                self._max_epochs, self._max_iters = self._epoch + 1, self._iter
                self.stop_training = True
                break
            self._expect()
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    @override
    def _decide_current_val_interval(self) -> None:
        """So many epochs that about ten validations fit into the run, and take a third of it at most.

        One that would not be over before the training leaves it to the last one.
        """
        if self.stop_training:
            return
        self._look_at_clock()
        epoch, validation = self.seconds_a_step * len(self.dataloader), self._validation()
        if epoch:
            least = max(self._for_training() / _VALIDATIONS, _TRAINED * validation)
            self.val_interval = max(1, math.ceil(least / epoch))
        too_late = self._gone + validation >= self._for_training()
        if too_late or self._epoch - self._validated < self.val_interval / 2:
            self.val_interval = self._epoch + 1

    def validation_begins(self) -> None:
        """Tell that a validation begins."""
        self._look_at_clock()
        self._paused_at = self._gone

    def validation_done(self) -> None:
        """Tell that it has ended."""
        self._look_at_clock()
        taken = self._gone - self._paused_at
        self._paused += taken
        if taken > self._validating and _SLACK * taken > self.seconds / 2:
            self.runner.logger.warning(
                f'a validation takes {taken:.0f} s of the {self.seconds:.0f} s of --time-budget: with one at '
                'its end the run takes longer than that'
            )
        self._validating, self._validated = max(self._validating, taken), self._epoch

    def _look_at_clock(self) -> None:
        """Note the time that is gone: the first process's, as all must take the same steps."""
        gone = torch.tensor([_now() - self._begin], dtype=torch.float64)
        broadcast(gone)
        self._gone = float(gone)

    def _expect(self) -> None:
        """Set ``max_iters`` and ``max_epochs`` to what the pace lets expect; the time alone ends the run."""
        steps = self._max_iters
        if self.seconds_a_step:
            steps = self._iter + int((self._for_training() - self._gone) / self.seconds_a_step)
        self._max_iters = max(self._iter + 1, steps)
        self._max_epochs = max(self._epoch + 2, math.ceil(self._max_iters / len(self.dataloader)))

    def _for_training(self) -> float:
        """Seconds without the last validation and checkpoint."""
        return max(self.seconds - self._kept_back(self._validation()), 0.5 * self.seconds)

    def _kept_back(self, validation: float) -> float:
        return _SLACK * validation + _WRITING

    def _validation(self) -> float:
        """Seconds that a validation takes: the longest so far, or a guess."""
        loop = self.runner.val_loop if self._iter else None
        if self._validating or loop is None:
            return self._validating
        images = len(loop.dataloader.dataset) / max(1, self.dataloader.batch_size or 1)
        return _GUESS * images * self.seconds_a_step


@HOOKS.register_module()
class TimedRateHook(Hook):
    """The learning rate by the share of the time that is gone: up at first, then down to 0 along a cosine."""

    priority = 'ABOVE_NORMAL'

    def __init__(self) -> None:
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
        runner.train_loop.validation_begins()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """A validation has ended."""
        runner.train_loop.validation_done()


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
        InputError: If the config does not train by epochs, or nothing is left of the time.
    """
    if (kind := train_loop_of(cfg)) not in ('EpochBasedTrainLoop', 'TimedTrainLoop'):
        raise InputError(f'--time-budget is for training by epochs; config {cfg.filename} has {kind}')
    if seconds <= 0:
        raise InputError('--time-budget: the time was over before the training began')
    for name in ('by_epoch', 'dynamic_intervals', 'val_begin'):
        cfg.train_cfg.pop(name, None)
    cfg.train_cfg.update(type='TimedTrainLoop', seconds=round(seconds, 1), began=[_HERE, _now()])
    cfg.param_scheduler = []
    hooks = [hook for hook in cfg.get('custom_hooks') or () if hook.get('type') != 'TimedRateHook']
    cfg.custom_hooks = [*hooks, dict(type='TimedRateHook')]
