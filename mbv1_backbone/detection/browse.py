"""What a detector sees in training: the augmented images, their boxes, and the anchors matched to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from mmdet.models.dense_heads import AnchorHead
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import get_box_tensor
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS
from torch import nn
from tqdm import tqdm

from mbv1_backbone.common.errors import InputError, user_errors
from mbv1_backbone.compat.datasets import plain_datasets
from mbv1_backbone.detection.drawing import draw_boxes, masks_of, side_by_side
from mbv1_backbone.detection.formats.report import table

__all__ = ['View', 'browse', 'matched_anchors']


class View(NamedTuple):
    """One training sample.

    Attributes:
        picture: RGB uint8, the boxes on the left, the matched anchors on the right.
        name: Of the image file.
        boxes: Number of boxes.
        anchors: Number of anchors matched to them.
    """

    picture: np.ndarray
    name: str
    boxes: int
    anchors: int


def browse(cfg: Config, count: int) -> Iterator[View]:
    """The first ``count`` samples of a config's training data, as the network gets them.

    Raises:
        InputError: If the config, its data or an image cannot be read.
    """
    register_all_modules()
    with user_errors(f'config {cfg.filename}'):
        model = MODELS.build(dict(cfg.model, _scope_='mmdet')).eval()
    if _anchor_head(model) is None:
        raise InputError(f'config {cfg.filename}: its network has no head whose anchors are matched to boxes')
    with user_errors(f'config {cfg.filename}'):
        dataset = DATASETS.build(dict(cfg.train_dataloader.dataset, _scope_='mmdet'))
    if reports := [d.report for d in plain_datasets(dataset) if hasattr(d, 'report')]:
        tqdm.write(table(reports))  # above a progress bar, where there is one
    names = dataset.metainfo['classes']
    for index in range(min(count, len(dataset))):
        sample = dataset[index]
        image = sample['inputs'].permute(1, 2, 0).clamp(0, 255).to(torch.uint8).numpy()
        image = np.ascontiguousarray(image[..., ::-1] if cfg.model.data_preprocessor.bgr_to_rgb else image)
        truth = sample['data_samples'].gt_instances
        anchors, labels = matched_anchors(model, sample)
        picture = side_by_side(
            draw_boxes(
                *(image, get_box_tensor(truth.bboxes).numpy(), truth.labels.tolist(), names),
                masks=masks_of(truth),
            ),
            draw_boxes(image, anchors, labels.tolist(), width=1),
        )
        yield View(picture, sample['data_samples'].img_path, len(truth), len(anchors))


def _anchor_head(model: nn.Module) -> AnchorHead | None:
    """The first head that matches anchors to boxes as ``AnchorHead`` does; others have other targets."""
    heads = (module for module in model.modules() if isinstance(module, AnchorHead))
    return next((head for head in heads if type(head).get_targets is AnchorHead.get_targets), None)


@torch.no_grad()
def matched_anchors(model: BaseModel, sample: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The anchors that a sample's boxes are matched to: (N, 4) in pixels of the input, and N labels.

    Taken from the first head with anchors: a one-stage detector's own, or a two-stage one's proposals.
    """
    head = _anchor_head(model)
    assert head is not None  # browse() has looked
    data = model.data_preprocessor(
        dict(inputs=[sample['inputs']], data_samples=[sample['data_samples']]), training=True
    )
    scores = head(model.extract_feat(data['inputs']))[0]
    data_sample: DetDataSample = data['data_samples'][0]
    truth = data_sample.gt_instances.clone()
    truth.bboxes = get_box_tensor(truth.bboxes)
    if head.num_classes == 1:
        truth.labels = torch.zeros_like(truth.labels)
    anchors, valid = head.get_anchors([s.shape[-2:] for s in scores], [data_sample.metainfo], device='cpu')
    labels = torch.cat(head.get_targets(anchors, valid, [truth], [data_sample.metainfo])[0], dim=1)[0]
    matched = labels < head.num_classes
    return torch.cat(anchors[0])[matched].numpy(), labels[matched].numpy()
