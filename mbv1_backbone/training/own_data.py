"""A detector for a data set of one's own: what its data ask for, and the config that says so."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pprint import pformat
from typing import Any

import numpy as np
from mmengine.config import Config

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import write_atomically, write_json
from mbv1_backbone.common.names import guess, listed
from mbv1_backbone.common.resources import SCOPE, config_names, resource_folder
from mbv1_backbone.common.wording import amount
from mbv1_backbone.detection.anchor_fit import (
    AnchorFit,
    anchor_generator_of,
    fit_anchors,
    scaled_boxes,
)
from mbv1_backbone.detection.formats.coco import CocoAnnotations, learnable
from mbv1_backbone.detection.formats.splits import DetectionData, Split
from mbv1_backbone.models.layers import make_divisible
from mbv1_backbone.training.config import datasets_of, kind_of, load_config
from mbv1_backbone.weights.zoo import find_any_config

__all__ = ['MODELS', 'Choice', 'Proposal', 'base_config', 'propose', 'use_data', 'write_config']

MODELS = {
    'ssd_mbv1': 'ssd_mbv1_coco',
    'ssdlite_mbv1': 'ssdlite_mbv1_coco',
    'retinanet_mbv1_fpn': 'retinanet_mbv1_fpn_640_coco',
    'faster_rcnn_mbv1': 'faster_rcnn_mbv1_300_coco',
    'faster_rcnn_mbv1_fpn': 'faster_rcnn_mbv1_fpn_coco',
}
_WIDTHS = ('0.25', '0.5', '0.75')
_SIZES = (320, 416, 512, 640)  # multiples of the greatest stride
_SEEN = 30_000  # images that a training sees: 100 epochs of blood cells' 292, which were measured
_EPOCHS = (12, 120)  # fewest and most
_LR, _LR_BATCH = 0.02, 16
_PERCENTILE = 10  # of the boxes' sides: nine of ten are to be seen as large as a cell of the finest map
_FEW = 10  # boxes of a class that decide nothing


@dataclass(frozen=True)
class Choice:
    """What a user decides; None is decided by the data.

    Attributes:
        size: Side of the input in pixels.
        epochs: Of the training.
        batch_size: Of the training.
    """

    size: int | None = None
    epochs: int | None = None
    batch_size: int | None = None


@dataclass(frozen=True)
class Proposal:
    """A detector for a data set, and why it is as it is.

    Attributes:
        data: Divided.
        base: The config that it is made from, as ``_base_`` names it.
        model: Changes of the base's model.
        size: Side of the input in pixels.
        batch_size: Of the training.
        epochs: Of the training.
        steps: Of an epoch.
        lr: Highest learning rate.
        lines: What was found and decided, for people.
    """

    data: DetectionData
    base: str
    model: dict[str, Any]
    size: int
    batch_size: int
    epochs: int
    steps: int
    lr: float
    lines: tuple[str, ...]


def base_config(model: str) -> tuple[Config, str, float | None]:
    """The config that a model's name means.

    Args:
        model: A key of ``MODELS``, ``_0.75``, ``_0.5`` or ``_0.25`` behind it for that width of SSD; a model
            of the zoo, a config of this project's, or a file.

    Returns:
        The config, as ``_base_`` names it, and the width where the name has one.

    Raises:
        InputError: If there is none, or it is no detector.
    """
    plain, _, width = model.rpartition('_')
    short, width = (plain, width) if width in _WIDTHS and plain.startswith('ssd') else (model, '')
    source = f'detection/{MODELS[short]}.py' if short in MODELS else model
    try:
        path = find_any_config(source)
    except InputError as error:
        near = guess(
            [model], [*MODELS, *(Path(name).stem for name in config_names() if 'detection/' in name)]
        )
        raise InputError(
            f'--model {model}: no such model; there are {listed(list(MODELS))}, configs and their files{near}'
        ) from error
    cfg = load_config(path)
    if kind_of(cfg) != 'detector':
        raise InputError(f'--model {model}: {path.name} is no detector')
    folder = resource_folder('configs').resolve()
    inside = path.resolve().is_relative_to(folder)
    base = SCOPE + path.resolve().relative_to(folder).as_posix() if inside else str(path.resolve())
    return cfg, base, float(width) if width else None


def propose(data: DetectionData, model: str, choice: Choice | None = None) -> Proposal:
    """The detector, input size, anchors and schedule for a data set.

    Args:
        data: Divided, with ``train`` and ``val``.
        model: See ``base_config``.
        choice: What is not to be decided here.

    Raises:
        InputError: If there is no such model, or nothing to learn from or to evaluate on.
    """
    choice = choice or Choice()
    cfg, base, width = base_config(model)
    found = {role: split.read(data.classes, role == 'train') for role, split in data.splits.items()}
    if not found['val'].report.boxes:
        raise InputError(f'{found["val"].path}: no box to evaluate on, {found["val"].report.reasons()}')
    boxes, labels, sizes = _boxes_of(found['train'])
    size, why = _input_size(cfg, (boxes, labels, sizes), data.classes, choice.size)
    changes = _heads(cfg.model, len(data.classes))
    if width is not None:
        _merge(changes, _of_width(cfg, width))
    anchors = _anchors(cfg, changes, scaled_boxes(boxes, sizes, size), labels, data.classes, size)
    images = len(found['train'].images)
    batch_size = choice.batch_size or min(int(cfg.train_dataloader.batch_size), _LR_BATCH, images)
    epochs = choice.epochs or int(np.clip(round(_SEEN / images), *_EPOCHS))
    steps, lr = math.ceil(images / batch_size), round(_LR * batch_size / _LR_BATCH, 5)
    schedule = (
        f'schedule    {epochs} epochs of {amount(steps, "step")} of {amount(batch_size, "image")}, learning '
        f'rate {lr:g}, evaluated every {_interval(epochs)}'
    )
    lines = (
        *_told(data, found),
        f'model       {Path(base).stem}{f", width {width:g}" if width else ""}',
        why,
    )
    return Proposal(data, base, changes, size, batch_size, epochs, steps, lr, (*lines, *anchors, schedule))


def write_config(proposal: Proposal, path: Path, folder: Path) -> None:
    """Write the config of a proposal, and the annotations that no file of the data set holds as they are.

    Args:
        proposal: Of the detector.
        path: Of the config.
        folder: Gets ``train.json``, ``val.json`` and ``test.json`` where they are needed.
    """
    splits = proposal.data.splits
    files = {role: _file_of(split, folder / f'{role}.json') for role, split in splits.items()}
    write_atomically(path, _text(proposal, files).encode())


def use_data(cfg: Config, data: DetectionData, split: Split, folder: Path) -> None:
    """Have a config's test data be a part of a data set; its classes stay the network's.

    Args:
        cfg: Changed in place.
        data: The data set, for messages.
        split: Of it.
        folder: Gets the annotations where no file of the data set holds them as they are.

    Raises:
        InputError: If the config evaluates no boxes in COCO's way.
    """
    kinds = {str(d.get('type')).rpartition('.')[2] for d in datasets_of(cfg.test_dataloader)}
    if kinds != {'CheckedCocoDataset'}:
        raise InputError(
            f'--data: {cfg.filename} tests on {listed(sorted(kinds))}, not on boxes as COCO has them'
        )
    file = str(_file_of(split, folder / f'{data.name}.json').resolve())
    for dataset in datasets_of(cfg.test_dataloader):
        dataset.update(data_root='', ann_file=file, data_prefix=dict(img=str(split.folder.resolve())))
    evaluators = cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
    for evaluator in evaluators:
        if 'ann_file' in evaluator:
            evaluator['ann_file'] = file


def _file_of(split: Split, path: Path) -> Path:
    """The file of a split's annotations; it is written where there is none."""
    if split.file is not None:
        return split.file
    write_json(path, split.coco)
    return path


