"""Detectors as they are exported: anchors, regions, decoding and suppression inside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.task_modules.coders.delta_xywh_bbox_coder import DeltaXYWHBBoxCoder
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import roi_align

from mbv1_backbone.detection.masks import THRESHOLD
from mbv1_backbone.export.graphs import Graph, Normalise
from mbv1_backbone.export.suppression import multiclass_nms

__all__ = [
    'DenseDecoder',
    'DetectorGraph',
    'Masked',
    'OneStage',
    'Size',
    'TwoStage',
    'coder_of',
    'decoded',
    'detector_graph_of',
    'limits_of',
]

Size = tuple[int, int]  # height and width in pixels
_MAX_ZOOM = -math.log(16 / 1000)  # of a side, as a logarithm: mmdet's wh_ratio_clip


def detector_graph_of(model: Any, size: Size) -> DetectorGraph:
    """The graph of an mmdet detector with anchors, of one stage or two.

    Images, uint8 (N, H, W, 3) in RGB, to the best boxes of each: float32 (N, K, 4), x1, y1, x2, y2 in pixels
    of the input; scores float32 (N, K), descending, 0 where there are fewer than K; labels int64 (N, K). K,
    thresholds and the number of candidates are those of the model's ``test_cfg``; suppression is by class and
    by IoU, as ``type='nms'`` is. Of Mask R-CNN also masks, see ``Masked``.

    Args:
        model: ``SingleStageDetector`` with an anchor head, or ``TwoStageDetector`` with ``RPNHead`` and
            ``StandardRoIHead``.
        size: Height and width of the input, in pixels.

    Raises:
        ValueError: If the model is of another kind, or suppresses or codes boxes in another way.
    """
    if hasattr(getattr(model, 'bbox_head', None), 'prior_generator'):
        return OneStage(model, size)
    if hasattr(model, 'rpn_head') and hasattr(getattr(model, 'roi_head', None), 'bbox_roi_extractor'):
        return Masked(model, size) if model.roi_head.with_mask else TwoStage(model, size)
    raise ValueError(f'{type(model).__name__} is not a detector with anchors, of one stage or two')


class DetectorGraph(Graph):
    """What detectors of both kinds share."""

    outputs: tuple[str, ...] = ('boxes', 'scores', 'labels')

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.normalise, self.model = Normalise.of(model), model

    @torch.no_grad()
    def _maps(self, size: Size) -> Sequence[Tensor]:
        return self.model.extract_feat(self.normalise(torch.zeros(1, *size, 3, dtype=torch.uint8)))


class OneStage(DetectorGraph):
    """A detector of one stage; see ``detector_graph_of``."""

    def __init__(self, model: Any, size: Size) -> None:
        super().__init__(model)
        self.decoder = DenseDecoder(model.bbox_head, self._maps(size), size)
        self.cfg = model.bbox_head.test_cfg

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (N, K, 4) in pixels, scores and labels (N, K) of images, uint8 (N, H, W, 3) in RGB."""
        boxes, scores = self.candidates(images)
        best, labels, which = multiclass_nms(boxes, scores, *limits_of(self.cfg))
        return _chosen(boxes, which), best, labels

    def candidates(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (N, A, 4) in pixels and scores (N, A, classes) of all anchors, before suppression."""
        boxes, scores = self.decoder(self.model.extract_feat(self.normalise(images)))
        return torch.cat(boxes, 1), torch.cat(scores, 1)


class TwoStage(DetectorGraph):
    """A detector of two stages; see ``detector_graph_of``."""

    def __init__(self, model: Any, size: Size) -> None:
        super().__init__(model)
        self.size = size
        self.decoder = DenseDecoder(model.rpn_head, self._maps(size), size)
        self.rpn_cfg, self.cfg = model.rpn_head.test_cfg, model.roi_head.test_cfg
        self.coder = coder_of(model.roi_head.bbox_head)
        limits_of(self.cfg)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Boxes (N, K, 4) in pixels, scores and labels (N, K) of images, uint8 (N, H, W, 3) in RGB."""
        return self._boxes(self.model.extract_feat(self.normalise(images)))

    def _boxes(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        regions, kept = self._regions(maps)
        logits, deltas = self._classified(maps, regions)
        count, classes = regions.shape[1], logits.shape[-1] - 1
        scores = logits.softmax(-1)[:, :-1].reshape(-1, count, classes) * (kept > 0).unsqueeze(-1)
        encoded = deltas.reshape(-1, count, classes, 4)
        boxes = decoded(self.coder, regions.unsqueeze(2), encoded, self.size).reshape(-1, count * classes, 4)
        labels = torch.arange(classes).repeat(count)
        apart = boxes + (labels * (max(self.size) + 1.0)).view(1, -1, 1)  # classes do not overlap there
        best, _, which = multiclass_nms(apart, scores.flatten(1).unsqueeze(-1), *limits_of(self.cfg))
        return _chosen(boxes, which), best, which % classes

    def _regions(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The best regions (N, K, 4), suppressed level by level, and their scores (N, K)."""
        boxes, scores = self.decoder(maps)
        last = len(scores) - 1
        by_level = [F.pad(level, (place, last - place)) for place, level in enumerate(scores)]
        _, iou_threshold, max_boxes = limits_of(self.rpn_cfg)
        best, _, which = multiclass_nms(
            torch.cat(boxes, 1), torch.cat(by_level, 1), 0.0, iou_threshold, max_boxes
        )
        return _chosen(torch.cat(boxes, 1), which), best

    def _classified(self, maps: Sequence[Tensor], regions: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N K, classes + 1) and encoded boxes (N K, classes 4) of regions (N, K, 4)."""
        head = self.model.roi_head
        found = head.bbox_head(self._features(head.bbox_roi_extractor, maps, regions))
        return found[0], found[1]

    def _features(self, extractor: Any, maps: Sequence[Tensor], regions: Tensor) -> Tensor:
        """What a head of the second stage sees of regions (N, K, 4): (N K, channels, side, side)."""
        image = torch.arange(regions.shape[0]).view(-1, 1, 1).expand(-1, regions.shape[1], 1)
        rois = torch.cat([image.to(regions), regions], 2).reshape(-1, 5)
        layers = extractor.roi_layers
        pooled = [_pooled(layer, level, rois) for layer, level in zip(layers, maps, strict=False)]
        features = pooled[0]
        if len(pooled) > 1:
            levels = extractor.map_roi_levels(rois, len(pooled)).view(-1, 1, 1, 1)
            features = sum(level * (levels == place) for place, level in enumerate(pooled))
        head = self.model.roi_head
        return head.shared_head(features) if head.with_shared_head else features


class Masked(TwoStage):
    """Mask R-CNN: boxes as ``TwoStage`` gives them, and of each a mask of its class.

    ``masks``, float32 (N, K, M, M), are probabilities on a grid over the box; see ``detection.masks.paste``.

    Raises:
        ValueError: If the masks are of another kind.
    """

    outputs = ('boxes', 'scores', 'labels', 'masks')

    def __init__(self, model: Any, size: Size) -> None:
        super().__init__(model, size)
        kinds = type(model.roi_head).__name__, type(model.roi_head.mask_head).__name__
        if kinds != ('StandardRoIHead', 'FCNMaskHead'):
            raise ValueError(
                f'masks must be of StandardRoIHead and FCNMaskHead, got {kinds[0]} and {kinds[1]}'
            )
        if (threshold := self.cfg.mask_thr_binary) != THRESHOLD:
            raise ValueError(f'test_cfg.rcnn.mask_thr_binary must be {THRESHOLD}, got {threshold}')

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Boxes, scores and labels as ``TwoStage`` gives them, and masks (N, K, M, M)."""
        maps = self.model.extract_feat(self.normalise(images))
        boxes, scores, labels = self._boxes(maps)
        head = self.model.roi_head
        extractor = head.bbox_roi_extractor if head.share_roi_extractor else head.mask_roi_extractor
        logits = head.mask_head(self._features(extractor, maps, boxes))
        kinds, side = logits.shape[1], logits.shape[-1]
        of_class = logits.reshape(-1, boxes.shape[1], kinds, side, side)
        places = labels if kinds > 1 else torch.zeros_like(labels)
        places = places.view(-1, boxes.shape[1], 1, 1, 1).expand(-1, -1, -1, side, side)
        return boxes, scores, labels, of_class.gather(2, places).squeeze(2).sigmoid()


class DenseDecoder(nn.Module):
    """Boxes and scores of every place where a head has anchors."""

    def __init__(self, head: Any, maps: Sequence[Tensor], size: Size) -> None:
        super().__init__()
        self.head, self.size, self.coder = head, size, coder_of(head)
        limits_of(head.test_cfg)
        shapes = [tuple(level.shape[-2:]) for level in maps]
        for level, anchors in enumerate(head.prior_generator.grid_priors(shapes, device='cpu')):
            self.register_buffer(f'anchors_{level}', anchors.float())

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Of each level boxes (N, A, 4) and scores (N, A, classes)."""
        logits, encoded = self.head(maps)[:2]
        if hasattr(self.head, 'without_background'):
            logits = [self.head.without_background(level) for level in logits]
        boxes = []
        for level, deltas in enumerate(encoded):
            flat = deltas.permute(0, 2, 3, 1).reshape(deltas.shape[0], -1, 4)
            boxes.append(decoded(self.coder, getattr(self, f'anchors_{level}'), flat, self.size))
        return boxes, [self._candidates(self._scores(level)) for level in logits]

    def _scores(self, logits: Tensor) -> Tensor:
        flat = logits.permute(0, 2, 3, 1).reshape(logits.shape[0], -1, self.head.cls_out_channels)
        return flat.sigmoid() if self.head.use_sigmoid_cls else flat.softmax(-1)[..., :-1]

    def _candidates(self, scores: Tensor) -> Tensor:
        """The scores of a level's ``nms_pre`` best pairs of anchor and class; zeros for the others."""
        count = int(self.head.test_cfg.get('nms_pre', -1))
        flat = scores.flatten(1)
        if count <= 0 or count >= flat.shape[1]:
            return scores
        least = flat.topk(count, dim=1).values[:, -1:].unsqueeze(-1)
        return scores * (scores >= least)


def limits_of(cfg: Any) -> tuple[float, float, int]:
    """Least score, IoU and number of boxes of a ``test_cfg``.

    Raises:
        ValueError: If it suppresses in another way.
    """
    nms = dict(cfg.nms)
    if (kind := nms.pop('type', 'nms')) != 'nms':
        raise ValueError(f"test_cfg.nms must be of type 'nms', got {kind!r}")
    if 'iou_threshold' not in nms:
        raise ValueError(f'test_cfg.nms must have an iou_threshold, got {nms}')
    for key in sorted(set(nms) - {'iou_threshold', 'split_thr'}):  # the latter is of how, not of what
        if nms[key]:
            raise ValueError(f'test_cfg.nms cannot have {key}={nms[key]!r}: boxes are suppressed by class')
    if cfg.max_per_img < 1:
        raise ValueError(f'test_cfg.max_per_img must be at least 1, got {cfg.max_per_img}')
    if cfg.get('min_bbox_size', 0) > 0:
        raise ValueError(f'test_cfg.min_bbox_size must be 0, got {cfg.min_bbox_size}')
    return float(cfg.get('score_thr', 0.0)), float(cfg.nms.iou_threshold), int(cfg.max_per_img)


def coder_of(head: Any) -> Any:
    """The box coder of a head.

    Raises:
        ValueError: If it codes boxes in another way.
    """
    coder = getattr(head, 'bbox_coder', None)
    if not isinstance(coder, DeltaXYWHBBoxCoder) or coder.add_ctr_clamp:
        raise ValueError(f'bbox_coder must be DeltaXYWHBBoxCoder, got {type(coder).__name__}')
    return coder


def decoded(coder: Any, anchors: Tensor, deltas: Tensor, size: Size) -> Tensor:
    """Boxes of a ``DeltaXYWHBBoxCoder``, all (..., 4), as mmdet's ``delta2bbox`` computes them.

    Written so that OpenVINO still folds the first convolution's bias, which it does not with mmdet's.

    Args:
        coder: mmdet's, with ``means``, ``stds`` and ``clip_border``.
        anchors: Boxes that the deltas start from: x1, y1, x2, y2 in pixels.
        deltas: The network's: shifts and logarithms of the zoom, normalised.
        size: Height and width of the input, in pixels.
    """
    shift, zoom = (deltas * deltas.new_tensor(coder.stds) + deltas.new_tensor(coder.means)).split(2, -1)
    sides = anchors[..., 2:] - anchors[..., :2]
    centres = (anchors[..., :2] + anchors[..., 2:]) / 2 + shift * sides
    half = sides / 2 * zoom.clamp(-_MAX_ZOOM, _MAX_ZOOM).exp()
    boxes = torch.cat([centres - half, centres + half], -1)
    if not coder.clip_border:
        return boxes
    return boxes.clamp(min=0).minimum(boxes.new_tensor([size[1], size[0]] * 2))


def _chosen(boxes: Tensor, which: Tensor) -> Tensor:
    return boxes.gather(1, which.unsqueeze(-1).expand(-1, -1, 4))


def _pooled(layer: Any, level: Tensor, rois: Tensor) -> Tensor:
    return roi_align(
        level, rois, layer.output_size, layer.spatial_scale, layer.sampling_ratio, aligned=layer.aligned
    )
