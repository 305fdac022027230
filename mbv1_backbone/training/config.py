"""Loading a config for a run: overrides, data root, and the checks that give a user one clear line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from mbv1_backbone.common.errors import InputError, user_errors
from mbv1_backbone.common.resources import find_config
from mbv1_backbone.models.recipe import Recipe
from mbv1_backbone.training.annotations import use_checked_annotations
from mbv1_backbone.training.bases import read_config
from mbv1_backbone.training.overrides import check_overrides
from mbv1_backbone.weights import import_weights

__all__ = [
    'LOADERS',
    'check_taps',
    'datasets_of',
    'default_start',
    'follow_recipe',
    'kind_of',
    'load_config',
    'require_data',
    'require_keys',
    'set_data_root',
    'train_loop_of',
    'use_pretrained',
]

_STARTS = {
    1.0: 'google/mobilenet_v1_1.0_224_float',
    0.75: 'google/mobilenet_v1_0.75_192',
    0.5: 'google/mobilenet_v1_0.5_160',
    0.25: 'google/mobilenet_v1_0.25_128',
}
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def load_config(
    path: str | os.PathLike[str],
    options: dict[str, Any] | None = None,
    data_root: str | None = None,
    work_dir: str | None = None,
) -> Config:
    """Read a config, apply overrides, and check that its layers fit the backbone's taps.

    Args:
        path: Config file, or the name of one of this project's (see ``find_config``).
        options: ``--cfg-options``: dotted keys to values.
        data_root: Folder put in place of every data set's own; evaluators follow.
        work_dir: Output folder; the default is the config's, else ``work_dirs/NAME``.

    Raises:
        InputError: If the file is missing or wrong, or the model's layers do not fit together.
    """
    path = find_config(path)
    cfg = read_config(path)
    check_overrides(cfg, options or {})
    with user_errors(f'config {path}'):
        cfg.merge_from_dict(options or {})
    require_keys(cfg, 'model')
    if not isinstance(cfg.model, dict):
        raise InputError(f'config {path}: model must be a dict, got {cfg.model!r}')
    if data_root is not None:
        with user_errors(f'config {path}'):
            set_data_root(cfg, data_root)
    if isinstance(cfg.get('data_preprocessor'), dict):  # mmpretrain's configs have it beside the model
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    with user_errors(f'config {path}'):
        check_taps(cfg.model)
        use_checked_annotations(cfg)
    cfg.work_dir = work_dir or cfg.get('work_dir') or str(Path('work_dirs') / Path(path).stem)
    return cfg


def kind_of(cfg: Config) -> str | None:
    """Of which kind a config's network is, a word of ``KINDS``; None where it is of none of them."""
    model = cfg.get('model') or {}
    name = str(model.get('type')).rpartition('.')[2]
    if name == 'FaceEmbeddingModel':
        return 'embedder'
    if name.endswith('ImageClassifier'):
        return 'classifier'
    if cfg.get('default_scope') == 'mmdet' or {'bbox_head', 'roi_head', 'rpn_head'} & set(model):
        return 'detector'
    return None


def train_loop_of(cfg: Config) -> str:
    """The class of a config's training loop."""
    by_epoch = cfg.train_cfg.get('by_epoch') is not False
    usual = 'EpochBasedTrainLoop' if by_epoch else 'IterBasedTrainLoop'
    return str(cfg.train_cfg.get('type', usual)).rpartition('.')[2]


def set_data_root(cfg: Config, data_root: str) -> None:
    """Point every data set, and every evaluator or head that reads a file of it, at ``data_root``."""
    head = cfg.model.get('head')
    if isinstance(head, dict) and 'data_root' in head:
        head['data_root'] = data_root
    for loader in LOADERS:
        for dataset in datasets_of(cfg.get(loader)):
            dataset.data_root = data_root
            evaluators = cfg.get(loader.replace('dataloader', 'evaluator')) or []
            for evaluator in [evaluators] if isinstance(evaluators, dict) else evaluators:
                if 'ann_file' in evaluator and 'ann_file' in dataset:
                    evaluator['ann_file'] = str(Path(data_root) / dataset.ann_file)
                if 'data_root' in evaluator:
                    evaluator['data_root'] = data_root


def use_pretrained(cfg: Config, checkpoint: str) -> None:
    """Start a config's backbone, and its shared head, from pre-trained weights.

    What the weights ask for goes into the config: padding, activation and batch norm's epsilon of these
    layers, and the mean and deviation of the data preprocessor.

    Args:
        cfg: Changed in place.
        checkpoint: A file, a URL or a name in the model zoo, for ``import_weights``.

    Raises:
        InputError: If the weights cannot be had, or the config's backbone is not MobileNetV1.
    """
    backbone = cfg.model.get('backbone') or {}
    if str(backbone.get('type')).rpartition('.')[2] != 'MobileNetV1':
        raise InputError(f'--pretrained needs a MobileNetV1 backbone, got {backbone.get("type")}')
    weights = import_weights(checkpoint)
    url = checkpoint if '://' in checkpoint else f'mbv1://{checkpoint}'
    init_cfg = dict(type='Pretrained', checkpoint=url)
    if 'backbone.rows.0.conv.weight' in weights.state:
        init_cfg['prefix'] = 'backbone.'
    for layer in follow_recipe(cfg, weights.recipe):
        layer.update(init_cfg=init_cfg)