def _boxes_of(found: CocoAnnotations) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (N, 4) that are learnt from, their labels, and the sizes (N, 2) of their pictures."""
    sizes = {image['id']: (image['width'], image['height']) for image in found.images}
    label = {category['id']: k for k, category in enumerate(found.categories)}
    kept = [a for a in found.annotations if learnable(a)]
    return (
        np.array([a['bbox'] for a in kept], dtype=np.float64),
        np.array([label[a['category_id']] for a in kept]),
        np.array([sizes[a['image_id']] for a in kept], dtype=np.float64),
    )


def _input_size(
    cfg: Config,
    boxes: tuple[np.ndarray, np.ndarray, np.ndarray],
    classes: tuple[str, ...],
    chosen: int | None,
) -> tuple[int, str]:
    """Side of the input, and why: at least a cell of the finest map for nine of ten boxes of every class."""
    shares, worst = _small_side(*boxes)
    finest = max(8, _finest_stride(cfg))
    first = 300 if str((cfg.model.get('bbox_head') or {}).get('type')).endswith('SSDHead') else 320
    largest = max(first, float(np.median(boxes[2].max(axis=1))))
    able = [first, *(size for size in _SIZES if first < size <= largest)]
    size = chosen or next((size for size in able if size * shares >= finest), able[-1])
    told = (
        f'input       {size} x {size}: nine boxes of ten are {shares * size:.0f} pixels or more, of every '
        f'class (least {classes[worst]}); a cell of the finest map is {finest}'
    )
    if shares * size < finest and chosen is None:
        told += '; pictures are no larger'
    return size, told


def _small_side(boxes: np.ndarray, labels: np.ndarray, sizes: np.ndarray) -> tuple[float, int]:
    """Of the class with the smallest boxes, the side that nine of ten have, as a share of the input's."""
    shares = np.sqrt(boxes[:, 2] / sizes[:, 0] * boxes[:, 3] / sizes[:, 1])
    counts = np.bincount(labels)
    enough = np.flatnonzero(counts >= min(_FEW, counts.max()))
    found = {int(k): float(np.percentile(shares[labels == k], _PERCENTILE)) for k in enough}
    worst = min(found, key=lambda k: found[k])
    return found[worst], worst


