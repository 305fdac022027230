"""A detector for a data set of one's own: what its data ask for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.names import guess, listed
from mbv1_backbone.common.resources import SCOPE, config_names, resource_folder
from mbv1_backbone.common.wording import amount
from mbv1_backbone.detection.anchor_fit import scaled_boxes
from mbv1_backbone.detection.formats.coco import CocoAnnotations
from mbv1_backbone.detection.formats.splits import DetectionData
from mbv1_backbone.models.layers import make_divisible
from mbv1_backbone.training.config import kind_of, load_config
from mbv1_backbone.training.own_fit import boxes_of, fitted_anchors, input_size, merge
from mbv1_backbone.weights.zoo import find_any_config

__all__ = ['MODELS', 'Choice', 'Proposal', 'base_config', 'propose']

MODELS = {
    'ssd_mbv1': 'ssd_mbv1_coco',
    'ssdlite_mbv1': 'ssdlite_mbv1_coco',
    'retinanet_mbv1_fpn': 'retinanet_mbv1_fpn_640_coco',
    'faster_rcnn_mbv1': 'faster_rcnn_mbv1_300_coco',
    'faster_rcnn_mbv1_fpn': 'faster_rcnn_mbv1_fpn_coco',
}
_WIDTHS = ('0.25', '0.5', '0.75')
_SEEN = 30_000  # images that a training sees: 100 epochs of blood cells' 292, which were measured
_EPOCHS = (12, 120)  # fewest and most
_LR, _LR_BATCH = 0.02, 16


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

    @property
    def interval(self) -> int:
        """Epochs from one evaluation to the next."""
        return _interval(self.epochs)


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
    boxes, labels, sizes = boxes_of(found['train'])
    size, why = input_size(cfg, (boxes, labels, sizes), data.classes, choice.size)
    changes = _heads(cfg.model, len(data.classes))
    if width is not None:
        merge(changes, _of_width(cfg, width))
    anchors = fitted_anchors(cfg, changes, scaled_boxes(boxes, sizes, size), labels, data.classes, size)
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
