"""Frozen TensorFlow 1 graphs of MobileNetV1: slim's classifiers, and SSD of the Object Detection API.

Names of a classifier's tensors are those of its checkpoints (see ``slim``); of a detector's, with six levels
and separate predictors, as ``frozen_inference_graph.pb`` of ``ssd_mobilenet_v1_coco`` has them:
https://github.com/tensorflow/models/blob/master/research/object_detection/models/ssd_mobilenet_v1_feature_extractor.py
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from mbv1_backbone.common.coco import COCO_CATEGORY_IDS
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.models.recipe import Recipe
from mbv1_backbone.weights.rules import (
    NORM,
    NORM_NAMES,
    XYWH,
    Rule,
    apply_rules,
    as_it_is,
    from_hwio,
    pick_outputs,
)
from mbv1_backbone.weights.slim import RULES, logits_of, recipe_of
from mbv1_backbone.weights.store import Weights
from mbv1_backbone.weights.targets import fill_classifier
from mbv1_backbone.weights.tf_between import norm_epsilon
from mbv1_backbone.weights.tf_graph import TfGraph, read_tf_graph
from mbv1_backbone.weights.tf_input import STRIDE, read_input
from mbv1_backbone.weights.tf_layers import check_layers
from mbv1_backbone.weights.tflite import COCO_LOGITS
from mbv1_backbone.weights.tflite_ssd import ssd_shapes

__all__ = ['CLASSIFIER_RULES', 'read_frozen']

_LEVELS = 6
_DETECTOR_SIDE = 300  # pixels: of the released one, where a graph does not say it

CLASSIFIER_RULES: tuple[Rule, ...] = (
    *RULES,
    Rule(r'final_training_ops/.*', None),  # what TensorFlow's retrain.py hangs on the logits
    Rule(r'global_step', None),
)


def read_frozen(path: str | os.PathLike[str]) -> Weights:
    """Import a classifier, or an SSD detector, from a ``.pb`` file or an archive with one.

    Padding, strides, activation, batch norm's epsilon and what is done with images before the first
    convolution are read from the graph's operations. Anchors are computed there, and are taken to be those of
    the released SSD MobileNetV1.

    Returns:
        ``rows.*`` and ``head.fc.*`` of a classifier; ``backbone.*``, ``neck.*`` and ``bbox_head.*`` of a
        detector, with one class less than it has logits, or COCO's 80 of 91.

    Raises:
        NotInstalledError: If protobuf is missing.
        InputError: If the file is damaged, or its tensors and layers are not MobileNetV1's.
    """
    graph, subject = read_tf_graph(path), os.fspath(path)
    tensors = graph.variables()
    is_detector = any(name.startswith('BoxPredictor_') for name in tensors)
    recipe = _recipe(graph, tensors, is_detector, subject)
    if is_detector:
        return _detector(tensors, recipe, subject)
    return fill_classifier(CLASSIFIER_RULES, tensors, recipe, logits_of(tensors), subject)


def _recipe(graph: TfGraph, tensors: Mapping[str, np.ndarray], is_detector: bool, subject: str) -> Recipe:
    """What the operations say of the network.

    Raises:
        InputError: If they are not MobileNetV1's, or its batch norms are folded.
    """
    recipe = recipe_of(tensors, subject)
    if not any(name.endswith('/BatchNorm/moving_variance') for name in tensors):
        raise InputError(f'{subject}: its batch norms are folded; give the graph as it was frozen')
    scope = re.compile(r'(?:FeatureExtractor/)?MobilenetV1/.*')
    ours = [node for name, node in graph.nodes.items() if scope.fullmatch(name)]
    activations = {node.op for node in ours if node.op.startswith(('Relu', 'LeakyRelu', 'Elu'))}
    epsilons = {epsilon for node in ours if (epsilon := norm_epsilon(node, subject)) is not None}
    if len(activations) != 1 or activations - {'Relu', 'Relu6'} or len(epsilons) != 1:
        raise InputError(
            f'{subject}: MobileNetV1 has one activation, Relu or Relu6, and one epsilon in its batch norms, '
            f'got {sorted(activations)} and {sorted(epsilons)}'
        )
    ends = check_layers(graph, tensors, subject)
    fed = read_input(graph, ends.first, subject)
    usual = _DETECTOR_SIDE if is_detector else recipe.input_size
    activation = 'ReLU6' if activations == {'Relu6'} else 'ReLU'
    return replace(
        recipe,
        source=f'frozen graph: {os.path.basename(subject)}',
        act_cfg=dict(type=activation),
        norm_eps=round(epsilons.pop(), 9),
        input_size=_input_size(fed.size, ends.pooled, usual, subject),
        mean=fed.mean,
        std=fed.std,
    )


def _input_size(said: int | None, pooled: int | None, usual: int, subject: str) -> int:
    """Side of the square that the network is fed.

    Args:
        said: The graph's, where it says it.
        pooled: Side of the map of which logits take the mean, where it is known.
        usual: Where nothing else is known.
        subject: The source, for errors.

    Raises:
        InputError: If the mean is of another map than the one of this size.
    """
    size = said or usual
    if pooled is None or pooled == -(-size // STRIDE):
        return size
    if said is None and pooled > 0:
        return pooled * STRIDE
    raise InputError(
        f'{subject}: logits take the mean of {pooled} x {pooled}; of images of {said} pixels the map has '
        f'{-(-size // STRIDE)} x {-(-size // STRIDE)}'
    )


def _detector(tensors: Mapping[str, np.ndarray], recipe: Recipe, subject: str) -> Weights:
    wanted = [f'BoxPredictor_{level}/{kind}/biases' for level in range(_LEVELS) for kind in _PREDICTORS]
    if missing := [name for name in wanted if name not in tensors]:
        raise InputError(f'{subject}: not SSD MobileNetV1 with six levels, it has no {missing[0]}')
    boxes = [
        len(tensors[f'BoxPredictor_{level}/BoxEncodingPredictor/biases']) // 4 for level in range(_LEVELS)
    ]
    logits = [len(tensors[f'BoxPredictor_{i}/ClassPredictor/biases']) / boxes[i] for i in range(_LEVELS)]
    if boxes != [3, 6, 6, 6, 6, 6] or len(set(logits)) != 1 or logits[0] % 1:
        raise InputError(f'{subject}: SSD MobileNetV1 has 3, 6, 6, 6, 6, 6 boxes a place, got {boxes}')
    count = int(logits[0])
    classes = (*COCO_CATEGORY_IDS, 0) if count == COCO_LOGITS else (*range(1, count), 0)
    rules = [*_prefixed(RULES, 'backbone.'), *_EXTRA_RULES, Rule('global_step', None)]
    for level, number in enumerate(boxes):
        rules += _predictor_rules(level, 'BoxEncodingPredictor', pick_outputs(number, XYWH, 4))
        rules += _predictor_rules(level, 'ClassPredictor', pick_outputs(number, classes, count))
    recipe = replace(recipe, background=None)
    channels = [tensors[f'BoxPredictor_{i}/ClassPredictor/weights'].shape[2] for i in range(_LEVELS)]
    shapes = ssd_shapes(recipe, channels, len(classes))
    filled, moves = apply_rules(rules, tensors, shapes, subject)
    state = {name: torch.from_numpy(value) for name, value in filled.items()}
    return Weights(state, recipe, moves)


_PREDICTORS = {'BoxEncodingPredictor': 'reg', 'ClassPredictor': 'cls'}
_EXTRA = r'FeatureExtractor/MobilenetV1/Conv2d_13_pointwise_([12])_Conv2d_([2-5])_[^/]*'


def _extra(match: re.Match[str]) -> str:
    return f'neck.extra_layers.{int(match[2]) - 2}.{int(match[1]) - 1}'


_EXTRA_RULES = (
    Rule(rf'{_EXTRA}/weights', lambda m: f'{_extra(m)}.conv.weight', from_hwio),
    Rule(rf'{_EXTRA}/BatchNorm/({NORM_NAMES})', lambda m: f'{_extra(m)}.bn.{NORM[m[3]]}'),
)


def _prefixed(rules: Sequence[Rule], prefix: str) -> list[Rule]:
    """The same rules with a prefix before our names."""

    def target(rule: Rule) -> Callable[[re.Match[str]], str] | None:
        to = rule.target
        if to is None:
            return None
        return lambda match: prefix + (to(match) if callable(to) else match.expand(to))

    return [rule._replace(target=target(rule)) for rule in rules]


def _predictor_rules(level: int, kind: str, pick: Callable[[np.ndarray], np.ndarray]) -> list[Rule]:
    source, target = f'BoxPredictor_{level}/{kind}', f'bbox_head.{_PREDICTORS[kind]}_convs.{level}'
    return [
        Rule(f'{source}/weights', f'{target}.weight', lambda kernel: pick(from_hwio(kernel))),
        Rule(f'{source}/biases', f'{target}.bias', lambda bias: pick(as_it_is(bias))),
    ]
