"""Resuming a run: its checkpoint is checked before it is used, and the schedule follows the config."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, Runner

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.training.checkpoint import check_values

__all__ = ['ResumeHook', 'check_resumable']

_PARTS = ('meta', 'state_dict', 'optimizer', 'param_schedulers', 'message_hub')
# Where a schedule has got to, not how it is set.
_POSITION = ('base_values', 'last_step', '_global_step', '_last_value', 'verbose')
_SHOWN = 3  # differences in a message


class ResumeHook(Hook):
    """Refuses a checkpoint that is not of this run, and continues with the config's schedule.

    mmengine takes the schedule and the optimizer's settings back from the checkpoint, so that a run of more
    epochs goes on at the end of the old schedule, whose rate may be near 0. Where they are not the config's,
    the config's schedule is run up to the epoch that the checkpoint has reached, and goes on from there.

    Args:
        path: Of the checkpoint, for messages.
    """

    priority = 'VERY_HIGH'

    def __init__(self, path: str) -> None:
        self.path = path

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Check a checkpoint, and change its schedule to the config's.

        Raises:
            InputError: If it is not of a run, or of one with other classes, layers or another optimizer.
        """
        check_resumable(checkpoint, self.path)
        self._check_classes(runner, checkpoint['meta'])
        self._check_tensors(runner, checkpoint['state_dict'])
        wrapper, schedulers = runner.optim_wrapper, runner.param_schedulers
        if not isinstance(wrapper, OptimWrapper) or not isinstance(schedulers, list):
            return  # several optimizers: as mmengine does it
        self._check_optimizer(wrapper, checkpoint['optimizer'])
        if changed := _differences(wrapper, schedulers, checkpoint):
            self._follow_config(runner, checkpoint, changed)

    def before_train(self, runner: Runner) -> None:
        """Say so where there is nothing left to train."""
        if runner.iter >= runner.max_iters:
            runner.logger.warning(
                f'{self.path} is the end of its run ({runner.epoch} epochs, {runner.iter} iterations): '
                'nothing is left to train; for more, raise train_cfg.max_epochs and the schedule with it'
            )

    def _check_classes(self, runner: Runner, meta: dict[str, Any]) -> None:
        there = (meta.get('dataset_meta') or {}).get('classes')
        here = (getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}).get('classes')
        if there and here and tuple(there) != tuple(here):
            raise InputError(
                f'checkpoint {self.path} has {len(there)} classes ({_listed(there)}), the config {len(here)} '
                f'({_listed(here)}): resume with the same, or start a new run from it with load_from'
            )

    def _check_tensors(self, runner: Runner, state: dict[str, Any]) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        target = model.state_dict()
        wrong = [f'{name} missing' for name in target if name not in state]
        wrong += [f'{name} unknown' for name in state if name not in target]
        wrong += [
            f'{name} {tuple(state[name].shape)} instead of {tuple(tensor.shape)}'
            for name, tensor in target.items()
            if name in state and state[name].shape != tensor.shape
        ]
        if wrong:
            raise InputError(f'checkpoint {self.path} is not of this config: {_listed(wrong, "; ")}')

    def _check_optimizer(self, wrapper: OptimWrapper, saved: dict[str, Any]) -> None:
        groups = saved.get('param_groups') if isinstance(saved, dict) else None
        fresh = wrapper.optimizer.state_dict()['param_groups']
        try:
            fits = [(len(g['params']), _kind(g)) for g in groups or ()] == [
                (len(g['params']), _kind(g)) for g in fresh
            ]
        except (TypeError, KeyError):
            fits = False
        if not fits:
            raise InputError(
                f'checkpoint {self.path} was trained with another optimizer or paramwise_cfg than the config '
                f'has ({type(wrapper.optimizer).__name__}): start a new run from it with load_from'
            )

    def _follow_config(self, runner: Runner, checkpoint: dict[str, Any], changed: list[str]) -> None:
        what = _listed(changed, '; ')
        if any(not hasattr(scheduler, 'base_values') for scheduler in runner.param_schedulers):
            runner.logger.warning(
                f"resumed from {self.path}: the checkpoint's schedule is kept, as it follows a metric; the "
                f"config's is another: {what}"
            )
            return
        _replay(runner, checkpoint['meta'])
        now = runner.optim_wrapper.state_dict()
        for saved, current in zip(checkpoint['optimizer']['param_groups'], now['param_groups'], strict=True):
            saved.update({key: value for key, value in current.items() if key != 'params'})
        checkpoint['optimizer']['base_param_settings'] = now.get('base_param_settings')
        checkpoint['param_schedulers'] = [scheduler.state_dict() for scheduler in runner.param_schedulers]
        rate = runner.optim_wrapper.get_lr()['lr'][0]
        runner.logger.warning(
            f"resumed from {self.path}: the schedule follows the config, not the checkpoint's ({what}); the "
            f'learning rate goes on at {rate:.3g}'
        )


