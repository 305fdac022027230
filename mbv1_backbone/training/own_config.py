"""The config of a proposed detector, as a file; and a data set of one's own in a config that there is."""

from __future__ import annotations

import re
from pathlib import Path
from pprint import pformat

from mmengine.config import Config

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import write_atomically, write_json
from mbv1_backbone.common.names import listed
from mbv1_backbone.detection.formats.splits import DetectionData, Split
from mbv1_backbone.training.config import datasets_of
from mbv1_backbone.training.own_data import Proposal

__all__ = ['use_data', 'write_config']

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


def _text(proposal: Proposal, files: dict[str, Path]) -> str:
    """The config."""
    splits = proposal.data.splits
    paths = {r: (str(files[r].resolve()), str(splits[r].folder.resolve())) for r in splits}
    warm_up = max(1, min(100, proposal.steps * proposal.epochs // 10))
    return _TEMPLATE.format(
        root=_one_line(str(proposal.data.root)),
        reasons='\n'.join(f'#   {_one_line(line)}' for line in proposal.lines),
        base=proposal.base,
        classes=pformat(proposal.data.classes, width=100),
        size=proposal.size,
        batch_size=proposal.batch_size,
        train=paths['train'],
        val=paths['val'],
        test=paths.get('test', paths['val']),
        model=pformat(proposal.model, width=100),
        epochs=proposal.epochs,
        interval=proposal.interval,
        lr=proposal.lr,
        warm_up=warm_up,
    )


def _one_line(text: str) -> str:
    """Of a comment: what follows a line break in a name would be run as code."""
    return re.sub(r'\s', ' ', text)