def follow_recipe(cfg: Config, recipe: Recipe) -> list[Any]:
    """Have a config's backbone, its shared head and its images be as weights were trained with.

    Args:
        cfg: Changed in place.
        recipe: Of the weights.

    Returns:
        The parts of the config that the weights are for.
    """
    requested = recipe.backbone()
    layers = [cfg.model.get('backbone'), (cfg.model.get('roi_head') or {}).get('shared_head')]
    layers = [layer for layer in layers if layer is not None]
    for layer in layers:
        norm_cfg = {**(layer.get('norm_cfg') or dict(type='BN')), 'eps': recipe.norm_eps}
        layer.update(padding=requested['padding'], act_cfg=requested['act_cfg'], norm_cfg=norm_cfg)
    _set_preprocessing(cfg.model, recipe)
    return layers


def default_start(cfg: Config) -> str:
    """The name of Google's ImageNet weights that fit a config's backbone.

    Raises:
        InputError: If there are none of its width or variant.
    """
    backbone = cfg.model.get('backbone') or {}
    width, variant = backbone.get('widen_factor', 1.0), backbone.get('variant', 'separable')
    if width not in _STARTS or variant != 'separable':
        widths = ', '.join(f'{width:g}' for width in _STARTS)
        raise InputError(
            f'--pretrained without a value: there are ImageNet weights of width {widths} of the separable '
            f'variant, the config has {width:g} of the {variant} one; name a file'
        )
    return _STARTS[width]


def _set_preprocessing(model: Any, recipe: Recipe) -> None:
    """Mean and deviation of a model's data preprocessor as weights want them; colours become R, G, B."""
    wanted = recipe.preprocessor()
    if kind_of(Config(dict(model=model))) == 'classifier':  # mmpretrain's word
        wanted['to_rgb'] = wanted.pop('bgr_to_rgb')
    model.setdefault('data_preprocessor', {}).update(wanted)


def require_keys(cfg: Config, *names: str) -> None:
    """Check that a config says what a piece of work needs.

    Args:
        cfg: From ``load_config``.
        names: Of its keys, such as ``train_dataloader``.

    Raises:
        InputError: If one is missing.
    """
    missing = [name for name in names if cfg.get(name) is None]
    if missing:
        raise InputError(f'config {cfg.filename}: has no {", no ".join(missing)}')


def require_data(cfg: Config, *loaders: str) -> None:
    """Check that the files and folders that the data sets name exist.

    A config's ``data_source`` says where its data comes from, and is part of the message.

    Raises:
        InputError: If one is missing.
    """
    for loader in loaders:
        for dataset in datasets_of(cfg.get(loader)):
            root = Path(dataset.get('data_root') or '.')
            lists = ('ann_file', 'identities_file', 'teacher_file', 'targets_file', 'cells')
            wanted = [root / str(dataset[name]) for name in lists if dataset.get(name)]
            prefixes = dataset.get('data_prefix') or {}  # of mmpretrain it may be one folder
            prefixes = prefixes.values() if isinstance(prefixes, dict) else [prefixes]
            wanted += [root / prefix for prefix in prefixes if isinstance(prefix, str)]
            if missing := next((path for path in wanted if not path.exists()), None):
                raise InputError(
                    f'{loader}: {missing} does not exist; give the right folder with --data-root. '
                    f'{cfg.get("data_source", "")}'.strip()
                )


def check_taps(model: dict[str, Any]) -> None:
    """Check that what follows the backbone takes the channels that its taps give.

    Raises:
        InputError: If it does not.
    """
    backbone = model.get('backbone') or {}
    if not isinstance(backbone, dict):
        raise InputError(f'model.backbone must be a dict, got {backbone!r}')
    if str(backbone.get('type')).rpartition('.')[2] != 'MobileNetV1':
        return
    with torch.device('meta'):  # no memory, no initialisation
        taps = MODELS.build({**backbone, 'type': 'MobileNetV1', 'init_cfg': None}).taps
    channels = tuple(tap.channels for tap in taps)
    for name in ('neck', 'rpn_head', 'bbox_head', 'head'):
        layer = model.get(name) or {}
        if 'in_channels' in layer:
            wanted = layer['in_channels']
            fits = tuple(wanted) == channels if isinstance(wanted, (list, tuple)) else wanted == channels[-1]
            if not fits:
                raise InputError(
                    f'model.{name}.in_channels={wanted} must be {channels}, the channels of the '
                    f"backbone's out_indices={tuple(backbone.get('out_indices', (13,)))} "
                    f'at widen_factor={backbone.get("widen_factor", 1.0)}'
                )
        if str(layer.get('type')).rpartition('.')[2] == 'SSDNeck':
            _check_ssd_neck(layer)
        if layer:
            return


def _check_ssd_neck(neck: dict[str, Any]) -> None:
    """Check the levels of mmdet's SSD neck, whose own assertions say no values.

    Its channels become tuples: it compares them, and a list is no tuple.
    """
    names = ('in_channels', 'out_channels', 'level_strides', 'level_paddings')
    if not all(isinstance(neck.get(name), (list, tuple)) for name in names):
        return  # the class says what it wants
    for name in names:
        neck[name] = tuple(neck[name])
    first, channels, strides, paddings = (neck[name] for name in names)
    fits = channels[: len(first)] == first and len(strides) == len(paddings) == len(channels) - len(first) > 0
    if not fits:
        raise InputError(
            f'model.neck.out_channels={channels} must be in_channels={first} and then one or more, as many '
            f'as level_strides={strides} and level_paddings={paddings} have'
        )


def datasets_of(loader: dict[str, Any] | None) -> Iterator[Any]:
    """The data sets of a dataloader config, inside any wrappers."""
    pending = [loader['dataset']] if loader else []
    while pending:
        dataset = pending.pop(0)
        inner = dataset.get('datasets') or ([dataset['dataset']] if 'dataset' in dataset else [])
        pending += inner
        if not inner:
            yield dataset