def _finest_stride(cfg: Config) -> int:
    """Stride of the first tap, in pixels."""
    taps = cfg.model.backbone.get('out_indices', (11,))
    return next((stride for last, stride in ((1, 2), (3, 4), (5, 8), (11, 16)) if min(taps) <= last), 32)


def _heads(model: Any, classes: int) -> dict[str, Any]:
    """``num_classes`` of the heads, but of proposals."""
    made: dict[str, Any] = {}
    for name in ('bbox_head', 'roi_head', 'mask_head'):
        part = model.get(name)
        if isinstance(part, Mapping):
            inner = _heads(part, classes)
            if 'num_classes' in part:
                inner['num_classes'] = classes
            if inner:
                made[name] = inner
    return made


def _of_width(cfg: Config, width: float) -> dict[str, Any]:
    """Changes of an SSD of width 1 for another one."""

    def scaled(channels: Any) -> tuple[int, ...]:
        return tuple(make_divisible(c * width) for c in channels)

    first, maps = scaled(cfg.model.neck.in_channels), scaled(cfg.model.neck.out_channels)
    return dict(
        backbone=dict(widen_factor=width),
        neck=dict(in_channels=first, out_channels=maps),
        bbox_head=dict(in_channels=maps),
    )


def _anchors(
    cfg: Config,
    changes: dict[str, Any],
    boxes: np.ndarray,
    labels: np.ndarray,
    classes: tuple[str, ...],
    size: int,
) -> list[str]:
    """Put the anchors that fit into the changes, and say how well they do."""
    found = anchor_generator_of(cfg.model)
    if found is None:
        return ['anchors     as the model has them, of a kind that is not fitted here']
    (head, key), generator = found
    if 'input_size' in generator:
        generator['input_size'] = size
        _merge(changes, {head: {key: dict(input_size=size)}})
    fit = fit_anchors(boxes, labels, len(classes), generator, size)
    _merge(changes, {head: {key: fit.changes}} if fit.changes else {})
    return _told_anchors(fit, classes)


def _told_anchors(fit: AnchorFit, classes: tuple[str, ...]) -> list[str]:
    mean = [float(np.nanmean(shares)) for shares in (fit.before, fit.after)]
    if fit.changes:
        values = ', '.join(f'{name} {value}' for name, value in fit.changes.items())
        line = (
            f'anchors     {values}: cover {mean[1]:.1%} of the boxes of a class, {mean[0]:.1%} as they were'
        )
    else:
        line = f'anchors     as the model has them: cover {mean[0]:.1%} of the boxes of a class'
    worst = [k for k in np.argsort(fit.after) if fit.after[k] < 0.9][:3]  # NaN is not below
    told = ', '.join(f'{classes[k]} {fit.after[k]:.1%}' for k in worst)
    return [line + (f'; least {told} (mbv1 data check lists the boxes)' if worst else '')]


