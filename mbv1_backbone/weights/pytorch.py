"""Plain PyTorch state dicts, in the layouts that MobileNetV1 is published in, timm's among them."""

from __future__ import annotations

import logging
import os
import re
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mbv1_backbone.common.archive import check_archive
from mbv1_backbone.common.errors import DamagedFileError, InputError
from mbv1_backbone.models.recipe import Recipe
from mbv1_backbone.weights.retinaface import fill_retinaface, is_retinaface
from mbv1_backbone.weights.rules import Rule, as_linear
from mbv1_backbone.weights.store import Weights
from mbv1_backbone.weights.targets import fill_classifier, widen_factor_of

__all__ = ['IMAGENET', 'LAYOUTS', 'Layout', 'from_state_dict', 'is_pth', 'read_pth', 'read_state_dict']

IMAGENET = dict(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))  # torchvision's
_NORM = r'(weight|bias|running_mean|running_var)'
_COUNTER = Rule(r'.*num_batches_tracked', None)


class Layout(NamedTuple):
    """One way to name the tensors.

    Attributes:
        name: For people.
        first: The first convolution's name, by which the layout is known.
        rules: Rule table.
        recipe: What its networks are given and built with.
        input_channels: ``'RGB'`` or ``'BGR'``; the first convolution is turned to RGB.
    """

    name: str
    first: str
    rules: tuple[Rule, ...]
    recipe: dict
    input_channels: str = 'RGB'


def _unit(source: str, target: str, conv: str, norm: str) -> list[Rule]:
    return [
        Rule(rf'{source}{conv}\.weight', rf'{target}.conv.weight'),
        Rule(rf'{source}{norm}\.{_NORM}', rf'{target}.bn.\{_groups(source) + 1}'),
    ]


def _groups(pattern: str) -> int:
    return re.compile(pattern).groups


def _block(source: str, row: str, names: tuple[str, str, str, str]) -> list[Rule]:
    """A block's four layers: depthwise and pointwise convolutions with their norms."""
    conv_dw, norm_dw, conv_pw, norm_pw = names
    return [
        *_unit(source, f'rows.{row}.depthwise', conv_dw, norm_dw),
        *_unit(source, f'rows.{row}.pointwise', conv_pw, norm_pw),
    ]


def _staged(pattern: str, first_rows: Mapping[str, int], names: tuple[str, str, str, str]) -> list[Rule]:
    """Blocks named by stage and place: ``pattern`` has a group for each; stages begin at ``first_rows``."""
    conv_dw, norm_dw, conv_pw, norm_pw = names

    def row(match: re.Match[str]) -> int:
        return first_rows[match[1]] + int(match[2])

    def place(part: str, kind: str):  # type: ignore[no-untyped-def]
        suffix = 'conv.weight' if kind == 'conv' else 'bn.'
        return lambda m: f'rows.{row(m)}.{part}.{suffix}' + (m[3] if kind == 'bn' else '')

    return [
        Rule(rf'{pattern}{conv_dw}\.weight', place('depthwise', 'conv')),
        Rule(rf'{pattern}{norm_dw}\.{_NORM}', place('depthwise', 'bn')),
        Rule(rf'{pattern}{conv_pw}\.weight', place('pointwise', 'conv')),
        Rule(rf'{pattern}{norm_pw}\.{_NORM}', place('pointwise', 'bn')),
    ]


def _head(pattern: str) -> list[Rule]:
    return [
        Rule(rf'{pattern}\.weight', 'head.fc.weight', as_linear),
        Rule(rf'{pattern}\.bias', 'head.fc.bias'),
    ]


_SEQUENCE = ('0', '1', '3', '4')  # conv, norm, activation, conv, norm, activation
_RETINA_ROWS = {'1': 0, '2': 6, '3': 12}
_RETINA = [
    *_unit(r'stage1\.0\.', 'rows.0', '0', '1'),
    *_staged(r'stage(\d)\.(\d+)\.', _RETINA_ROWS, _SEQUENCE),
    *_head('fc'),
    _COUNTER,
]
_LEAKY = dict(act_cfg=dict(type='LeakyReLU', negative_slope=0.1))

