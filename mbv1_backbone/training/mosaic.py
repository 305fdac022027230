"""Mosaics: four training images in one, as YOLOX has them."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.training.config import train_loop_of

__all__ = ['MosaicOffHook', 'use_mosaic']

_LOADS = ('LoadImage', 'LoadImageFromFile', 'LoadAnnotations')
_OFF = 0.15  # of the run, at its end, without: as YOLOX does, pictures are then as they will be


@HOOKS.register_module()
class MosaicOffHook(Hook):
    """Ends the mosaics with the last part of a run.

    Args:
        share: Of the run's steps, at its end; whole epochs, and one at the least where there are several.
    """

    def __init__(self, share: float = _OFF) -> None:
        self._share, self._off = share, False

    def before_train_epoch(self, runner: Runner) -> None:
        """Look whether it is time; data-loading workers start anew then, as they hold the pipeline."""
        loader = runner.train_dataloader
        dataset = loader.dataset
        if self._off or not hasattr(dataset, 'update_skip_type_keys') or not self._is_time(runner):
            return
        self._off = True
        dataset.update_skip_type_keys(['Mosaic'])
        if getattr(loader, 'persistent_workers', False):
            loader._iterator = None  # noqa: SLF001  # as mmdet's YOLOXModeSwitchHook does it
        runner.logger.info('no mosaics from here on')

    def _is_time(self, runner: Runner) -> bool:
        """Whether an epoch begins nearest to where the last part does, or is the last of several."""
        epoch, end = len(runner.train_dataloader), runner.max_iters
        last = runner.iter > 0 and runner.iter + epoch >= end
        return last or runner.iter + epoch / 2 >= end * (1 - self._share)


def use_mosaic(cfg: Config, prob: float = 0.5) -> None:
    """Make mosaics of half of a detector's training images.

    The mosaic, of twice the input's sides, takes the place of zooming out (``Expand``); the random crop that
    follows it decides how large things are.

    Args:
        cfg: Changed in place.
        prob: Share of the images.

    Raises:
        InputError: If its training data is of another kind, or has masks, which mmdet's mosaic leaves behind.
    """
    dataset = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    pipeline: list[Any] = list(dataset.get('pipeline') or ())
    kinds = [step['type'] for step in pipeline]
    if 'LoadAnnotations' not in kinds:
        raise InputError(f'--mosaic is for detectors whose training data has a pipeline; not {cfg.filename}')
    if any(step.get('with_mask') for step in pipeline):
        raise InputError(f'--mosaic moves boxes alone, and {cfg.filename} trains on masks')
    if 'Mosaic' in kinds or train_loop_of(cfg) not in ('EpochBasedTrainLoop', 'TimedTrainLoop'):
        raise InputError(f'--mosaic: config {cfg.filename} has mosaics of its own, or no epochs')
    size = next((tuple(step['scale']) for step in pipeline if 'scale' in step), None)
    if size is None or any(not isinstance(side, int) for side in size):
        raise InputError(f'--mosaic: the training pipeline of {cfg.filename} has no Resize to one size')
    loads = [step for step in pipeline if step['type'] in _LOADS]
    rest = [step for step in pipeline if step['type'] not in (*_LOADS, 'Expand')]
    mosaic = dict(type='Mosaic', img_scale=size, pad_val=128.0, prob=prob)
    cfg.train_dataloader.dataset = dict(
        type='MultiImageMixDataset', dataset={**dataset, 'pipeline': loads}, pipeline=[mosaic, *rest]
    )
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or ()), dict(type='MosaicOffHook')]
