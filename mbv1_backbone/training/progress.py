"""How far a run is and how long it still takes: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from shutil import get_terminal_size
from statistics import fmean
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from tqdm import tqdm
from typing_extensions import override

from mbv1_backbone.training.averaging import best_checkpoint
from mbv1_backbone.training.curves import headline

__all__ = ['ProgressHook', 'TimeLeft']

_WARM_UP = 2  # steps in which workers start and memory is taken for the first time
_WINDOW = 100  # steps that the estimate looks back on
_FIRST, _LEAST, _MOST = 5.0, 10.0, 600.0  # seconds until the first line; least and most between later ones
_LINES = 60  # about that many lines a run
_GUESS = 0.7  # of a training image's time, that a validation image takes, as long as none was measured


class TimeLeft:
    """What a run still takes, from the time of its steps, validations and pauses between epochs.

    A pause is what the first step of an epoch takes longer than others: checkpoints and loading data.

    Args:
        clock: Gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()
        self._warm_up = _WARM_UP
        self._pending = 0.0
        self._steps: deque[float] = deque(maxlen=_WINDOW)
        self._pauses: list[float] = []
        self._validations: list[float] = []

    def step_done(self, first: bool) -> None:
        """Tell of a training step; ``first``: of an epoch."""
        taken = self._lap()
        if self._warm_up:
            self._warm_up -= 1
        elif first and self._steps:
            self._pauses.append(max(0.0, self._pending + taken - fmean(self._steps)))
        else:
            self._steps.append(taken)
        self._pending = 0.0

    def validation_begins(self) -> None:
        """Tell that a validation begins; the time since the last step was a pause."""
        self._pending = self._lap()

    def validation_done(self) -> None:
        """Tell that it has ended."""
        self._validations.append(self._lap())

    def estimate(self, steps: int, validations: int, pauses: int, steps_a_validation: float) -> float | None:
        """Seconds that are left; None as long as no step was measured.

        Args:
            steps: That are left.
            validations: That are left.
            pauses: That are left.
            steps_a_validation: How many steps a validation is taken for until one was measured.
        """
        if not self._steps:
            return None
        step = fmean(self._steps)
        validation = fmean(self._validations) if self._validations else step * steps_a_validation
        pause = fmean(self._pauses) if self._pauses else 0.0
        return steps * step + validations * validation + pauses * pause

    @property
    def seconds_a_step(self) -> float:
        """Mean of the last steps; 0 as long as none was measured."""
        return fmean(self._steps) if self._steps else 0.0

    def _lap(self) -> float:
        before, self._last = self._last, self._clock()
        return self._last - before


class ProgressHook(Hook):
    """Shows progress, loss and time left, and after each validation its headline metrics.

    Args:
        bar: A bar on stderr instead of lines on stdout; by default where stderr is a terminal.
        clock: Gives seconds.
    """

    priority = 'VERY_LOW'

    def __init__(self, bar: bool | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._wants_bar = sys.stderr.isatty() if bar is None else bar
        self._clock = clock

    @override
    def before_train(self, runner: Runner) -> None:
        self._quiet = runner.rank > 0
        self._by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        self._start = self._clock()
        self._next_line = self._start + _FIRST
        self._time = TimeLeft(self._clock)
        self._guess = _steps_a_validation(runner)
        size = get_terminal_size()  # never 0, where tqdm would draw nothing
        self._bar = tqdm(
            total=runner.max_iters,
            initial=runner.iter,
            disable=self._quiet or not self._wants_bar,
            ncols=size.columns,
            nrows=size.lines,
            bar_format='{desc}{percentage:3.0f}%|{bar:20}| {n_fmt}/{total_fmt}{postfix}',
            mininterval=0.5,
        )

    @override
    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        self._time.step_done(first=self._by_epoch and batch_idx == 0)
        if self._quiet:
            return
        done = runner.iter + 1
        left = self._time.estimate(*_what_is_left(runner, done), self._guess)
        if self._wants_bar:
            self._bar.set_postfix_str(self._state(runner, left), refresh=False)
            self._bar.total = runner.max_iters  # which a run in a given time learns as it goes
            self._bar.update()
        elif left is not None and (self._clock() >= self._next_line or done == runner.max_iters):
            gap = (self._clock() - self._start + left) / _LINES
            self._next_line = self._clock() + min(max(gap, _LEAST), _MOST)
            epoch = f'epoch {runner.epoch + 1}/{runner.max_epochs}  ' if self._by_epoch else ''
            gone = _clock_time(self._clock() - self._start)
            self._say(f'{epoch}step {done}/{runner.max_iters}  {gone} gone, {self._state(runner, left)}')

    @override
    def before_val_epoch(self, runner: Runner) -> None:
        self._time.validation_begins()
        self._bar.set_description_str('validating: ')

    @override
    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._time.validation_done()
        self._bar.set_description_str('')
        if metrics and not self._quiet:
            where = f'epoch {runner.epoch}' if self._by_epoch else f'step {runner.iter}'
            self._say(f'{where}: ' + ', '.join(f'{name} {metrics[name]:.3f}' for name in headline(metrics)))

    @override
    def after_train(self, runner: Runner) -> None:
        self._bar.close()
        if not self._quiet:
            best = best_checkpoint(runner)
            self._say(
                f'trained in {_clock_time(self._clock() - self._start)}' + f'; best: {best}' * bool(best)
            )

    def _state(self, runner: Runner, left: float | None) -> str:
        loss = runner.message_hub.get_scalar('train/loss').mean(20)
        rest = '' if left is None else f'{_clock_time(left)} left, '
        return f'{rest}loss {loss:.3f}, {self._time.seconds_a_step:.3f} s a step'

    def _say(self, text: str) -> None:
        tqdm.write(text)
        sys.stdout.flush()


def _what_is_left(runner: Runner, done: int) -> tuple[int, int, int]:
    """Steps, validations and pauses that are left after ``done`` steps; this epoch's validation is ahead."""
    loop = runner.train_loop
    by_epoch = isinstance(loop, EpochBasedTrainLoop)
    current, last = (loop.epoch + 1, loop.max_epochs) if by_epoch else (done, loop.max_iters)
    validations = 0
    if runner.val_loop is not None:
        first = max(current, loop.val_begin)
        validations = last // loop.val_interval - (first - 1) // loop.val_interval
        validations += last % loop.val_interval > 0  # the end is validated, too
    return loop.max_iters - done, validations, last - current if by_epoch else 0


def _steps_a_validation(runner: Runner) -> float:
    """How many training steps a validation may take, judged by its images."""
    if runner.val_loop is None:
        return 0.0
    batch = runner.train_dataloader.batch_size or 1
    return _GUESS * len(runner.val_loop.dataloader.dataset) / batch


def _clock_time(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