LAYOUTS: tuple[Layout, ...] = (
    Layout(
        name='timm',
        first='conv_stem.weight',
        rules=(
            *_unit('', 'rows.0', 'conv_stem', 'bn1'),
            *_staged(
                r'blocks\.(\d)\.(\d)\.',
                {'0': 1, '1': 2, '2': 4, '3': 6, '4': 12},
                ('conv_dw', 'bn1', 'conv_pw', 'bn2'),
            ),
            *_head('classifier'),
            _COUNTER,
        ),
        recipe=dict(act_cfg=dict(type='ReLU6')),  # [-1, 1]
    ),
    Layout(
        name='RetinaFace',
        first='body.stage1.0.0.weight',
        rules=(
            *(rule._replace(source=rf'body\.{rule.source}') for rule in _RETINA[:-1]),
            _COUNTER,
        ),
        recipe=dict(mean=(123.0, 117.0, 104.0), std=(1.0, 1.0, 1.0), **_LEAKY),
        input_channels='BGR',
    ),
    Layout(
        name='stage1..3',
        first='stage1.0.0.weight',
        rules=tuple(_RETINA),
        recipe=dict(**IMAGENET, **_LEAKY),
    ),
    Layout(
        name='model.N.M',
        first='model.0.0.weight',
        rules=(
            *_unit(r'model\.0\.', 'rows.0', '0', '1'),
            *_block(r'model\.(\d+)\.', r'\1', _SEQUENCE),
            *_head('(?:fc|classifier)'),
            _COUNTER,
        ),
        recipe=IMAGENET,
    ),
    Layout(
        name='features.N.M',
        first='features.0.0.weight',
        rules=(
            *_unit(r'features\.0\.', 'rows.0', '0', '1'),
            *_block(r'features\.(\d+)\.', r'\1', _SEQUENCE),
            *_head(r'(?:fc|classifier)(?:\.\d)?'),
            _COUNTER,
        ),
        recipe=IMAGENET,
    ),
    Layout(
        name='init_block, stageN.unitM',
        first='features.init_block.conv.weight',
        rules=(
            *_unit(r'features\.init_block\.', 'rows.0', 'conv', 'bn'),
            *_staged(
                r'features\.stage(\d)\.unit(\d)\.',
                {'1': 0, '2': 1, '3': 3, '4': 5, '5': 11},  # units count from 1
                (r'dw_conv\.conv', r'dw_conv\.bn', r'pw_conv\.conv', r'pw_conv\.bn'),
            ),
            *_head('output'),
            _COUNTER,
        ),
        recipe=IMAGENET,
    ),
    Layout(
        name='conv_dw_N, conv_pw_N',
        first='conv1.weight',
        rules=(
            *_unit('', 'rows.0', 'conv1', '(?:conv1_bn|bn1)'),
            *(
                Rule(rf'conv_{short}_?(\d+)(?:\.conv)?\.weight', rf'rows.\1.{part}.conv.weight')
                for short, part in (('dw', 'depthwise'), ('pw', 'pointwise'))
            ),
            *(
                Rule(rf'conv_{short}_?(\d+)(?:_bn|\.bn)\.{_NORM}', rf'rows.\1.{part}.bn.\2')
                for short, part in (('dw', 'depthwise'), ('pw', 'pointwise'))
            ),
            *_head('(?:fc|classifier|conv_preds)'),
            _COUNTER,
        ),
        recipe=IMAGENET,
    ),
    Layout(
        name='ours',
        first='rows.0.conv.weight',
        rules=(Rule(r'(rows\..*)(?<!num_batches_tracked)', r'\1'), *_head(r'head\.fc'), _COUNTER),
        recipe={},
    ),
)
_LOG = logging.getLogger('mbv1_backbone')
_LEGACY = torch.serialization.MAGIC_NUMBER.to_bytes(10, 'little')
_WRAPPERS = re.compile(r'^(?:module\.|backbone\.|state_dict\.|base_net\.(?=model\.))+')