def _told(data: DetectionData, found: dict[str, CocoAnnotations]) -> list[str]:
    lines = [f'data        {data.root}: {data.layout}, {_classes(data)}']
    for role, split in found.items():
        boxes = amount(split.report.boxes, 'box').replace('boxs', 'boxes')
        lines.append(f'{role:11} {amount(len(split.images), "image")}, {boxes}: {split.path}')
    return lines + [f'note        {note}' for note in data.notes]


def _classes(data: DetectionData) -> str:
    count = len(data.classes)
    return f'{count} {"class" if count == 1 else "classes"}: {listed(data.classes)}'


def _interval(epochs: int) -> int:
    return max(1, epochs // 10)


def _merge(target: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Put nested values into nested ones."""
    for key, value in more.items():
        if isinstance(value, Mapping):
            _merge(target.setdefault(key, {}), value)
        else:
            target[key] = value


_TEMPLATE = """\
# Proposed for {root} by mbv1 train --data; change what you like, and train it with mbv1 train.
{reasons}
_base_ = {base!r}

data_source = ''  # of the base
classes = {classes}
input_size = ({size}, {size})
train_pipeline = [
    dict(type='LoadImage', cache_mb=400),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PhotoMetricDistortion',
        brightness_delta=32,
        contrast_range=(0.5, 1.5),
        saturation_range=(0.5, 1.5),
        hue_delta=18),
    dict(type='Expand', mean=[127.5, 127.5, 127.5], to_rgb=True, ratio_range=(1, 2)),
    dict(type='FastMinIoURandomCrop', min_ious=(0.3, 0.5, 0.7, 0.9), min_crop_size=0.3),
    dict(type='Resize', scale=input_size, keep_ratio=False),
    dict(type='RandomFlip', prob=0.5),  # not where left and right make another class
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='Resize', scale=input_size, keep_ratio=False),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    batch_size={batch_size},
    dataset=dict(
        data_root='',
        ann_file={train[0]!r},
        data_prefix=dict(img={train[1]!r}),
        metainfo=dict(classes=classes),
        pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        data_root='',
        ann_file={val[0]!r},
        data_prefix=dict(img={val[1]!r}),
        metainfo=dict(classes=classes),
        pipeline=test_pipeline))
test_dataloader = dict(
    dataset=dict(
        data_root='',
        ann_file={test[0]!r},
        data_prefix=dict(img={test[1]!r}),
        metainfo=dict(classes=classes),
        pipeline=test_pipeline))
val_evaluator = dict(ann_file={val[0]!r})
test_evaluator = dict(ann_file={test[0]!r})
model = {model}

max_epochs = {epochs}
train_cfg = dict(max_epochs=max_epochs, val_interval={interval})
optim_wrapper = dict(optimizer=dict(lr={lr}))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end={warm_up}),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min=0,
        by_epoch=True,
        convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size={batch_size})
default_hooks = dict(checkpoint=dict(interval={interval}))
"""


def _text(proposal: Proposal, files: dict[str, Path]) -> str:
    """The config."""
    splits = proposal.data.splits
    paths = {r: (str(files[r].resolve()), str(splits[r].folder.resolve())) for r in splits}
    warm_up = max(1, min(100, proposal.steps * proposal.epochs // 10))
    return _TEMPLATE.format(
        root=re.sub(r'\s', ' ', str(proposal.data.root)),
        reasons='\n'.join(f'#   {line}' for line in proposal.lines),
        base=proposal.base,
        classes=pformat(proposal.data.classes, width=100),
        size=proposal.size,
        batch_size=proposal.batch_size,
        train=paths['train'],
        val=paths['val'],
        test=paths.get('test', paths['val']),
        model=pformat(proposal.model, width=100),
        epochs=proposal.epochs,
        interval=_interval(proposal.epochs),
        lr=proposal.lr,
        warm_up=warm_up,
    )