def check_resumable(checkpoint: Any, path: str) -> None:
    """Check that a checkpoint holds what resuming needs, in finite numbers.

    Raises:
        InputError: If it does not.
    """
    missing = _PARTS if not isinstance(checkpoint, dict) else [p for p in _PARTS if p not in checkpoint]
    meta = {} if missing else checkpoint['meta']
    if missing or not isinstance(meta, dict) or not all(type(meta.get(k)) is int for k in ('epoch', 'iter')):
        what = missing[0] if missing else 'epoch and iteration in its meta'
        raise InputError(f'checkpoint {path} cannot be resumed: it has no {what}, as those of a run have')
    state = checkpoint['state_dict']
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise InputError(f'checkpoint {path} cannot be resumed: its state_dict is none')
    if not isinstance(meta.get('dataset_meta') or {}, dict):
        raise InputError(f'checkpoint {path} cannot be resumed: its dataset_meta is no dict')
    check_values(state, path)


def _differences(wrapper: OptimWrapper, schedulers: list[Any], checkpoint: dict[str, Any]) -> list[str]:
    """In what the config's schedules and optimizer are set otherwise than the checkpoint's."""
    saved = checkpoint['param_schedulers']
    if not isinstance(saved, list) or len(saved) != len(schedulers):
        return ['other schedules']
    found = []
    for scheduler, before in zip(schedulers, saved, strict=True):
        here, there = _settings(scheduler.state_dict()), _settings(before)
        found += [
            f'{type(scheduler).__name__} {key} {there.get(key)} -> {here.get(key)}'
            for key in sorted(here.keys() | there.keys())
            if here.get(key) != there.get(key)
        ]
    live = {scheduler.param_name for scheduler in schedulers if hasattr(scheduler, 'param_name')}
    pairs = zip(
        wrapper.optimizer.state_dict()['param_groups'], checkpoint['optimizer']['param_groups'], strict=True
    )
    for here, there in pairs:
        found += [
            f'{key} {there[key]} -> {value}'
            for key, value in here.items()
            if key not in ('params', *live) and there.get(key) != value
        ]
    return list(dict.fromkeys(found))


def _settings(state: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key not in _POSITION}


def _kind(group: dict[str, Any]) -> set[str]:
    """The settings that an optimizer's group has, by which the optimizer is known."""
    return {key for key in group if not key.startswith('initial_') and key != 'param_names'}


def _replay(runner: Runner, meta: dict[str, Any]) -> None:
    """Step the config's schedules, which are at their beginning, to where the checkpoint's run had got."""
    epochs, iterations = meta['epoch'], meta['iter']
    length = iterations + 1  # no epoch ends
    if isinstance(runner.train_loop, EpochBasedTrainLoop):
        length = len(runner.train_dataloader)
        iterations = epochs * length
    by_iteration = [s for s in runner.param_schedulers if not s.by_epoch]
    by_epoch = [s for s in runner.param_schedulers if s.by_epoch]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # no step of the optimizer between them
        for number in range(1, iterations + 1):
            for scheduler in by_iteration:
                scheduler.step()
            if number % length == 0:
                for scheduler in by_epoch:
                    scheduler.step()


def _listed(names: Any, comma: str = ', ') -> str:
    names = list(map(str, names))
    more = f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''
    return comma.join(names[:_SHOWN]) + more
