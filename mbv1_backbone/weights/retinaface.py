"""RetinaFace on MobileNetV1 as https://github.com/biubug6/Pytorch_Retinaface releases it, as our detector.

Differences that the rules see to: a softmax over background and face is one over face and background, in
mmdet's order; the first convolution, which was fed B, G, R, has been turned already.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.registry import MODELS

from mbv1_backbone.models.recipe import Recipe
from mbv1_backbone.weights.rules import Rule, apply_rules
from mbv1_backbone.weights.store import Weights
from mbv1_backbone.weights.targets import classifier_shapes

__all__ = ['fill_retinaface', 'is_retinaface']

_NORM = r'(weight|bias|running_mean|running_var)'
_TAPS = (5, 11, 13)
_VIEWS = {
    'conv3X3': 'view3',
    'conv5X5_1': 'view5_1',
    'conv5X5_2': 'view5_2',
    'conv7X7_2': 'view7_2',
    'conv7x7_3': 'view7_3',
}
_HEADS = {'ClassHead': 'cls_convs', 'BboxHead': 'reg_convs', 'LandmarkHead': 'landmark_convs'}


def is_retinaface(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether there is more than the backbone."""
    return 'BboxHead.0.conv1x1.weight' in tensors


def fill_retinaface(
    backbone: Sequence[Rule], tensors: Mapping[str, np.ndarray], recipe: Recipe, subject: str
) -> Weights:
    """Apply the rules to a whole network.

    Args:
        backbone: Rules of its backbone, from ``body.*`` to ours.
        tensors: All tensors, by name.
        recipe: Of the network.
        subject: The source, for the error.

    Raises:
        InputError: If they are not all of RetinaFace on MobileNetV1.
    """
    rules = [*map(_in_backbone, backbone), *_neck_rules(), *_head_rules()]
    width = tensors['BboxHead.0.conv1x1.weight'].shape[1]
    filled, moves = apply_rules(rules, tensors, _shapes(recipe, width), subject)
    state = {name: torch.from_numpy(value) for name, value in filled.items()}
    return Weights(state, recipe, moves, classes=('face',), kind='detector')


def _in_backbone(rule: Rule) -> Rule:
    target = rule.target
    if target is None:
        return rule
    if callable(target):
        return rule._replace(target=lambda match: f'backbone.{target(match)}')
    return rule._replace(target=f'backbone.{target}')


def _unit(source: str, target: str, groups: int) -> list[Rule]:
    return [
        Rule(rf'{source}\.0\.weight', lambda m: f'{_place(m, target)}.conv.weight'),
        Rule(rf'{source}\.1\.{_NORM}', lambda m: f'{_place(m, target)}.bn.{m[groups + 1]}'),
    ]


def _place(match: re.Match[str], target: str) -> str:
    """A neck's layer; levels count from 1 at the source."""
    view = f'.{_VIEWS[match[2]]}' if target == 'contexts' else ''
    return f'neck.{target}.{int(match[1]) - 1}{view}'


def _neck_rules() -> list[Rule]:
    return [
        *_unit(r'fpn\.output([123])', 'laterals', 1),
        *_unit(r'fpn\.merge([12])', 'merges', 1),
        *_unit(rf'ssh([123])\.({"|".join(_VIEWS)})', 'contexts', 2),
    ]


def _head_rules() -> list[Rule]:
    def place(match: re.Match[str]) -> str:
        return f'bbox_head.{_HEADS[match[1]]}.{match[2]}.{match[3]}'

    return [
        Rule(r'(ClassHead)\.([012])\.conv1x1\.(weight|bias)', place, _face_first),
        Rule(r'(BboxHead|LandmarkHead)\.([012])\.conv1x1\.(weight|bias)', place),
    ]


def _face_first(tensor: np.ndarray) -> np.ndarray:
    """Background and face of each anchor, changed over."""
    return tensor.reshape(-1, 2, *tensor.shape[1:])[:, ::-1].reshape(tensor.shape)


def _shapes(recipe: Recipe, width: int) -> dict[str, tuple[int, ...]]:
    """Shapes of a whole detector with ``width`` channels in its neck."""
    backbone = classifier_shapes(recipe.widen_factor, None)
    channels = [backbone[f'rows.{tap}.pointwise.conv.weight'][0] for tap in _TAPS]
    neck_cfg = dict(type='RetinaFaceNeck', in_channels=channels, out_channels=width)
    anchors = dict(
        type='AnchorGenerator', strides=[8, 16, 32], ratios=[1.0], scales=[1, 2], base_sizes=[16, 64, 256]
    )
    head_cfg = dict(type='RetinaFaceHead', in_channels=width, anchor_generator=anchors)
    with torch.device('meta'):
        parts: dict[str, Any] = {
            'neck': MODELS.build(dict(neck_cfg, _scope_='mmdet')),
            'bbox_head': MODELS.build(dict(head_cfg, _scope_='mmdet')),
        }
    shapes = {f'backbone.{name}': shape for name, shape in backbone.items()}
    for prefix, module in parts.items():
        shapes |= {f'{prefix}.{name}': tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    return {name: shape for name, shape in shapes.items() if not name.endswith('num_batches_tracked')}
