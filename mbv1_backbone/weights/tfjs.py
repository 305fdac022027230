"""TensorFlow.js weights: a graph model or a bare weights manifest, in shards, whole or in 8 or 16 bits.

Format: https://github.com/tensorflow/tfjs/blob/master/tfjs-core/src/io/types.ts (``WeightsManifestConfig``).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.models.recipe import Recipe
from mbv1_backbone.weights.rules import Convert, Rule, apply_rules, from_hwcm, from_hwio
from mbv1_backbone.weights.store import Weights
from mbv1_backbone.weights.targets import UNITS, as_moves, classifier_shapes, widen_factor_of
from mbv1_backbone.weights.tfjs_ssd import is_tfjs_ssd, read_tfjs_ssd

__all__ = ['is_tfjs', 'read_tensors', 'read_tfjs']

_TYPES = dict(float32='<f4', int32='<i4', uint8='u1', bool='u1', float16='<f2', uint16='<u2')
_NORM_EPS = 1e-3
# The network was fed B, G, R less these means (Keras' "caffe" preprocessing).
_VGGFACE_MEAN = (123.68, 116.779, 103.939)  # of R, G, B
# It wants tighter faces than the loose square that the embedders here share: 224 of 258 pixels, 3 % lower.
_INPUT_SIZE, _WINDOW = 258, (25, 17, 224)


def is_tfjs(path: str | os.PathLike[str]) -> bool:
    """Whether a file is the JSON of a TensorFlow.js model: a weights manifest, alone or inside a model."""
    path = Path(path)
    if path.suffix != '.json' or not path.is_file():
        return False
    try:
        _manifest_of(json.loads(path.read_text(encoding='utf-8')), path)
    except (OSError, ValueError):
        return False
    return True


def read_tfjs(path: str | os.PathLike[str]) -> Weights:
    """Import a TensorFlow.js model.

    Args:
        path: ``model.json`` of a graph model, or ``*weights_manifest.json``; its shards lie beside it.

    Raises:
        InputError: If a file is missing or damaged, or the network is none that is known.
    """
    tensors = read_tensors(path)
    if 'conv1/convolution/merged_input' in tensors:
        return _face_network(tensors, str(path))
    if is_tfjs_ssd(tensors):
        return read_tfjs_ssd(tensors, str(path))
    raise InputError(f'{path}: a TensorFlow.js model, but neither the VGGFace2 MobileNetV1 nor an SSD')


def read_tensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """All tensors by name, quantised ones as float32.

    Raises:
        InputError: If the manifest or a shard is missing, damaged, or of another length than it says.
    """
    path = Path(path)
    try:
        groups = _manifest_of(json.loads(path.read_text(encoding='utf-8')), path)
    except (OSError, ValueError) as error:
        raise InputError(f'{path}: not a readable TensorFlow.js manifest: {error}') from error
    tensors: dict[str, np.ndarray] = {}
    for group in groups:
        content = b''.join(_shard(path, str(name)) for name in group['paths'])
        offset = 0
        for entry in group['weights']:
            values, offset = _tensor(entry, content, offset, path)
            tensors[str(entry['name'])] = values
        if offset != len(content):
            raise InputError(f'{path}: its shards hold {len(content)} bytes, the manifest names {offset}')
    return tensors


def _manifest_of(content: Any, path: Path) -> list[dict[str, Any]]:
    groups = content.get('weightsManifest') if isinstance(content, dict) else content
    fits = isinstance(groups, list) and all(
        isinstance(g, dict) and isinstance(g.get('paths'), list) and isinstance(g.get('weights'), list)
        for g in groups
    )
    if not groups or not fits:
        raise InputError(f'{path}: no weights manifest of TensorFlow.js')
    return groups


def _shard(manifest: Path, name: str) -> bytes:
    if Path(name).name != name:
        raise InputError(f'{manifest}: a shard must lie beside it, got {name!r}')
    try:
        return (manifest.parent / name).read_bytes()
    except OSError as error:
        raise InputError(f'{manifest}: its shard {name} cannot be read: {error.strerror}') from error


def _tensor(entry: Mapping[str, Any], content: bytes, offset: int, path: Path) -> tuple[np.ndarray, int]:
    """A tensor from its place in the shards, and where the next one begins."""
    try:
        shape = tuple(int(side) for side in entry['shape'])
        quantised = entry.get('quantization') or {}
        stored = np.dtype(_TYPES[quantised.get('dtype', entry['dtype'])])
        count = int(np.prod(shape, dtype=np.int64))
        if min(shape, default=0) < 0 or offset + count * stored.itemsize > len(content):
            raise InputError(f'{path}: the shards are too short for {entry["name"]}')
        values = np.frombuffer(content, stored, count, offset).reshape(shape)
        if 'scale' in quantised:
            values = values.astype(np.float32) * quantised['scale'] + quantised['min']
        if entry['dtype'] == 'float32':
            values = values.astype(np.float32)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f'{path}: a damaged entry of the manifest: {error!r}') from error
    return values, offset + count * stored.itemsize


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
    Rule(r'(feats|age_pred|gender_pred)/(kernel|bias)', None),
    Rule(r'global_pooling/Mean/reduction_indices', None),
)


def _face_network(tensors: Mapping[str, np.ndarray], subject: str) -> Weights:
    """The VGGFace2 MobileNetV1 of https://github.com/HSE-asavchenko/HSE_FaceRec_tf, 1024 pooled features."""
    for name, values in tensors.items():
        bound = {'Cast': 6.0, 'Const_1': 0.0}.get(name.rpartition('/')[2])
        if bound is not None and '_relu/' in name and float(values) != bound:
            raise InputError(f'{subject}: {name} is {float(values):g}, ReLU6 has {bound:g}')
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
    filled, moves = apply_rules(
        _FACE_RULES, tensors, {n: s for n, s in shapes.items() if n not in made}, subject
    )
    state = {f'backbone.{name}': torch.tensor(value) for name, value in {**filled, **made}.items()}
    moves = [*moves, *as_moves(made)]
    moves = [move._replace(target=move.target and f'backbone.{move.target}') for move in moves]
    return Weights(state, recipe, moves, kind='embedder')


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
