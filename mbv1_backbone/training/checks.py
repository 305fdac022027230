"""What is wrong with a run's config, said before anything is built or written."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.registry import DATASETS, HOOKS, OPTIMIZERS

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.compat.registry import use_scope
from mbv1_backbone.detection.formats.classes import check_classes
from mbv1_backbone.training.config import datasets_of

__all__ = ['check_data_classes', 'check_training', 'schedule_note']

_HEADS = ('head', 'bbox_head', 'mask_head', 'roi_head')


def check_training(cfg: Config) -> None:
    """Check a config for training, and complete what mmengine asks for without need.

    Raises:
        InputError: If a part is missing, or classes are no list, named twice, or not as many as the model's.
    """
    for part in ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper'):
        if not cfg.get(part):
            raise InputError(f'config {cfg.filename}: has no {part}, which training needs')
    check_data_classes(cfg, 'train_dataloader', 'val_dataloader')
    _check_optimizer(cfg.optim_wrapper)
    _complete_weight_decay(cfg.optim_wrapper)
    _check_intervals(cfg)
    _use_safe_checkpoints(cfg)


def schedule_note(cfg: Config, steps: int | None = None) -> str:
    """One line where a schedule of the learning rate and the training end apart, else empty.

    Args:
        cfg: Of the training.
        steps: Of it, which schedules by iteration are held to; None where they are not known.
    """
    schedules = cfg.get('param_scheduler') or []
    schedules = [schedules] if isinstance(schedules, dict) else schedules
    by_epoch = [s for s in schedules if s.get('by_epoch', True)]
    by_step = [s for s in schedules if not s.get('by_epoch', True)]
    for some, last, unit in ((by_epoch, cfg.train_cfg.get('max_epochs'), 'epoch'), (by_step, steps, 'step')):
        ends = [s['end'] for s in some if isinstance(s.get('end'), int)]
        if not last or not ends:
            continue
        if max(ends) > last:
            return (
                f'training ends at {unit} {last}, param_scheduler at {unit} {max(ends)}: the learning rate '
                f'does not go all of its way; to change both, set end {"and T_max " * (unit == "epoch")}in '
                'param_scheduler, too'
            )
        if max(ends) < last and len(ends) == len(some) and unit == 'epoch':
            return (
                f'param_scheduler ends at epoch {max(ends)}, training at {last}: the learning rate stays as '
                'it is then; to change both, set end and T_max in param_scheduler'
            )
    return ''


def check_data_classes(cfg: Config, *loaders: str) -> None:
    """Check that the classes of data sets are lists of different names, as many as the model has.

    Raises:
        InputError: If they are not.
    """
    use_scope(cfg.get('default_scope', 'mmengine'))
    for loader in loaders:
        for dataset in datasets_of(cfg.get(loader)):
            _check_classes_of(dataset, cfg.model, loader)


def _check_classes_of(dataset: Any, model: Any, loader: str) -> None:
    given = dataset.get('metainfo') if isinstance(dataset.get('metainfo'), dict) else {}
    classes = given.get('classes', given.get('CLASSES'))
    if classes is None:
        kind = dataset.get('type')
        found = DATASETS.get(kind) if isinstance(kind, str) else kind
        classes = (getattr(found, 'METAINFO', None) or {}).get('classes')
    if classes is None:
        return
    if given.get('classes', given.get('CLASSES')) is not None:  # ImageNet's own list names two classes crane
        check_classes(classes, f'{loader}: metainfo.classes')
    names = ', '.join(classes[:8]) + (', ...' if len(classes) > 8 else '')
    for where, count in _class_counts(model, 'model'):
        if count != len(classes):
            raise InputError(
                f'{where}.num_classes={count}, but the data of {loader} have {len(classes)} classes '
                f'({names}): both must be the same (metainfo.classes)'
            )


def _class_counts(part: Any, where: str) -> Iterator[tuple[str, int]]:
    """``num_classes`` of the heads of a model config, with the place of each."""
    for name, value in part.items():
        if name not in _HEADS:
            continue
        for index, head in enumerate(value if isinstance(value, (list, tuple)) else [value]):
            if not isinstance(head, dict):
                continue
            place = f'{where}.{name}' + (f'[{index}]' if isinstance(value, (list, tuple)) else '')
            if isinstance(head.get('num_classes'), int):
                yield place, head['num_classes']
            yield from _class_counts(head, place)


def _check_intervals(cfg: Config) -> None:
    """Refuse lengths and intervals that mmengine takes as they are, and fails over in the training loop."""
    for name in ('max_epochs', 'max_iters', 'val_interval', 'val_begin'):
        value = cfg.train_cfg.get(name, 1)
        if not _is_whole(value) or value < 1:
            raise InputError(f'train_cfg.{name} must be a whole number of 1 or more, got {value!r}')
    for name, hook in (cfg.get('default_hooks') or {}).items():
        value = hook.get('interval', -1) if isinstance(hook, dict) else -1
        if not _is_whole(value):
            raise InputError(f'default_hooks.{name}.interval must be a whole number, got {value!r}')


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _use_safe_checkpoints(cfg: Config) -> None:
    """Put our hook in the place of mmengine's, which also stands where a config names none.

    One that is None stays away, and one with ``backend_args`` writes where they say.
    """
    if cfg.get('default_hooks') is None:
        cfg.default_hooks = {}
    hook = cfg.default_hooks.setdefault('checkpoint', dict(type='SafeCheckpointHook'))
    if not isinstance(hook, dict) or 'backend_args' in hook:
        return
    kind = hook.get('type')
    if isinstance(kind, str) and kind.rpartition('.')[2] == 'CheckpointHook':
        kind = HOOKS.get(kind)
    if kind is CheckpointHook:
        hook['type'] = 'SafeCheckpointHook'


def _check_optimizer(wrapper: Any) -> None:
    """Refuse a name that mmengine does not find, and then takes for None."""
    optimizer = wrapper.get('optimizer')
    kind = optimizer.get('type') if isinstance(optimizer, dict) else None
    if isinstance(kind, str) and OPTIMIZERS.get(kind) is None:
        raise InputError(f'optim_wrapper.optimizer.type: there is no optimizer {kind}')


def _complete_weight_decay(wrapper: Any) -> None:
    """Say the optimizer's own default, which mmengine asks for with ``paramwise_cfg``."""
    optimizer = wrapper.get('optimizer') or {}
    kind = optimizer.get('type')
    kind = getattr(torch.optim, kind, None) if isinstance(kind, str) else kind
    if wrapper.get('paramwise_cfg') and 'weight_decay' not in optimizer and isinstance(kind, type):
        default = inspect.signature(kind).parameters.get('weight_decay')
        if default is not None:
            optimizer['weight_decay'] = default.default
