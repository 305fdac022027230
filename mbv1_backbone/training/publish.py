"""A run's checkpoint as weights to give away: no optimiser state, and all that says how to use them."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from mbv1_backbone.classification.place_head import without_cells_file
from mbv1_backbone.common.errors import InputError, user_errors
from mbv1_backbone.compat.registry import use_scope
from mbv1_backbone.export.litert.trained import KEY
from mbv1_backbone.models.recipe import recipe_of
from mbv1_backbone.training.checkpoint import fill, read_checkpoint
from mbv1_backbone.training.config import kind_of
from mbv1_backbone.weights.sources import local_file
from mbv1_backbone.weights.store import Weights

__all__ = ['published']


def published(cfg: Config, checkpoint: str | os.PathLike[str], half: bool = False) -> Weights:
    """The weights of a checkpoint, checked against its config, with recipe and classes.

    Args:
        cfg: The run's config, with a MobileNetV1 backbone.
        checkpoint: Of the run.
        half: Store float16.

    Raises:
        InputError: If the checkpoint is not of this config, or a value is not finite or does not fit into
            float16.
    """
    scope, found = cfg.get('default_scope', 'mmdet'), read_checkpoint(local_file(checkpoint))
    with user_errors(f'config {cfg.filename}'):
        use_scope(scope)
        model = MODELS.build(dict(without_cells_file(cfg.model, found.state), _scope_=scope))
    fill(model, found)
    meta = found.meta
    left_out = tuple(getattr(model, 'training_only', ()))
    state = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if not name.endswith('_tracked') and not name.startswith(left_out)
    }
    if half:
        halved = {name: tensor.half() for name, tensor in state.items() if tensor.dtype == torch.float32}
        state.update(halved)
    if wrong := [name for name, tensor in state.items() if not torch.isfinite(tensor.float()).all()]:
        raise InputError(f'{checkpoint}: not finite{" in float16" if half else ""}: {", ".join(wrong)}')
    recipe = recipe_of(model, f'run: {Path(cfg.filename).stem}')
    if recipe is None:
        raise InputError(f'config {cfg.filename}: its backbone is not MobileNetV1')
    classes = (meta.get('dataset_meta') or {}).get('classes')
    ids = meta.get('category_ids')
    return Weights(
        state,
        recipe,
        classes=tuple(classes) if classes else None,
        category_ids=tuple(ids) if ids else None,
        kind=kind_of(cfg),
        quantisation=meta.get(KEY),
    )
