"""An SSD MobileNetV1 of the Object Detection API as TensorFlow.js weights, such as face-api's face detector.

Batch norms of pointwise and full convolutions are folded, those of depthwise ones are not. Logits are the
background's, the face's, and others that are left out. Boxes are (y, x, h, w), ours (x, y, w, h).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

import numpy as np
import torch
from mmengine.registry import TASK_UTILS

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.models.recipe import Recipe
from mbv1_backbone.weights.rules import (
    NORM,
    NORM_NAMES,
    XYWH,
    Convert,
    Rule,
    apply_rules,
    from_hwcm,
    from_hwio,
)
from mbv1_backbone.weights.store import Weights
from mbv1_backbone.weights.targets import as_moves, folded_norms, widen_factor_of
from mbv1_backbone.weights.tflite_ssd import ssd_shapes

__all__ = ['is_tfjs_ssd', 'read_tfjs_ssd']

_NORM_EPS = 1e-3
_LEVELS = 6
_BOXES = (3, 6, 6, 6, 6, 6)
_ANCHORS = 'Output/extra_dim'
_NEAR = 1e-4  # of the input
_FIRST = 'MobilenetV1/Conv2d_0_pointwise/weights'
_LAST = 'Prediction/BoxPredictor_5/BoxEncodingPredictor/weights'


def is_tfjs_ssd(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether the tensors are such a detector's."""
    return _FIRST in tensors and _LAST in tensors


def read_tfjs_ssd(tensors: Mapping[str, np.ndarray], subject: str) -> Weights:
    """Import a detector of faces: one class, and perhaps others that are left out.

    Args:
        tensors: By name, as ``read_tensors`` gives them.
        subject: The source, for the error.

    Raises:
        InputError: If they are not such a network's, or its anchors are not the released SSD's.
    """
    boxes = [
        tensors[f'Prediction/BoxPredictor_{level}/BoxEncodingPredictor/weights']
        for level in range(_LEVELS)
        if f'Prediction/BoxPredictor_{level}/BoxEncodingPredictor/weights' in tensors
    ]
    first = tensors.get('Prediction/BoxPredictor_0/ClassPredictor/biases', np.zeros(0))
    logits = len(first) // _BOXES[0]
    if len(boxes) != _LEVELS or logits < 2:
        raise InputError(f'{subject}: not the predictors of SSD MobileNetV1 with six levels')
    mean, std = _preprocessing(tensors, subject)
    recipe = Recipe(
        source=f'tfjs: {os.path.basename(subject)}',
        widen_factor=widen_factor_of(tensors[_FIRST].shape[-1]),
        padding='same',
        act_cfg=dict(type='ReLU6'),
        norm_eps=_NORM_EPS,
        mean=(mean,) * 3,
        std=(std,) * 3,
        input_size=_input_size(tensors, subject),
    )
    shapes = ssd_shapes(recipe, [kernel.shape[2] for kernel in boxes], 2)
    made = {name: value for name, value in folded_norms(shapes, _NORM_EPS).items() if 'depthwise' not in name}
    wanted = {name: shape for name, shape in shapes.items() if name not in made}
    orders = _anchor_orders(tensors, recipe.input_size, subject)
    predictors = [rule for level in range(_LEVELS) for rule in _predictor(level, logits, orders[level])]
    rules = [*_TRUNK, *predictors, *_LEFT_OUT]
    filled, moves = apply_rules(rules, tensors, wanted, subject)
    state = {name: torch.tensor(value) for name, value in {**filled, **made}.items()}
    return Weights(state, recipe, [*moves, *as_moves(made)], classes=('face',), kind='detector')


def _extra(match: re.Match[str]) -> str:
    """Of the extra layers 0..7 two make a level."""
    return f'neck.extra_layers.{int(match[1]) // 2}.{int(match[1]) % 2}'


