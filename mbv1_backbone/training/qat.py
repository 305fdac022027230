"""Quantisation-aware fine-tuning: a trained network learns to be its int8 file for LiteRT."""

from __future__ import annotations

import copy
import os
from collections.abc import Collection
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn
from typing_extensions import override

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.export.litert.trained import KEY, as_meta, trained_ranges
from mbv1_backbone.training.checkpoint import fill, read_checkpoint
from mbv1_backbone.training.config import kind_of
from mbv1_backbone.training.fake_quant import FakeQuantisation, Stage
from mbv1_backbone.training.network_input import network_size
from mbv1_backbone.training.precision import precision_of
from mbv1_backbone.training.recalibration import RecalibrateHook
from mbv1_backbone.weights.sources import local_file

__all__ = ['QuantiseHook', 'use_qat']

_EPOCHS = 3
_RATE = 1e-5  # of AdamW
_NOT_DISTILLED = '--distill is for classifiers and embedders; a detector learns from its boxes'
_RATE_KEY = 'optim_wrapper.optimizer.lr'


def use_qat(
    cfg: Config,
    checkpoint: str | os.PathLike[str],
    distill: bool = False,
    overridden: Collection[str] = (),
) -> None:
    """Make a config's run a short fine-tuning of a trained network with ``QuantiseHook``.

    Its length is 3 epochs, by AdamW at a rate that falls from 1e-5 to 0.

    Args:
        cfg: Changed in place.
        checkpoint: Of the trained network: a file, or a name in the model zoo.
        distill: Learn from the network itself in float32, see ``QuantiseHook``.
        overridden: Keys of the config that the user has set: what is under ``train_cfg``, ``optim_wrapper``
            or ``param_scheduler`` stays as it is then, but for ``optim_wrapper.optimizer.lr``, which is the
            rate of AdamW.

    Raises:
        InputError: If there is no such checkpoint, or it cannot be done.
    """
    rate = cfg.optim_wrapper.optimizer.lr if _RATE_KEY in set(overridden) else _RATE
    kept = {key.split('.')[0] for key in {*overridden} - {_RATE_KEY}}
    if distill and kind_of(cfg) == 'detector':
        raise InputError(_NOT_DISTILLED)
    read_checkpoint(local_file(checkpoint))  # refused before anything is written
    if 'train_cfg' not in kept:
        cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=_EPOCHS, val_interval=_EPOCHS)
    if 'optim_wrapper' not in kept:
        optimizer = dict(type='AdamW', lr=rate, weight_decay=0.0)
        cfg.optim_wrapper = dict(type='OptimWrapper', optimizer=optimizer)
    epochs = cfg.train_cfg.get('max_epochs')
    if 'param_scheduler' not in kept and epochs:
        cfg.param_scheduler = dict(
            type='CosineAnnealingLR', T_max=epochs, end=epochs, by_epoch=True, convert_to_iter_based=True
        )
    hook = dict(type='QuantiseHook', checkpoint=os.fspath(checkpoint), distill=distill)
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]
    cfg.load_from = None


