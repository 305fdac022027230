"""TFLite files, float or quantised: classifiers, whole or in parts, and SSD detectors.

Batch norm is folded into their convolutions. Its bias becomes the bias of a batch norm that does nothing
else; ``recalibrate_bn`` gives that real statistics, so that training can go on with those of the batch.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.models.imagenet import are_imagenet
from mbv1_backbone.models.recipe import Recipe
from mbv1_backbone.weights.rules import Rule, apply_rules, as_linear, from_1hwc, from_ohwi
from mbv1_backbone.weights.store import Weights
from mbv1_backbone.weights.targets import UNITS, as_moves, classifier_shapes, folded_norms, widen_factor_of
from mbv1_backbone.weights.tflite_exported import WEIGHTS_KEY, read_exported
from mbv1_backbone.weights.tflite_graph import TfliteGraph, TfliteLayer, TfliteTensor, read_graph
from mbv1_backbone.weights.tflite_labels import read_labels

__all__ = [
    'COCO_LOGITS',
    'NORM_EPS',
    'Part',
    'finish',
    'layer_tensors',
    'read_tflite',
    'recipe_of',
    'trunk_rules',
    'unit_rules',
]

NORM_EPS = 1e-3  # of the networks as they were trained; any value would give the same outputs
COCO_LOGITS = 91  # background, and COCO's ids 1..90
_LAYOUT = {'CONV_2D': from_ohwi, 'DEPTHWISE_CONV_2D': from_1hwc, 'FULLY_CONNECTED': as_linear}


class Part(NamedTuple):
    """Rules for some layers, the tensors they are for, and what those fill."""

    rules: list[Rule]
    tensors: dict[str, np.ndarray]


def read_tflite(paths: Sequence[str | os.PathLike[str]]) -> Weights:
    """Import a network from one file, or from several that follow each other.

    Args:
        paths: A classifier; a feature extractor; both parts of a classifier; an SSD detector of COCO; or
            anything that ``mbv1 export`` has written.

    Returns:
        ``rows.*`` and, where there are logits, ``head.fc.*`` (of a detector ``backbone.*``, ``neck.*``,
        ``bbox_head.*``).

    Raises:
        InputError: If a file is damaged, or its layers are not MobileNetV1's.
    """
    graphs = [read_graph(path) for path in paths]
    subject = ' + '.join(os.fspath(path) for path in paths)
    if any(WEIGHTS_KEY in graph.texts for graph in graphs):
        if len(graphs) > 1:
            raise InputError(f'{subject}: a file of mbv1 export is a whole network')
        return read_exported(graphs[0], subject)
    layers = [layer for graph in graphs for layer in graph.layers]
    if any('Detection_PostProcess' in tensor.name for tensor in graphs[0].tensors):
        from mbv1_backbone.weights.tflite_ssd import read_ssd

        return read_ssd(graphs[0], subject)
    trunk, head = layers[: len(UNITS)], layers[len(UNITS) :]
    if len(trunk) < len(UNITS) or len(head) > 1:
        raise InputError(
            f'{subject}: {len(layers)} convolutions, MobileNetV1 has {len(UNITS)} and a classifier'
        )
    part = trunk_rules(trunk)
    if head:
        part = Part(
            [*part.rules, *unit_rules(head[0], 'head.fc.weight', 'head.fc.bias', as_linear)],
            part.tensors | layer_tensors(head),
        )
    recipe = recipe_of(graphs[0], trunk, subject)
    logits = head[0].weight.shape[0] if head else None
    weights = finish(part, classifier_shapes(recipe.widen_factor, logits), recipe, subject)
    if logits is None:
        return weights
    names = read_labels(paths[-1], graphs[-1].metadata)
    return replace(weights, classes=_without_background(names, logits, recipe, subject))


def _without_background(
    names: tuple[str, ...], logits: int, recipe: Recipe, subject: str
) -> tuple[str, ...] | None:
    """Names of the classes, of a file's names of all logits; None where it has none, and of ImageNet's.

    ImageNet's have names here already, as every classifier of a thousand classes is given them.

    Raises:
        InputError: If there are more or fewer of them.
    """
    if not names:
        return None
    if len(names) != logits:
        raise InputError(f'{subject}: names {len(names)} classes, and has logits of {logits}')
    found = tuple(name for place, name in enumerate(names) if place != recipe.background)
    return None if are_imagenet(found) else found


def recipe_of(graph: TfliteGraph, trunk: Sequence[TfliteLayer], subject: str) -> Recipe:
    """Padding, activation, width and preprocessing, as the file shows them; ``subject`` names it.

    Args:
        graph: Of the file.
        trunk: MobileNetV1's layers in it, in order.
        subject: The source: the files, joined by `` + ``.

    Raises:
        InputError: If the layers differ in them where MobileNetV1's do not.
    """
    activations = {layer.activation for layer in trunk}
    paddings = {layer.padding for layer in trunk if max(layer.weight.shape[1:3]) > 1}
    strided = {'symmetric'} if 'symmetric' in paddings else {'same'}
    if len(activations) != 1 or None in activations or paddings - strided - {'same'}:
        raise InputError(
            f'{subject}: activations {activations} and paddings {paddings}, MobileNetV1 has one of each'
        )
    mean, std = _normalisation(graph.image)
    source = ' + '.join(os.path.basename(path) for path in subject.split(' + '))
    return Recipe(
        source=f'tflite: {source}',
        widen_factor=widen_factor_of(trunk[0].weight.shape[0]),
        padding=strided.pop(),
        act_cfg=dict(type=activations.pop()),
        norm_eps=NORM_EPS,
        mean=(mean,) * 3,
        std=(std,) * 3,
        input_size=graph.image.shape[1],
        background=0,
    )


def _normalisation(image: TfliteTensor) -> tuple[float, float]:
    """Mean and deviation of the input: a quantised file says them, a float one takes [-1, 1]."""
    if image.scale is None or image.zero_point is None:
        return 127.5, 127.5
    unsigned = 0.0 if image.zero_point[0] >= 0 else 128.0  # int8 files take bytes less 128
    return float(image.zero_point[0]) + unsigned, float(round(1 / image.scale[0], 3))


def trunk_rules(trunk: Sequence[TfliteLayer], prefix: str = '') -> Part:
    """Rules for the 27 convolutions of the backbone."""
    rules = []
    for layer, unit in zip(trunk, UNITS, strict=True):
        rules += unit_rules(layer, f'{prefix}{unit}.conv.weight', f'{prefix}{unit}.bn.bias')
    return Part(rules, layer_tensors(trunk))


def unit_rules(layer: TfliteLayer, weight: str, bias: str, convert=None) -> list[Rule]:  # type: ignore[no-untyped-def]
    """Rules for one convolution: its weight and its bias.

    Args:
        layer: Convolution of the file, with the bias that batch norm was folded into.
        weight: Our name of its weight.
        bias: Our name of its bias.
        convert: The weight's layout to ours; the default is that of the layer's kind.
    """
    return [
        Rule(re.escape(layer.weight.name), weight, convert or _LAYOUT[layer.kind]),
        Rule(re.escape(layer.bias.name), bias),
    ]


def layer_tensors(layers: Sequence[TfliteLayer]) -> dict[str, np.ndarray]:
    """Weights and biases of layers, by the file's names."""
    pairs = [tensor for layer in layers for tensor in (layer.weight, layer.bias)]
    return {tensor.name: tensor.values for tensor in pairs if tensor.values is not None}


def finish(part: Part, shapes: dict[str, tuple[int, ...]], recipe: Recipe, subject: str) -> Weights:
    """Apply the rules and fill in the batch norms that the file has folded.

    Args:
        part: Rules and tensors of the file.
        shapes: Of all tensors to fill, by our names, batch norms among them.
        recipe: Of the network.
        subject: The source, for the error.
    """
    norms = folded_norms(shapes, recipe.norm_eps)
    wanted = {name: shape for name, shape in shapes.items() if name not in norms}
    filled, moves = apply_rules(part.rules, part.tensors, wanted, subject)
    state = {name: torch.tensor(value) for name, value in (filled | norms).items()}
    return Weights(state, recipe, [*moves, *as_moves(norms)])
