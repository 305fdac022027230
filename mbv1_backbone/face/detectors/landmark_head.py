"""RetinaFace's head: face or not, box and five landmarks of every anchor, and what it learns by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.dense_heads import AnchorHead
from mmdet.structures.bbox import get_box_tensor
from mmdet.utils import reduce_mean
from mmengine.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torchvision.ops import nms

__all__ = ['POINTS', 'RetinaFaceHead', 'decoded_points', 'encoded_points', 'flatten']

POINTS = 5  # eyes, nose, corners of the mouth, the image's left ones first


@MODELS.register_module()
class RetinaFaceHead(AnchorHead):
    """Face or background, box and five landmarks of every anchor (https://arxiv.org/abs/1905.00641, 3.1).

    Three 1x1 predictors a level, and a softmax over face and background, in mmdet's order. Learns as the
    released network did (https://github.com/biubug6/Pytorch_Retinaface): cross entropy of the matched anchors
    and of the ``train_cfg.neg_pos_ratio`` times as many hardest others of each image, smooth L1 of the
    encoded boxes and, of faces whose landmarks are labelled, of the encoded landmarks. The first two are
    divided by the number of matched anchors in the batch over all processes, the last by that of those with
    landmarks (each at least 1).

    Ground truth is ``bboxes`` (G, 4) in pixels, ``labels`` (G,) and, where there are any, ``landmarks``
    (G, 5, 2) in pixels, NaN of faces that have none.

    Args:
        in_channels: Of each level.
        anchor_generator: Config of the anchors; two of each place.
        loss_landmarks: Loss on the encoded landmarks.
        num_classes: 1; mmdet's checks ask for it.
        bbox_coder: Config of the box coder; landmarks share its deviations of the centre.
        loss_cls: A softmax cross entropy.
        loss_bbox: Loss on the encoded boxes.
        train_cfg: Assigner and ``neg_pos_ratio``.
        test_cfg: ``score_thr``, ``nms``, ``max_per_img``.
        init_cfg: mmengine's initialisation.

    Raises:
        ValueError: If there are more classes, or ``loss_cls`` is a sigmoid loss.
    """

    def __init__(
        self,
        in_channels: int,
        anchor_generator: dict[str, Any],
        loss_landmarks: dict[str, Any] | None = None,
        num_classes: int = 1,
        bbox_coder: dict[str, Any] | None = None,
        loss_cls: dict[str, Any] | None = None,
        loss_bbox: dict[str, Any] | None = None,
        train_cfg: dict[str, Any] | None = None,
        test_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        loss_cls = loss_cls or dict(type='CrossEntropyLoss')
        if num_classes != 1 or loss_cls.get('use_sigmoid', False):
            raise ValueError(f'one class and a softmax are wanted, got {num_classes} and {dict(loss_cls)}')
        super().__init__(
            num_classes=num_classes,
            in_channels=in_channels,
            anchor_generator=anchor_generator,
            bbox_coder=bbox_coder
            or dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2], clip_border=False),
            loss_cls=loss_cls,
            loss_bbox=loss_bbox or dict(type='SmoothL1Loss', beta=1.0, loss_weight=2.0),
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            init_cfg=init_cfg or dict(type='Normal', layer='Conv2d', std=0.01),
        )
        self.loss_landmarks = MODELS.build(loss_landmarks or dict(type='SmoothL1Loss', beta=1.0))

    def _init_layers(self) -> None:
        counts = self.prior_generator.num_base_priors

        def predictors(values: int) -> nn.ModuleList:
            return nn.ModuleList(nn.Conv2d(self.in_channels, count * values, 1) for count in counts)

        self.cls_convs, self.reg_convs = predictors(self.cls_out_channels), predictors(4)
        self.landmark_convs = predictors(2 * POINTS)

    def forward(self, x: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Predict logits, encoded boxes and encoded landmarks.

        Returns:
            Per level (N, anchors * 2, H, W), face before background; (N, anchors * 4, H, W); and
            (N, anchors * 10, H, W), x and y of each point in turn.
        """
        branches = (self.cls_convs, self.reg_convs, self.landmark_convs)
        logits, boxes, points = (
            [conv(level) for conv, level in zip(branch, x, strict=True)] for branch in branches
        )
        return logits, boxes, points

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        landmark_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict[str, Any]],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict[str, Tensor]:
        """Losses of a batch: ``loss_cls``, ``loss_bbox`` and ``loss_landmarks``, all scalars.

        Args:
            cls_scores: As ``forward`` gives them.
            bbox_preds: The same.
            landmark_preds: The same.
            batch_gt_instances: See the class.
            batch_img_metas: Unused: anchors cover the whole batch.
            batch_gt_instances_ignore: Unused, as in the released network's training.
        """
        anchors = self._anchors(cls_scores)
        logits, boxes = flatten(cls_scores, 2), flatten(bbox_preds, 4)
        points = flatten(landmark_preds, 2 * POINTS)
        matches = torch.stack([self._matches(anchors, truth) for truth in batch_gt_instances])
        matched = matches > 0
        total = reduce_mean(matched.sum().float()).clamp(min=1.0)
        losses = self.loss_cls(
            logits.reshape(-1, 2), (~matched).long().reshape(-1), reduction_override='none'
        ).reshape(matched.shape)
        counted = matched | self._hardest(losses.detach(), matched)
        true_boxes, true_points = _truth_of(matches, batch_gt_instances)
        places = anchors.expand(len(matched), -1, -1)[matched]
        known = true_points.flatten(1).isfinite().all(1)
        marks = encoded_points(places[known], true_points[known], self.bbox_coder.stds).flatten(1)
        num_known = reduce_mean(known.sum().float()).clamp(min=1.0)
        return dict(
            loss_cls=(losses * counted).sum() / total,
            loss_bbox=self.loss_bbox(
                boxes[matched], self.bbox_coder.encode(places, true_boxes), avg_factor=total
            ),
            loss_landmarks=self.loss_landmarks(points[matched][known], marks, avg_factor=num_known),
        )

    def predict_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        landmark_preds: list[Tensor],
        batch_img_metas: list[dict[str, Any]],
        cfg: Any = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> list[InstanceData]:
        """Faces of each image, by descending score.

        Args:
            cls_scores: As ``forward`` gives them.
            bbox_preds: The same.
            landmark_preds: The same.
            batch_img_metas: With ``img_shape`` and, to rescale, ``scale_factor``.
            cfg: In place of ``test_cfg``.
            rescale: In pixels of the images as they were before they were resized.
            with_nms: Suppress faces that overlap better ones.

        Returns:
            Of each image ``bboxes`` (F, 4), ``scores`` (F,), ``labels`` (F,) and ``landmarks`` (F, 5, 2).
        """
        cfg = cfg or self.test_cfg
        anchors = self._anchors(cls_scores)
        scores = flatten(cls_scores, 2).softmax(-1)[..., 0]
        boxes, points = flatten(bbox_preds, 4), flatten(landmark_preds, 2 * POINTS)
        results = []
        for index, meta in enumerate(batch_img_metas):
            chosen = (scores[index] > cfg.score_thr).nonzero()[:, 0]
            chosen = chosen[scores[index, chosen].argsort(descending=True, stable=True)]
            found = self._decoded(anchors[chosen], boxes[index, chosen], points[index, chosen])
            if with_nms:
                kept = nms(found.bboxes, scores[index, chosen], cfg.nms.iou_threshold)[: cfg.max_per_img]
                found, chosen = found[kept], chosen[kept]
            found.scores, found.labels = scores[index, chosen], torch.zeros_like(chosen)
            height, width = meta['img_shape'][:2]
            found.bboxes = found.bboxes.clamp(min=0).minimum(boxes.new_tensor([width, height] * 2))
            if rescale:
                scale = boxes.new_tensor(meta['scale_factor'])
                found.bboxes, found.landmarks = found.bboxes / scale.repeat(2), found.landmarks / scale
            results.append(found)
        return results

    def _anchors(self, maps: Sequence[Tensor]) -> Tensor:
        """All anchors (A, 4) in pixels, level by level."""
        sizes = [level.shape[-2:] for level in maps]
        return torch.cat(self.prior_generator.grid_priors(sizes, device=maps[0].device))

    def _matches(self, anchors: Tensor, truth: InstanceData) -> Tensor:
        """Of each anchor the number of its face, from 1, and 0 where it has none (A,)."""
        if not len(truth):
            return anchors.new_zeros(len(anchors), dtype=torch.long)
        plain = InstanceData(bboxes=get_box_tensor(truth.bboxes), labels=truth.labels)
        return self.assigner.assign(InstanceData(priors=anchors), plain).gt_inds

    def _hardest(self, losses: Tensor, matched: Tensor) -> Tensor:
        """Of the anchors (N, A) without a face those that count: the hardest of each image."""
        rank = losses.masked_fill(matched, -1.0).argsort(dim=1, descending=True).argsort(dim=1)
        return ~matched & (rank < self.train_cfg['neg_pos_ratio'] * matched.sum(1, keepdim=True))

    def _decoded(self, anchors: Tensor, boxes: Tensor, points: Tensor) -> InstanceData:
        return InstanceData(
            bboxes=self.bbox_coder.decode(anchors, boxes),
            landmarks=decoded_points(anchors, points, self.bbox_coder.stds),
        )


def flatten(maps: list[Tensor], values: int) -> Tensor:
    """Per-level (N, anchors * values, H, W) maps to one (N, A, values) tensor, in float32."""
    return torch.cat(
        [level.permute(0, 2, 3, 1).reshape(level.shape[0], -1, values) for level in maps], dim=1
    ).float()


def decoded_points(anchors: Tensor, encoded: Tensor, stds: Sequence[float]) -> Tensor:
    """Landmarks (..., 5, 2) in pixels.

    Args:
        anchors: (..., 4), x1, y1, x2, y2.
        encoded: (..., 10), the network's: from the anchor's centre, in shares of its sides over ``stds``.
        stds: The box coder's; the first two are of the centre.
    """
    centres, scales = _frame(anchors, stds)
    return centres + encoded.reshape(*encoded.shape[:-1], POINTS, 2) * scales


def encoded_points(anchors: Tensor, landmarks: Tensor, stds: Sequence[float]) -> Tensor:
    """What the network should say of landmarks (N, 5, 2) in pixels, as (N, 5, 2).

    Args:
        anchors: (N, 4), x1, y1, x2, y2.
        landmarks: In pixels.
        stds: The box coder's.
    """
    centres, scales = _frame(anchors, stds)
    return (landmarks - centres) / scales


def _frame(anchors: Tensor, stds: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Centres and scales of anchors, (..., 1, 2)."""
    corner, opposite = anchors[..., :2].unsqueeze(-2), anchors[..., 2:].unsqueeze(-2)
    return (corner + opposite) / 2, (opposite - corner) * anchors.new_tensor(list(stds[:2]))


def _truth_of(matches: Tensor, batch: Sequence[InstanceData]) -> tuple[Tensor, Tensor]:
    """Boxes (M, 4) and landmarks (M, 5, 2) of all matched anchors of a batch, image by image."""
    boxes, points = [], []
    for row, truth in zip(matches, batch, strict=True):
        which = row[row > 0] - 1
        found = get_box_tensor(truth.bboxes)
        boxes.append(found[which])
        there = 'landmarks' in truth
        points.append(
            truth.landmarks[which] if there else found.new_full((len(which), POINTS, 2), float('nan'))
        )
    return torch.cat(boxes), torch.cat(points)
