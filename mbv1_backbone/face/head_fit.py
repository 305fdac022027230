"""A student's head before the first step: the best linear map from features to what the teachers say."""

from __future__ import annotations

from itertools import islice

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn import functional as F

from mbv1_backbone.common.errors import InputError

__all__ = ['FitHeadHook', 'ridge']


@HOOKS.register_module()
class FitHeadHook(Hook):
    """Starts the linear layer of an embedder's head at its ridge regression to the teachers' embeddings.

    A backbone that comes from faces already says most of what the teachers do; a head that comes from chance
    would first unlearn it. A run that goes on from a checkpoint keeps the head that it has.

    Args:
        images: Of the training set, whose features are regressed, by all processes together.
        penalty: On the weights, as a share of the mean square of the features.

    Raises:
        InputError: If the head is no plain linear layer, or an image has no teacher.
    """

    priority = 'HIGH'  # after folded batch norms got their statistics

    def __init__(self, images: int = 8192, penalty: float = 1e-3) -> None:
        if images < 1 or not penalty > 0:
            raise ValueError(f'images and penalty must be > 0, got {images} and {penalty}')
        self.images = images
        self.penalty = penalty

    def before_train(self, runner: Runner) -> None:
        """Fit, at the start of a run."""
        if runner.iter or runner.cfg.get('load_from'):
            return
        model: BaseModel = getattr(runner.model, 'module', runner.model)
        layer = model.head.fc
        if not isinstance(layer, nn.Linear) or not isinstance(model.head.norm, nn.Identity):
            raise InputError('FitHeadHook needs a head of one linear layer: embedding_dims, and no norm')
        loader = runner.train_dataloader
        batches = max(1, self.images // ((loader.batch_size or 1) * get_world_size()))
        model.eval()
        squares = torch.zeros(layer.in_features + 1, layer.in_features + 1, dtype=torch.float64)
        products = torch.zeros(layer.in_features + 1, layer.out_features, dtype=torch.float64)
        for data in islice(loader, batches):
            with torch.no_grad(), runner.optim_wrapper.optim_context(model):
                features, teacher = _features(model, data)
            squares += (features.T @ features).cpu().double()
            products += (features.T @ teacher).cpu().double()
        all_reduce(squares)
        all_reduce(products)
        found = ridge(squares, products, self.penalty).to(layer.weight)
        with torch.no_grad():
            layer.weight.copy_(found[:-1].T)
            layer.bias.copy_(found[-1])
        model.train()
        runner.logger.info(f'the head was fitted to the teachers on {batches} batches of training images')


def ridge(squares: Tensor, products: Tensor, penalty: float) -> Tensor:
    """Coefficients (D + 1, E) of a ridge regression whose last row, the intercept, is not penalised.

    Args:
        squares: Features' products with each other, (D + 1, D + 1); the last feature is 1.
        products: Of features with what is sought, (D + 1, E).
        penalty: On the squared coefficients, as a share of the mean of the features' squares.
    """
    weights = torch.full((len(squares),), penalty, dtype=squares.dtype) * squares.diagonal()[:-1].mean()
    weights[-1] = 0
    return torch.linalg.solve(squares + weights.diag(), products)


def _features(model: BaseModel, data: dict[str, object]) -> tuple[Tensor, Tensor]:
    """Pooled features with a 1 behind them (N, D + 1), and teachers' embeddings (N, E), float32."""
    prepared = model.data_preprocessor(data, False)
    pooled = model.backbone(prepared['inputs'])[-1].float().mean((2, 3))
    samples = prepared['data_samples'] or []
    if not samples or not all('teacher' in sample for sample in samples):
        raise InputError('FitHeadHook needs a teacher of every training image')
    teacher = torch.stack([torch.as_tensor(sample.teacher) for sample in samples]).to(pooled)
    return F.pad(pooled, (0, 1), value=1.0), F.normalize(teacher)
