"""The released SSD MobileNetV1 in a TFLite file, as our own SSD.

Differences that the rules see to: 91 logits a box, the background first and COCO's ids 1..90 after it, are
our 80 classes with the background last; encoded boxes are (y, x, h, w), ours (x, y, w, h).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from mmengine.registry import MODELS, TASK_UTILS

from mbv1_backbone.common.coco import COCO_CATEGORY_IDS
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.models.recipe import Recipe
from mbv1_backbone.weights.rules import XYWH, Rule, from_ohwi, pick_outputs
from mbv1_backbone.weights.store import Weights
from mbv1_backbone.weights.targets import UNITS, classifier_shapes
from mbv1_backbone.weights.tflite import (
    COCO_LOGITS,
    NORM_EPS,
    Part,
    finish,
    layer_tensors,
    recipe_of,
    trunk_rules,
    unit_rules,
)
from mbv1_backbone.weights.tflite_graph import TfliteGraph, TfliteLayer

__all__ = ['read_ssd', 'ssd_shapes']


def read_ssd(graph: TfliteGraph, subject: str) -> Weights:
    """Import an SSD MobileNetV1 of COCO with six levels.

    Raises:
        InputError: If its layers or its anchors are not the released ones.
    """
    chain, predictors = _split(graph)
    trunk, extra = chain[: len(UNITS)], chain[len(UNITS) :]
    if len(trunk) < len(UNITS) or len(extra) != 8 or len(predictors) != 12:
        raise InputError(f'{subject}: not the layers of SSD MobileNetV1 with six levels')
    taps = [chain[22], chain[26], *extra[1::2]]  # rows 11 and 13, and the ends of the extra layers
    if {layer.source for layer in predictors} != {tap.result for tap in taps}:
        raise InputError(f'{subject}: its predictors are not on the six levels of SSD MobileNetV1')
    recipe = recipe_of(graph, trunk, subject)
    _check_anchors(graph, recipe.input_size, subject)
    rules = trunk_rules(trunk, 'backbone.').rules
    for index, layer in enumerate(extra):
        unit = f'neck.extra_layers.{index // 2}.{index % 2}'
        rules += unit_rules(layer, f'{unit}.conv.weight', f'{unit}.bn.bias')
    logits = (*COCO_CATEGORY_IDS, 0)
    for layer in predictors:
        level = [tap.result for tap in taps].index(layer.source)
        boxes = (3, 6, 6, 6, 6, 6)[level]
        is_box = layer.weight.shape[0] == boxes * 4
        branch = f'bbox_head.{"reg" if is_box else "cls"}_convs.{level}'
        pick = pick_outputs(boxes, XYWH if is_box else logits, 4 if is_box else COCO_LOGITS)
        rules += _predictor_rules(layer, branch, pick)
    shapes = ssd_shapes(recipe, [layer.weight.shape[0] for layer in taps], len(logits))
    return finish(Part(rules, layer_tensors(graph.layers)), shapes, recipe, subject)


def _split(graph: TfliteGraph) -> tuple[list[TfliteLayer], list[TfliteLayer]]:
    """The chain of convolutions, and the predictors: those whose output is reshaped."""
    reshaped = {inputs[0] for kind, inputs, _ in graph.operators if kind == 'RESHAPE'}
    chain = [layer for layer in graph.layers if layer.result not in reshaped]
    return chain, [layer for layer in graph.layers if layer.result in reshaped]


def _predictor_rules(layer: TfliteLayer, branch: str, pick: Callable[[np.ndarray], np.ndarray]) -> list[Rule]:
    weight, bias = unit_rules(layer, f'{branch}.weight', f'{branch}.bias')
    return [
        weight._replace(convert=lambda kernel: pick(from_ohwi(kernel))),
        bias._replace(convert=pick),
    ]


def _check_anchors(graph: TfliteGraph, input_size: int, subject: str) -> None:
    """Compare the file's anchors (centre y, x, height, width, as shares of the input) with ours."""
    constants = [t.values for t in graph.tensors if t.values is not None and t.shape[1:] == (4,)]
    generator = TASK_UTILS.build(dict(type='MobileSSDAnchorGenerator', input_size=input_size))
    boxes = torch.cat(generator.grid_priors(generator.map_sizes)).numpy() / input_size
    ours = np.stack(
        [
            (boxes[:, 1] + boxes[:, 3]) / 2,
            (boxes[:, 0] + boxes[:, 2]) / 2,
            boxes[:, 3] - boxes[:, 1],
            boxes[:, 2] - boxes[:, 0],
        ],
        axis=1,
    )
    if not any(anchors.shape == ours.shape and np.abs(anchors - ours).max() < 0.01 for anchors in constants):
        raise InputError(f'{subject}: its anchors are not the {len(ours)} of the released SSD MobileNetV1')


def ssd_shapes(recipe: Recipe, channels: list[int], logits: int) -> dict[str, tuple[int, ...]]:
    """Shapes of a whole detector.

    Args:
        recipe: Of its backbone.
        channels: Of its six levels.
        logits: Of a box, with the background.
    """
    norm = dict(type='BN', eps=NORM_EPS)
    with torch.device('meta'):
        neck: Any = MODELS.build(
            dict(
                type='mmdet.SSDNeck',
                in_channels=channels[:2],
                out_channels=channels,
                level_strides=(2, 2, 2, 2),
                level_paddings=(1, 1, 1, 1),
                l2_norm_scale=None,
                norm_cfg=norm,
                act_cfg=recipe.act_cfg,
                _scope_='mmdet',
            )
        )
        head: Any = MODELS.build(
            dict(
                type='MobileSSDHead',
                num_classes=logits - 1,
                in_channels=channels,
                anchor_generator=dict(type='MobileSSDAnchorGenerator', input_size=recipe.input_size),
                _scope_='mmdet',
            )
        )
    shapes = {f'backbone.{k}': v for k, v in classifier_shapes(recipe.widen_factor, None).items()}
    for prefix, module in (('neck', neck), ('bbox_head', head)):
        shapes |= {f'{prefix}.{k}': tuple(v.shape) for k, v in module.state_dict().items()}
    return {name: shape for name, shape in shapes.items() if not name.endswith('num_batches_tracked')}
