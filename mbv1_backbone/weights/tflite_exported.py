"""TFLite files of ``mbv1 export``, read back: they say which of our tensors each of theirs is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from mbv1_backbone.common.errors import DamagedFileError
from mbv1_backbone.models.imagenet import are_imagenet
from mbv1_backbone.models.recipe import Recipe
from mbv1_backbone.weights.rules import XYWH, Move, as_linear, from_1hwc, from_ohwi, pick_outputs
from mbv1_backbone.weights.store import Weights
from mbv1_backbone.weights.tflite_graph import TfliteGraph, TfliteLayer

__all__ = ['WEIGHTS_KEY', 'described_weights', 'read_exported']

WEIGHTS_KEY = 'mbv1_weights'  # under which a file says what its weights are
_FIRST = 'backbone.rows.0.conv.weight'
_PREDICTOR = re.compile(r'bbox_head\.(cls|reg)_convs\.\d+(\.1)?\.weight')


def described_weights(
    recipe: Mapping[str, Any],
    kind: str,
    norms: Mapping[str, float],
    classes: tuple[str, ...] = (),
    category_ids: tuple[int | str, ...] = (),
) -> str:
    """What a file says under ``WEIGHTS_KEY``.

    Args:
        recipe: Of the backbone, as ``dataclasses.asdict`` gives it.
        kind: Of the network.
        norms: Epsilon of each batch norm that is folded, by its name.
        classes: Names of a detector's.
        category_ids: Their ids in the data set that it was trained on.
    """
    about = dict(recipe=recipe, kind=kind, norms=norms, classes=classes, category_ids=category_ids)
    return json.dumps(about)


def read_exported(graph: TfliteGraph, subject: str) -> Weights:
    """The weights of a network that was exported: float32 ones to the bit, of int8 what they stand for.

    Args:
        graph: Of the file.
        subject: The file, for the error.

    Raises:
        DamagedFileError: If what it says of its weights is not of its tensors.
    """
    try:
        about = json.loads(graph.texts[WEIGHTS_KEY])
        recipe, kind = Recipe.from_dict(about['recipe']), str(about['kind'])
        classes = tuple(map(str, about['classes'])) or None
        names = None if classes and are_imagenet(classes) else classes  # they are called so anyway
        category_ids = tuple(about['category_ids']) or None
        norms = {str(name): float(eps) for name, eps in about['norms'].items()}
        tensors: dict[str, np.ndarray] = {}
        for layer in graph.layers:
            if not layer.weight.name.startswith('luma/'):
                tensors |= _ours(layer, graph, recipe, len(classes or ()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedFileError(f'{subject}: what it says of its weights is damaged: {error}') from error
    tensors |= _folded_norms(norms, tensors)
    if kind in ('classifier', 'backbone'):
        tensors = {name.removeprefix('backbone.'): values for name, values in tensors.items()}
    state = {name: torch.tensor(values, dtype=torch.float32) for name, values in tensors.items()}
    moves = [Move(name, name, tuple(values.shape)) for name, values in state.items()]
    return Weights(state, recipe, moves, names, category_ids, kind)


def _ours(layer: TfliteLayer, graph: TfliteGraph, recipe: Recipe, classes: int) -> dict[str, np.ndarray]:
    """A layer's weight and bias in our layout."""
    name, weight, bias = layer.weight.name, layer.weight.values, layer.bias.values
    assert weight is not None
    assert bias is not None
    if name == _FIRST and layer.weight.scale is not None:
        weight, bias = _for_normalised(weight, bias, graph, recipe)
    if layer.kind == 'DEPTHWISE_CONV_2D':
        weight = from_1hwc(weight)
    else:
        weight = as_linear(weight) if name == 'head.fc.weight' else from_ohwi(weight)
    if found := _PREDICTOR.fullmatch(name):
        values = _values_of_a_box(layer, graph)
        order = XYWH if found[1] == 'reg' else tuple(range(values))
        if found[1] == 'cls' and values == classes + 1:  # the background is the first there, and our last
            order = (*range(1, values), 0)
        pick = pick_outputs(len(bias) // values, order, values)
        weight, bias = pick(weight), pick(bias)
    return {name: weight, layer.bias.name: bias}


def _for_normalised(
    weight: np.ndarray, bias: np.ndarray, graph: TfliteGraph, recipe: Recipe
) -> tuple[np.ndarray, np.ndarray]:
    """The first convolution for normalised images, of one for bytes of one scale and zero point."""
    assert graph.image.scale is not None
    assert graph.image.zero_point is not None
    scale, zero_point = float(graph.image.scale[0]), int(graph.image.zero_point[0])
    mean, std = np.array(recipe.mean), np.array(recipe.std)
    weight = weight * (std * scale)
    zero_point += 0 if graph.image.dtype == np.uint8 else 128
    return weight, bias - ((zero_point - mean) / std * weight).sum((1, 2, 3))


def _values_of_a_box(layer: TfliteLayer, graph: TfliteGraph) -> int:
    """Into how many values for a box a predictor's outputs are reshaped."""
    [flat] = [outputs[0] for _, inputs, outputs in graph.operators if inputs[0] == layer.result]
    return graph.tensors[flat].shape[-1]


def _folded_norms(norms: Mapping[str, float], tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What makes the norms add their bias and do nothing else."""
    filled = {}
    for name, eps in norms.items():
        like = np.ones_like(tensors[f'{name}.bias'])
        filled[f'{name}.weight'] = like
        filled[f'{name}.running_mean'], filled[f'{name}.running_var'] = like * 0, like * (1 - eps)
    return filled
