"""The SSD head of MobileNetV1: 1x1 (or depthwise) predictors, sigmoid scores, hard negatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmdet.models.dense_heads import AnchorHead
from mmdet.structures.bbox import bbox_overlaps, get_box_tensor
from mmdet.utils import reduce_mean
from mmengine.registry import MODELS
from torch import Tensor, nn

__all__ = ['CROWD_SHARE', 'MobileSSDHead']

CROWD_SHARE = 0.5  # of an anchor's area


@MODELS.register_module()
class MobileSSDHead(AnchorHead):
    """SSD head as in the released SSD MobileNetV1 (paper, section 4.6).

    Two predictors a level on the shared feature map. Scores are sigmoids, one a class; with
    ``background_logit`` one more stands for the background, as in the released network (91
    logits for COCO's 90 ids), and takes part in the loss but never in the detections.

    ``train_cfg.neg_pos_ratio`` turns on hard-negative mining (https://arxiv.org/abs/1512.02325,
    2.2): in each image the classification loss counts the matched anchors and, of the others,
    the ``neg_pos_ratio`` times as many with the highest loss. Without it all anchors count,
    which is what a focal loss wants. Unmatched anchors that lie in a crowd for at least one half count
    neither way. Both losses are divided by the number of matched anchors
    in the batch over all processes (at least 1).

    Args:
        num_classes: Classes without the background.
        in_channels: Channels of each feature map.
        anchor_generator: Config of the anchors.
        use_depthwise: Put a 3x3 depthwise convolution before each predictor (SSDLite).
        norm_cfg: Normalisation of that convolution.
        act_cfg: Activation of that convolution.
        conv_cfg: Its type, e.g. ``dict(type='Conv2dSame')``.
        background_logit: Whether the background has a logit of its own.
        bbox_coder: Config of the box coder; the default has the 10, 10, 5, 5 scales.
        loss_cls: A sigmoid loss.
        loss_bbox: Loss on the encoded boxes.
        train_cfg: Assigner, ``allowed_border``, ``pos_weight``, ``neg_pos_ratio``.
        test_cfg: ``nms_pre``, ``score_thr``, ``nms``, ``max_per_img``.
        init_cfg: mmengine's initialisation.

    Raises:
        ValueError: If ``loss_cls`` is not a sigmoid loss, or the levels do not match the anchors.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        anchor_generator: dict[str, Any],
        use_depthwise: bool = False,
        norm_cfg: dict[str, Any] | None = None,
        act_cfg: dict[str, Any] | None = None,
        conv_cfg: dict[str, Any] | None = None,
        background_logit: bool = True,
        bbox_coder: dict[str, Any] | None = None,
        loss_cls: dict[str, Any] | None = None,
        loss_bbox: dict[str, Any] | None = None,
        train_cfg: dict[str, Any] | None = None,
        test_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        loss_cls = loss_cls or dict(type='CrossEntropyLoss', use_sigmoid=True)
        if not loss_cls.get('use_sigmoid', False):
            raise ValueError(f'loss_cls must be a sigmoid loss (use_sigmoid=True), got {dict(loss_cls)}')
        self.use_depthwise = use_depthwise
        self.num_logits = num_classes + int(background_logit)
        self._depthwise_unit = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        super().__init__(
            num_classes=num_classes,
            in_channels=in_channels,
            anchor_generator=anchor_generator,
            bbox_coder=bbox_coder or dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
            loss_cls=loss_cls,
            loss_bbox=loss_bbox or dict(type='SmoothL1Loss', beta=1.0),
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            init_cfg=init_cfg or dict(type='TruncNormal', layer='Conv2d', std=0.03),
        )

    def _init_layers(self) -> None:
        self.num_base_priors = self.prior_generator.num_base_priors
        if len(self.in_channels) != len(self.num_base_priors):
            raise ValueError(
                f'in_channels must have one entry for each of the {len(self.num_base_priors)} levels '
                f'of anchors, got {tuple(self.in_channels)}'
            )
        places = list(zip(self.in_channels, self.num_base_priors, strict=True))
        self.cls_convs = nn.ModuleList(self._predictor(c, n * self.num_logits) for c, n in places)
        self.reg_convs = nn.ModuleList(self._predictor(c, n * 4) for c, n in places)

    def _predictor(self, channels: int, outputs: int) -> nn.Module:
        predictor = nn.Conv2d(channels, outputs, 1)
        if not self.use_depthwise:
            return predictor
        depthwise = ConvModule(channels, channels, 3, padding=1, groups=channels, **self._depthwise_unit)
        return nn.Sequential(depthwise, predictor)

    def forward(self, x: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Predict logits and encoded boxes.

        Returns:
            Per level (N, boxes * logits, H, W) and (N, boxes * 4, H, W).
        """
        cls_scores = [conv(feature) for conv, feature in zip(self.cls_convs, x, strict=True)]
        bbox_preds = [conv(feature) for conv, feature in zip(self.reg_convs, x, strict=True)]
        return cls_scores, bbox_preds

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: list,
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list | None = None,
    ) -> dict[str, Tensor]:
        """Losses of a batch: ``loss_cls`` and ``loss_bbox``, both scalars.

        Args:
            cls_scores: Logits of each level, (N, boxes * logits of a box, H, W).
            bbox_preds: Encoded boxes of each level, (N, boxes * 4, H, W).
            batch_gt_instances: Of each image, with ``bboxes`` (G, 4) in pixels and ``labels`` (G,).
            batch_img_metas: Of each image, with ``pad_shape`` and ``img_shape``.
            batch_gt_instances_ignore: Of each image, boxes of crowds: what they cover is no background.
        """
        map_sizes = [tuple(score.shape[-2:]) for score in cls_scores]
        anchors, valid = self.get_anchors(map_sizes, batch_img_metas, device=cls_scores[0].device)
        targets = self.get_targets(anchors, valid, batch_gt_instances, batch_img_metas)
        labels, label_weights, box_targets, box_weights = (torch.cat(level, 1) for level in targets[:4])
        logits, boxes = _flatten(cls_scores, self.num_logits), _flatten(bbox_preds, 4)

        matched = labels < self.num_classes
        negative = ~matched & ~_in_crowds(torch.cat(anchors[0]), batch_gt_instances_ignore, matched)
        total = reduce_mean(matched.sum().float()).clamp(min=1.0)
        losses = self._anchor_losses(logits, labels, label_weights)
        counted = matched | self._hardest(losses.detach(), negative, matched.sum(1))
        loss_cls = (losses * counted).sum() / total
        loss_bbox = self.loss_bbox(
            boxes.reshape(-1, 4), box_targets.reshape(-1, 4), box_weights.reshape(-1, 4), avg_factor=total
        )
        return dict(loss_cls=loss_cls, loss_bbox=loss_bbox)

    def _anchor_losses(self, logits: Tensor, labels: Tensor, label_weights: Tensor) -> Tensor:
        """Classification loss of every anchor (N, A), summed over its logits."""
        losses = self.loss_cls(
            logits.reshape(-1, self.num_logits),
            labels.reshape(-1),
            label_weights.reshape(-1),
            reduction_override='none',
        )
        return losses.sum(-1).reshape(labels.shape)

    def _hardest(self, losses: Tensor, negative: Tensor, num_matched: Tensor) -> Tensor:
        """Of the negatives (N, A), those that count: the hardest of each image, or all."""
        ratio = self.train_cfg.get('neg_pos_ratio')
        if ratio is None:
            return negative
        rank = losses.masked_fill(~negative, -1.0).argsort(dim=1, descending=True).argsort(dim=1)
        return negative & (rank < ratio * num_matched[:, None])

    def predict_by_feat(
        self, cls_scores: list[Tensor], bbox_preds: list[Tensor], *args: Any, **kwargs: Any
    ) -> list:
        """Detections of each image, as mmdet's heads give them; the background logit is dropped."""
        foreground = [self.without_background(scores) for scores in cls_scores]
        return super().predict_by_feat(foreground, bbox_preds, *args, **kwargs)

    def without_background(self, scores: Tensor) -> Tensor:
        """Logits of a level (N, A * logits, H, W) without the background's: (N, A * classes, H, W)."""
        batch, _, height, width = scores.shape
        per_box = scores.reshape(batch, -1, self.num_logits, height, width)
        return per_box[:, :, : self.num_classes].reshape(batch, -1, height, width)


def _in_crowds(anchors: Tensor, crowds: list | None, like: Tensor) -> Tensor:
    """Which anchors (N, A) lie in an ignored region of their image for at least ``CROWD_SHARE``."""
    inside = torch.zeros_like(like)
    for row, ignored in zip(inside, crowds or [], strict=False):
        if ignored is not None and len(ignored.bboxes):
            share = bbox_overlaps(anchors, get_box_tensor(ignored.bboxes), mode='iof')
            row |= share.max(dim=1).values >= CROWD_SHARE
    return inside


def _flatten(maps: list[Tensor], values: int) -> Tensor:
    """Per-level (N, boxes * values, H, W) maps to one (N, anchors, values) tensor, in float32."""
    return torch.cat(
        [level.permute(0, 2, 3, 1).reshape(level.shape[0], -1, values) for level in maps], dim=1
    ).float()