@HOOKS.register_module()
class QuantiseHook(Hook):
    """Quantisation-aware training, see ``FakeQuantisation``: of classifiers, face embedders and SSDs.

    Ranges are first measured on training images, then follow moving averages, and stay as they are for the
    last part of the training. Checkpoints hold the weights, whose names are those of float32, and in ``meta``
    the ranges, which ``mbv1 export --to litert --precision int8`` takes in place of calibration.

    Args:
        checkpoint: Of the trained network; None where it starts from what the config says.
        images: Which ranges are first measured on.
        frozen: Share of the training, at its end, in which ranges stay as they are.
        distill: Learn what the network itself gives in float32, in place of the config's losses: images need
            no labels. Of classifiers and embedders.
    """

    priority = 'LOW'  # after weights are loaded and norms recalibrated, before checkpoints are written

    def __init__(
        self,
        checkpoint: str | None = None,
        images: int = 64,
        frozen: float = 0.5,
        distill: bool = False,
    ) -> None:
        if images < 1 or not 0 <= frozen <= 1:
            raise ValueError(f'images must be 1 or more and frozen 0 to 1, got {images} and {frozen}')
        self.checkpoint, self.images, self.frozen, self.distill = checkpoint, images, frozen, distill
        self._resumed: dict[str, Any] | None = None

    @override
    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        self._resumed = checkpoint.get('meta')

    @override
    def before_train(self, runner: Runner) -> None:
        """Load the trained network, and have it compute as its file does.

        Raises:
            InputError: If the network is not the checkpoint's, or LiteRT has no operator for it.
        """
        model: BaseModel = getattr(runner.model, 'module', runner.model)
        if (precision := precision_of(runner.cfg)) != 'float32':
            raise InputError(f'quantisation-aware training is in float32, not {precision}: leave --amp out')
        if (kind := kind_of(runner.cfg)) is None:
            raise InputError(
                f'{type(model).__name__}: quantisation-aware training is of classifiers, face embedders and '
                'SSDs'
            )
        if self.distill and kind == 'detector':
            raise InputError(_NOT_DISTILLED)
        if self.checkpoint is not None and not self._resumes(runner):
            self._load(model, self.checkpoint)
            RecalibrateHook().before_train(runner)  # the other one has come before these weights
        teacher = self._teacher(runner, model) if self.distill else None
        self.fake = FakeQuantisation(model, network_size(runner.cfg))
        saved = (
            trained_ranges(self._resumed or {}, str(runner.cfg.load_from)) if self._resumes(runner) else None
        )
        if saved is not None:
            self.fake.restore(saved, str(runner.cfg.load_from), Stage.LEARN)
        else:
            self._measure(runner, model)
        if teacher is not None:
            model.forward = _Distilled(model, teacher)
        runner.logger.info(f'{len(self.fake.ranges().ranges)} tensors are rounded to 8 bits')

    @override
    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter >= (1 - self.frozen) * runner.max_iters:
            self.fake.stage = Stage.FROZEN

    @override
    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        checkpoint['meta'][KEY] = as_meta(self.fake.ranges())

    def _load(self, model: BaseModel, path: str) -> None:
        found = read_checkpoint(local_file(path))
        fill(model, found)
        spare = tuple(getattr(model, 'training_only', ()))
        learned = [name for name, _ in model.named_parameters() if spare and name.startswith(spare)]
        missing = [name for name in learned if name not in found.state]
        if missing and not self.distill:
            raise InputError(
                f'{path}: has no {missing[0]}, without which its losses would begin anew: take the '
                'checkpoint of its run, or --distill'
            )

    def _teacher(self, runner: Runner, model: BaseModel) -> BaseModel:
        """The network as it was before the fine-tuning."""
        teacher = copy.deepcopy(model).eval()
        if self._resumes(runner):
            if self.checkpoint is None:
                raise InputError('QuantiseHook(distill=True) needs checkpoint, where a run is resumed')
            self._load(teacher, self.checkpoint)
        return teacher

    def _resumes(self, runner: Runner) -> bool:
        return bool(runner.cfg.get('resume')) and self._resumed is not None

    def _measure(self, runner: Runner, model: BaseModel) -> None:
        """The least and the greatest values on training images."""
        loader = runner.train_dataloader
        model.eval()
        with torch.no_grad():
            for data in islice(loader, max(1, -(-self.images // (loader.batch_size or 1)))):
                inputs = model.data_preprocessor(data, True)['inputs']
                model(inputs, mode='tensor')
        model.train()
        self.fake.learn()


class _Distilled:
    """The forward of a network whose loss is its distance from what it was in float32."""

    def __init__(self, model: nn.Module, teacher: nn.Module) -> None:
        self.model, self.teacher = model, teacher

    def __call__(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        """As the model's own but for ``mode='loss'``: the squared error, as a share of the variance."""
        own: Any = type(self.model).forward
        if mode != 'loss':
            return own(self.model, inputs, data_samples, mode=mode)
        with torch.no_grad():
            targets = self.teacher(inputs, mode='tensor')
        found = own(self.model, inputs, mode='tensor')
        return dict(loss_distill=F.mse_loss(found, targets) / targets.var())