_POINTWISE = r'MobilenetV1/Conv2d_(\d+)_pointwise'
_DEPTHWISE = r'MobilenetV1/Conv2d_(\d+)_depthwise'
_EXTRA = r'Prediction/Conv2d_([0-7])_pointwise'
_TRUNK = (
    Rule('MobilenetV1/Conv2d_0_pointwise/weights', 'backbone.rows.0.conv.weight', from_hwio),
    Rule('MobilenetV1/Conv2d_0_pointwise/convolution_bn_offset', 'backbone.rows.0.bn.bias'),
    Rule(rf'{_POINTWISE}/weights', r'backbone.rows.\1.pointwise.conv.weight', from_hwio),
    Rule(rf'{_POINTWISE}/convolution_bn_offset', r'backbone.rows.\1.pointwise.bn.bias'),
    Rule(rf'{_DEPTHWISE}/depthwise_weights', r'backbone.rows.\1.depthwise.conv.weight', from_hwcm),
    Rule(
        rf'{_DEPTHWISE}/BatchNorm/({NORM_NAMES})',
        lambda match: f'backbone.rows.{match[1]}.depthwise.bn.{NORM[match[2]]}',
    ),
    Rule(rf'{_EXTRA}/weights', lambda match: f'{_extra(match)}.conv.weight', from_hwio),
    Rule(rf'{_EXTRA}/convolution_bn_offset', lambda match: f'{_extra(match)}.bn.bias'),
)
_LEFT_OUT = (  # what the graph shapes, prepares and postprocesses by
    Rule(r'Prediction/BoxPredictor_\d/(stack|strided_slice)[^w]*', None),
    Rule(r'(Preprocessor|Postprocessor|concat_1)/.*', None),
    Rule(_ANCHORS, None),
)


def _predictor(level: int, logits: int, order: list[int]) -> list[Rule]:
    source = f'Prediction/BoxPredictor_{level}'
    boxes, classes = _picker(order, XYWH, 4), _picker(order, (1, 0), logits)
    return [
        *_branch(f'{source}/BoxEncodingPredictor', f'bbox_head.reg_convs.{level}', boxes),
        *_branch(f'{source}/ClassPredictor', f'bbox_head.cls_convs.{level}', classes),
    ]


def _picker(order: list[int], picked: tuple[int, ...], values: int) -> Convert:
    """The picked outputs of each box, and the boxes of a place in another order."""

    def pick(tensor: np.ndarray) -> np.ndarray:
        per_box = tensor.reshape(len(order), values, *tensor.shape[1:])
        return per_box[order][:, list(picked)].reshape(-1, *tensor.shape[1:])

    return pick


def _branch(source: str, target: str, pick: Convert) -> list[Rule]:
    return [
        Rule(f'{source}/weights', f'{target}.weight', lambda kernel: pick(from_hwio(kernel))),
        Rule(f'{source}/biases', f'{target}.bias', pick),
    ]


def _preprocessing(tensors: Mapping[str, np.ndarray], subject: str) -> tuple[float, float]:
    """Mean and deviation, of pixels times a factor less a shift."""
    try:
        factor, shift = (float(tensors[f'Preprocessor/{name}']) for name in ('mul/x', 'sub/y'))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f'{subject}: does not say how images are prepared') from error
    if not factor > 0:
        raise InputError(f'{subject}: images are multiplied by {factor:g}')
    return round(shift / factor, 3), round(1 / factor, 3)


def _input_size(tensors: Mapping[str, np.ndarray], subject: str) -> int:
    sides = tensors.get('Preprocessor/ResizeImage/size', np.zeros(0)).ravel().tolist()
    if len(sides) != 2 or sides[0] != sides[1] or not 0 < sides[0] < 10_000:
        raise InputError(f'{subject}: does not say the size of its square input, but {sides}')
    return round(sides[0])


def _anchor_orders(tensors: Mapping[str, np.ndarray], side: int, subject: str) -> list[list[int]]:
    """Of each level, which of a place's anchors in the file are ours: earlier versions had another order.

    The file has corners (y1, x1, y2, x2) as shares of the input.
    """
    stored = tensors.get(_ANCHORS, np.zeros((0, 4))).reshape(-1, 4)[:, [1, 0, 3, 2]]
    generator = TASK_UTILS.build(dict(type='MobileSSDAnchorGenerator', input_size=side))
    levels = [level.numpy() / side for level in generator.grid_priors(generator.map_sizes)]
    orders: list[list[int]] = []
    if len(stored) == sum(map(len, levels)):
        ends = np.cumsum([len(level) for level in levels])[:-1]
        for theirs, ours, boxes in zip(np.split(stored, ends), levels, _BOXES, strict=True):
            theirs, ours = theirs.reshape(-1, boxes, 4), ours.reshape(-1, boxes, 4)
            order = np.abs(theirs[0][None] - ours[0][:, None]).max(2).argmin(1)
            if np.abs(theirs[:, order] - ours).max() < _NEAR:
                orders.append(order.tolist())
    if len(orders) < _LEVELS:
        raise InputError(f"{subject}: its {len(stored)} anchors are not the released SSD's at {side} pixels")
    return orders
