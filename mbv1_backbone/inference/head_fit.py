"""A student in minutes: a backbone as it is, and the linear layer behind it that meets the teachers best."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace

import numpy as np
import torch
from mmengine.registry import MODELS

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.face.distillation import Targets
from mbv1_backbone.face.head_fit import ridge
from mbv1_backbone.inference.embedder import FaceEmbedder
from mbv1_backbone.inference.resolve import resolve
from mbv1_backbone.models.recipe import Recipe
from mbv1_backbone.training.checkpoint import Checkpoint, fill
from mbv1_backbone.weights.store import Weights

__all__ = ['fit_head']


def fit_head(
    source: str | os.PathLike[str],
    targets: Targets,
    folder: str | os.PathLike[str],
    size: int | None = None,
    pictures: int = 8192,
    penalty: float = 1e-3,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> Weights:
    """Fit a student's head to what teachers say: ridge regression from pooled features, without intercept.

    The embedding is of length 1, so that the features' own length does not matter.

    Args:
        source: Embedder whose backbone is taken: a name in the zoo, or weights.
        targets: What the teachers say of pictures.
        folder: Of the faces that these are drawn from.
        size: Side of the student's images, in pixels, all of which it sees; None for the embedder's own side,
            and its window.
        pictures: That are regressed, drawn from all.
        penalty: On the coefficients, as a share of the mean square of the features.
        seed: Of the draw.
        progress: Called with the number of pictures that are done.

    Returns:
        Weights of an embedder of as many values as the targets have.

    Raises:
        InputError: If the source is no embedder, a face cannot be read, or there are fewer pictures than
            features.
    """
    features, state, recipe = _backbone(source, size)
    count = min(pictures, len(targets.recipes))
    if count < features.dims:
        raise InputError(f'{count} pictures are too few for {features.dims} features')
    rows = np.random.default_rng(seed).choice(len(targets.recipes), count, replace=False)

    def drawn() -> Iterator[np.ndarray]:
        for row in rows:
            yield targets.recipes.draw(int(row), folder, features.input_size)
            if progress:
                progress(1)

    x = features.embed(drawn(), batch_size=32).vectors.astype(np.float64)
    squares = np.zeros((x.shape[1] + 1, x.shape[1] + 1))
    squares[:-1, :-1], squares[-1, -1] = x.T @ x, 1  # no intercept: a feature that is never there
    products = np.vstack([x.T @ targets.embeddings[rows], np.zeros(targets.embeddings.shape[1])])
    found = ridge(torch.from_numpy(squares), torch.from_numpy(products), penalty)[:-1].T.float()
    head = {'head.fc.weight': found.contiguous(), 'head.fc.bias': torch.zeros(len(found))}
    return Weights({**state, **head}, recipe, kind='embedder')


def _backbone(
    source: str | os.PathLike[str], size: int | None
) -> tuple[FaceEmbedder, dict[str, torch.Tensor], Recipe]:
    """What gives an embedder's pooled features, its backbone's tensors, and the recipe of both."""
    trained = resolve(source).expect('embedder')
    recipe = replace(trained.recipe, source=f'head fitted: {trained.name}')
    if size is not None:
        recipe = replace(recipe, input_size=size, window=None)
    fed = dict(input_size=recipe.input_size, gray=recipe.gray, window=recipe.window)
    config = dict(
        type='FaceEmbeddingModel',
        backbone=dict(type='MobileNetV1', **recipe.backbone()),
        head=dict(embedding_dims=None),
        data_preprocessor=dict(**recipe.preprocessor(), **fed),
    )
    state = {name: value for name, value in trained.checkpoint.state.items() if name.startswith('backbone.')}
    model = MODELS.build(config)
    fill(model, Checkpoint(trained.checkpoint.path, state, dict(recipe=asdict(recipe))))
    state = {name: value.float() for name, value in state.items()}
    return FaceEmbedder.of_model(model.eval(), recipe), state, recipe
