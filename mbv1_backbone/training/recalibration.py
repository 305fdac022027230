"""Batch-norm recalibration before the first step, on the run's own training images."""

from __future__ import annotations

from itertools import islice
from typing import Any

from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mbv1_backbone.models.layers import folded_norms
from mbv1_backbone.weights.recalibrate import recalibrate_modules

__all__ = ['IMAGES', 'RecalibrateHook']

IMAGES = 256  # whose statistics are measured, by all processes together


@HOOKS.register_module()
class RecalibrateHook(Hook):
    """Give folded batch norms statistics of their own before training.

    Weights whose batch norms were folded into the convolutions (TFLite files) predict as they should, but the
    statistics of a batch would change at once what each layer does, and the features would be lost. The means
    and variances that the norms' inputs have on the run's own training images, with weights and biases
    that undo them, leave the outputs as they are and let training go on.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Recalibrate what is folded and would use the batch's statistics."""
        model: BaseModel = getattr(runner.model, 'module', runner.model)
        model.train()
        norms = folded_norms(model)
        if not norms:
            return
        loader = runner.train_dataloader
        batches = max(1, IMAGES // ((loader.batch_size or 1) * get_world_size()))

        def forward(data: Any) -> None:
            inputs = model.data_preprocessor(data, True)
            if isinstance(inputs, dict):
                model(**inputs, mode='loss')
            else:
                model(*inputs, mode='loss')

        model.eval()
        recalibrate_modules(norms, islice(loader, batches), forward, all_reduce)
        model.train()
        runner.logger.info(
            f'{len(norms)} folded batch norms got the statistics of {batches} batches of the training images'
        )
