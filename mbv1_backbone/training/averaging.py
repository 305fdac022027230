"""Averaged weights, and an end to training that gains nothing any more."""

from __future__ import annotations

import math
from typing import Any

from mmengine.config import Config
from mmengine.dist import all_reduce_params
from mmengine.hooks import CheckpointHook, EarlyStoppingHook, EMAHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from typing_extensions import override

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.wording import amount

__all__ = ['RunEMAHook', 'StopEarlyHook', 'best_checkpoint', 'use_averaging', 'use_early_stop']

_WINDOW = 0.05  # of the run's steps, that the average looks back on
_GAIN = 1e-6  # of a metric: mmengine takes one that is the same for a gain
_EARLY = 10  # the mean at a step looks back on that part of the steps before, where it is less
_STATE = 'early_stop'  # in a checkpoint: the best value, and how many validations ago
_MOST = 0.1  # of a step's share of the mean


@HOOKS.register_module()
class RunEMAHook(EMAHook):
    """mmengine's EMAHook with a window that follows the length of the run.

    Validation, checkpoints and what is made of them have the exponential mean of the weights, and of batch
    norm's statistics, over about the last twentieth of the run's steps; training goes on from the weights
    themselves, which a checkpoint has as ``ema_state_dict``. Earlier, the mean is over fewer steps.

    Args:
        share: Of the run's steps, that the mean looks back on.
    """

    def __init__(self, share: float = _WINDOW) -> None:
        super().__init__(ema_type='MomentumAnnealingEMA', update_buffers=True)
        self._share = share

    @override
    def before_run(self, runner: Runner) -> None:
        self.ema_cfg.update(momentum=self._momentum(runner), gamma=_EARLY)
        super().before_run(runner)

    @override
    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self.ema_model.momentum = self._momentum(runner)  # a run in a given time learns its length as it goes
        super().after_train_iter(runner, batch_idx, data_batch, outputs)

    def after_train_epoch(self, runner: Runner) -> None:
        """Give all processes the same statistics to validate with, as SyncBuffersHook does without a mean."""
        all_reduce_params(self.ema_model.module.buffers(), op='mean')

    def _momentum(self, runner: Runner) -> float:
        return min(_MOST, 1 / max(1.0, self._share * runner.max_iters))


@HOOKS.register_module()
class StopEarlyHook(EarlyStoppingHook):
    """mmengine's EarlyStoppingHook, which says why it stops, and goes on where a resumed run had got."""

    def before_train(self, runner: Runner) -> None:
        """Take the best value and the validations since then from the run that is resumed."""
        known = runner.message_hub.runtime_info
        if _STATE in known:
            self.best_score, self.wait_count = known[_STATE]
        best = known.get('best_score')  # of a checkpoint that was written before this hook heard of it
        if best is not None and self.rule_map[self.rule](best, self.best_score + self.min_delta):
            self.best_score, self.wait_count = best, 0

    @override
    def after_val_epoch(self, runner: Runner, metrics: dict[str, float]) -> None:
        if self.monitor not in metrics:
            raise InputError(
                f'--early-stop: the validation gives no {self.monitor}, but {", ".join(sorted(metrics))}'
            )
        over = runner.train_loop.stop_training  # a run in a given time may end here by itself
        super().after_val_epoch(runner, metrics)
        runner.message_hub.update_info(_STATE, [float(self.best_score), self.wait_count])
        if runner.train_loop.stop_training and not over:
            why = f'is no better than {self.best_score:.3f} since {amount(self.wait_count, "validation")}'
            if not math.isfinite(value := metrics[self.monitor]):
                why = f'is {value}'
            runner.logger.warning(f'{self.monitor} {why}: training stops here, at epoch {runner.epoch}')


def use_averaging(cfg: Config) -> None:
    """Average a run's weights.

    Raises:
        InputError: If its config does so already.
    """
    if _hooks(cfg, 'EMAHook', 'RunEMAHook'):
        raise InputError(f'--ema: config {cfg.filename} has an EMAHook of its own')
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or ()), dict(type='RunEMAHook', priority='NORMAL')]


def use_early_stop(cfg: Config, patience: int) -> None:
    """End a run once its best validation lies back.

    Args:
        cfg: Changed in place.
        patience: Validations that may be no better than the best before them.

    Raises:
        InputError: If the config has no validation or names nothing to watch, or stops by itself already.
    """
    if _hooks(cfg, 'EarlyStoppingHook', 'StopEarlyHook'):
        raise InputError(f'--early-stop: config {cfg.filename} has an EarlyStoppingHook of its own')
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    monitor = hook.get('save_best')
    if cfg.get('val_dataloader') is None:
        raise InputError(f'--early-stop: config {cfg.filename} has no validation (val_dataloader is None)')
    if not isinstance(monitor, str) or monitor == 'auto':
        raise InputError(
            '--early-stop watches the metric of default_hooks.checkpoint.save_best on the validation data; '
            f'config {cfg.filename} has {monitor!r} there'
        )
    stop: dict[str, Any] = dict(type='StopEarlyHook', monitor=monitor, min_delta=_GAIN, patience=patience)
    if hook.get('rule'):  # else mmengine tells it by the metric's name
        stop['rule'] = hook['rule']
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or ()), stop]


def best_checkpoint(runner: Runner) -> str:
    """The best checkpoint of a run, for a line; empty where none was kept."""
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook) and getattr(hook, 'best_ckpt_path', None):
            return str(hook.best_ckpt_path)
    return ''


def _hooks(cfg: Config, *kinds: str) -> list[Any]:
    hooks = cfg.get('custom_hooks') or ()
    return [hook for hook in hooks if str(hook.get('type')).rpartition('.')[2] in kinds]
