"""A small embedder whose embeddings of different images differ."""

import torch
from mmengine.registry import MODELS

import mbv1_backbone  # noqa: F401  (registers)
from mbv1_backbone.models.recipe import recipe_of
from mbv1_backbone.weights.store import Weights

BACKBONE = dict(type='MobileNetV1', widen_factor=0.25, padding='same', act_cfg=dict(type='ReLU6'))


def build(norm=True, gray=False, size=64, losses=()):
    torch.manual_seed(1)
    config = dict(
        type='FaceEmbeddingModel',
        backbone=BACKBONE,
        head=dict(embedding_dims=16, norm=norm),
        losses=losses,
        data_preprocessor=dict(
            input_size=size, gray=gray, mean=[120.0, 110, 100], std=[60.0] * 3, bgr_to_rgb=True
        ),
    )
    model = MODELS.build(config)
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0  # one batch of patterns, so that different images differ
    patterns = torch.nn.functional.interpolate(torch.randn(16, 3, 4, 4), size, mode='bilinear')
    with torch.no_grad():
        model.train()(patterns)
    return model.eval()


def published(model: torch.nn.Module) -> Weights:
    """An embedder's weights, without what only training needs."""
    state = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if not name.startswith('losses.') and 'tracked' not in name
    }
    return Weights(state, recipe_of(model, 'test'))