def is_pth(path: str | os.PathLike[str]) -> bool:
    """Whether PyTorch wrote the file: a zip archive, or a pickle of versions before 1.6."""
    with open(path, 'rb') as file:
        start = file.read(16)
    # a TFLite file may have an archive of its labels at its end
    return _LEGACY in start or (start.startswith(b'PK') and zipfile.is_zipfile(path))


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read a ``.pth`` without unpickling code: a state dict, or a checkpoint that holds one.

    Raises:
        InputError: If it cannot be read safely, or holds no tensors.
    """
    return read_pth(path)[0]


def read_pth(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state dict of a ``.pth``, and mmengine's ``meta`` where there is one, without unpickling code.

    Raises:
        InputError: If it cannot be read safely, holds no state dict, or its ``meta`` is no dict.
    """
    if zipfile.is_zipfile(path):  # the files of versions before 1.6 have no checksums
        check_archive(path)
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        if 'weights_only' in str(error).lower():
            reason = 'it holds more than tensors and plain values'
            raise InputError(f'{path}: cannot be loaded safely, {reason}') from error
        raise DamagedFileError(f'{path}: cannot be loaded safely, it is damaged') from error
    meta = content.get('meta', {}) if isinstance(content, dict) else {}
    for key in ('state_dict', 'model', 'model_state_dict'):
        if isinstance(content, dict) and key in content and not isinstance(content[key], Tensor):
            content = content[key]
    if not isinstance(content, dict):
        raise InputError(f'{path}: not a state dict, but a {type(content).__name__}')
    wrong = [k for k, v in content.items() if not isinstance(k, str) or not isinstance(v, Tensor)]
    if wrong:
        raise InputError(f'{path}: not a state dict: {wrong[0]!r} is no name of a tensor')
    if not isinstance(meta, dict) or not isinstance(meta.get('dataset_meta') or {}, dict):
        raise InputError(f'{path}: its meta is not the one of a run')
    classes = (meta.get('dataset_meta') or {}).get('classes') or ()
    if not isinstance(classes, (list, tuple)) or not all(isinstance(name, str) for name in classes):
        raise InputError(f'{path}: its classes are no list of names')
    return content, meta


def from_state_dict(state: Mapping[str, Tensor], subject: str) -> Weights:
    """Import a state dict of any layout of ``LAYOUTS``.

    Raises:
        InputError: If the layout is unknown, or the tensors are not MobileNetV1's.
    """
    names = {_WRAPPERS.sub('', name): name for name in state}
    tensors = {short: state[name].float().numpy() for short, name in names.items()}
    if len(names) < len(state):
        raise InputError(f'{subject}: tensors share names once module. and the like are taken off')
    layout = next((layout for layout in LAYOUTS if layout.first in tensors), None)
    if layout is None:
        known = ', '.join(layout.name for layout in LAYOUTS)
        raise InputError(
            f'{subject}: no known layout of MobileNetV1 ({known}); it begins {next(iter(state), "")}'
        )
    if layout.name == 'timm' and 'conv_head.weight' in tensors:
        raise InputError(
            f"{subject}: timm's h variants put one more 1x1 convolution (conv_head) between MobileNetV1 and "
            'the classifier, which the paper has not; take mobilenetv1_100 or mobilenetv1_125'
        )
    if layout.input_channels == 'BGR':
        tensors[layout.first] = np.ascontiguousarray(tensors[layout.first][:, ::-1])
    recipe = Recipe(
        source=f'{layout.name}: {os.path.basename(subject)}',
        widen_factor=widen_factor_of(tensors[layout.first].shape[0]),
        **layout.recipe,
    )
    if layout.name == 'ours':  # and without the description that we write beside
        _LOG.warning(
            '%s: says nothing of how its network is built; the defaults are taken: padding %s, %s, batch '
            'norm epsilon %g, images less %g',
            *(subject, recipe.padding, recipe.act_cfg['type'], recipe.norm_eps, recipe.mean[0]),
        )
    if layout.name == 'RetinaFace' and is_retinaface(tensors):
        weights = fill_retinaface(layout.rules, tensors, recipe, subject)
    else:
        head = next((t for n, t in tensors.items() if n.endswith('.weight') and _is_head(layout, n)), None)
        classes = None if head is None else head.shape[0]
        weights = fill_classifier(layout.rules, tensors, recipe, classes, subject)
    moves = [move._replace(source=names[str(move.source)]) for move in weights.moves]
    return replace(weights, moves=moves)


def _is_head(layout: Layout, name: str) -> bool:
    rule = next((rule for rule in layout.rules if re.fullmatch(rule.source, name)), None)
    return rule is not None and rule.target == 'head.fc.weight'
