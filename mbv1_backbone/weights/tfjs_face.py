"""The VGGFace2 MobileNetV1 of https://github.com/HSE-asavchenko/HSE_FaceRec_tf as TensorFlow.js weights.

Pooled features are the embedding; a layer of 256 values behind them has two heads: 100 probabilities of an
age, and one of being male.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.models.recipe import Recipe
from mbv1_backbone.weights.rules import Convert, Rule, apply_rules, from_hwcm, from_hwio
from mbv1_backbone.weights.store import Weights
from mbv1_backbone.weights.targets import UNITS, as_moves, classifier_shapes, widen_factor_of

__all__ = ['is_tfjs_face', 'read_tfjs_age_gender', 'read_tfjs_face']

_NORM_EPS = 1e-3
# The network was fed B, G, R less these means (Keras' "caffe" preprocessing).
_VGGFACE_MEAN = (123.68, 116.779, 103.939)  # of R, G, B
# It wants tighter faces than the loose square that the embedders here share: 224 of 258 pixels, 3 % lower.
_INPUT_SIZE, _WINDOW = 258, (25, 17, 224)


def _from_bgr(kernel: np.ndarray) -> np.ndarray:
    """A first layer that was fed B, G, R, for R, G, B."""
    return from_hwio(kernel)[:, ::-1]


# Batch norm is folded into full convolutions, and is a factor and a shift behind depthwise ones.
def _unit(source: str, target: str, kernel: str, convert: Convert) -> list[Rule]:
    return [
        Rule(rf'{source}/{kernel}', f'{target}.conv.weight', convert),
        Rule(rf'{source}_bn/batchnorm_1/mul', f'{target}.bn.weight'),
        Rule(rf'{source}_bn/batchnorm_1/sub', f'{target}.bn.bias'),
        Rule(rf'{source}_relu/(Cast|Const_1)', None),  # the bounds of ReLU6
    ]


_FACE_RULES: tuple[Rule, ...] = (
    *_unit('conv1', 'rows.0', 'convolution/merged_input', _from_bgr),
    *_unit(r'conv_dw_(\d+)', r'rows.\1.depthwise', 'depthwise_kernel', from_hwcm),
    *_unit(r'conv_pw_(\d+)', r'rows.\1.pointwise', 'convolution/merged_input', from_hwio),
    Rule(r'global_pooling/Mean/reduction_indices', None),
)
_HEADS = dict(feats='shared', age_pred='age', gender_pred='gender')  # the source's names, and ours
_LEFT_OUT = (Rule(r'(feats|age_pred|gender_pred)/(kernel|bias)', None),)
_HEAD_RULES = (
    Rule(rf'({"|".join(_HEADS)})/kernel', lambda match: f'{_HEADS[match[1]]}.weight', np.transpose),
    Rule(rf'({"|".join(_HEADS)})/bias', lambda match: f'{_HEADS[match[1]]}.bias'),
)


def is_tfjs_face(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether the tensors are this network's."""
    return 'conv1/convolution/merged_input' in tensors


def read_tfjs_face(tensors: Mapping[str, np.ndarray], subject: str) -> Weights:
    """Import the embedder: 1024 pooled features; the heads of age and gender are left out.

    Args:
        tensors: By name, as ``read_tensors`` gives them.
        subject: The source, for the error.

    Raises:
        InputError: If they are not such a network's.
    """
    return _filled(tensors, subject, _LEFT_OUT, {}, 'embedder')


def read_tfjs_age_gender(tensors: Mapping[str, np.ndarray], subject: str) -> Weights:
    """Import the network with its heads, for ``AgeGenderModel``.

    Args:
        tensors: By name, as ``read_tensors`` gives them.
        subject: The source, for the error.

    Raises:
        InputError: If they are not such a network's.
    """
    sides: dict[str, tuple[int, ...]] = {}
    for source, target in _HEADS.items():
        kernel, bias = (tensors.get(f'{source}/{part}', np.zeros(0)) for part in ('kernel', 'bias'))
        if kernel.ndim != 2:
            raise InputError(f'{subject}: has no head {source}')
        sides |= {f'{target}.weight': kernel.shape[::-1], f'{target}.bias': bias.shape}
    return _filled(tensors, subject, _HEAD_RULES, sides, None)


def _filled(
    tensors: Mapping[str, np.ndarray],
    subject: str,
    head_rules: Sequence[Rule],
    head_shapes: Mapping[str, tuple[int, ...]],
    kind: str | None,
) -> Weights:
    _check_relu6(tensors, subject)
    recipe = Recipe(
        source=f'tfjs: {os.path.basename(subject)}',
        widen_factor=widen_factor_of(tensors['conv1/convolution/merged_input'].shape[-1]),
        padding='same',
        act_cfg=dict(type='ReLU6'),
        norm_eps=_NORM_EPS,
        mean=_VGGFACE_MEAN,
        std=(1.0, 1.0, 1.0),
        input_size=_INPUT_SIZE,
        window=_WINDOW,
    )
    shapes = classifier_shapes(recipe.widen_factor, None)
    made = {n: v for n, v in _plain_norms(shapes).items() if not _is_given(n, tensors)}
    wanted = {name: shape for name, shape in shapes.items() if name not in made} | dict(head_shapes)
    filled, moves = apply_rules([*_FACE_RULES, *head_rules], tensors, wanted, subject)

    def ours(name: str) -> str:
        return name if name in head_shapes else f'backbone.{name}'

    state = {ours(name): torch.tensor(value) for name, value in {**filled, **made}.items()}
    moves = [move._replace(target=move.target and ours(move.target)) for move in [*moves, *as_moves(made)]]
    return Weights(state, recipe, moves, kind=kind)


def _check_relu6(tensors: Mapping[str, np.ndarray], subject: str) -> None:
    for name, values in tensors.items():
        bound = {'Cast': 6.0, 'Const_1': 0.0}.get(name.rpartition('/')[2])
        if bound is not None and '_relu/' in name and float(values) != bound:
            raise InputError(f'{subject}: {name} is {float(values):g}, ReLU6 has {bound:g}')


def _plain_norms(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """What makes batch norm a factor and a shift, by the names of its tensors."""
    values = {'bn.weight': 1.0, 'bn.running_mean': 0.0, 'bn.running_var': 1.0 - _NORM_EPS}
    return {
        f'{unit}.{part}': np.full(shapes[f'{unit}.{part}'], value, np.float32)
        for unit in UNITS
        for part, value in values.items()
    }


def _is_given(target: str, tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether the source has the factor of a depthwise batch norm."""
    match = re.fullmatch(r'rows\.(\d+)\.depthwise\.bn\.weight', target)
    return match is not None and f'conv_dw_{match[1]}_bn/batchnorm_1/mul' in tensors
