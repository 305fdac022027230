"""Detectors as they are exported: anchors, decoding and non-maximum suppression inside."""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models.task_modules.coders.delta_xywh_bbox_coder import DeltaXYWHBBoxCoder, delta2bbox
from torch import Tensor
from torchvision.ops import batched_nms

from mbv1_backbone.deploy.graphs import Graph, Normalise


class DetectorGraph(Graph):
    """A detector of one stage: images, uint8 (N, H, W, 3) in RGB, to the best boxes of each.

    Boxes float32 (N, K, 4), x1, y1, x2, y2 in pixels of the input; scores float32 (N, K), falling, 0 where
    there are fewer than K; labels int64 (N, K). K, thresholds and the number of candidates are those of the
    model's ``test_cfg``; suppression is by class and by IoU, as ``type='nms'`` is.

    Args:
        model: An mmdet ``SingleStageDetector`` with an anchor head.
        size: Height and width of the input, in pixels.

    Raises:
        ValueError: If the model is of another kind, or suppresses in another way.
    """

    outputs = ('boxes', 'scores', 'labels')

    def __init__(self, model: Any, size: tuple[int, int]) -> None:
        super().__init__()
        head = getattr(model, 'bbox_head', None)
        if head is None or not hasattr(head, 'prior_generator') or not hasattr(head, 'bbox_coder'):
            raise ValueError(f'{type(model).__name__} is not a detector of one stage with anchors')
        if not isinstance(head.bbox_coder, DeltaXYWHBBoxCoder) or head.bbox_coder.add_ctr_clamp:
            raise ValueError(f'bbox_coder must be DeltaXYWHBBoxCoder, got {head.bbox_coder}')
        if (kind := head.test_cfg.nms.get('type', 'nms')) != 'nms':
            raise ValueError(f"test_cfg.nms must be of type 'nms', got {kind!r}")
        self.normalise = Normalise(model)
        self.model, self.head, self.size = model, head, size
        with torch.no_grad():
            maps = model.extract_feat(torch.zeros(1, 3, *size))
        anchors = head.prior_generator.grid_priors([tuple(m.shape[-2:]) for m in maps], device='cpu')
        for level, boxes in enumerate(anchors):
            self.register_buffer(f'anchors_{level}', boxes.float())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Detect."""
        maps = self.head(self.model.extract_feat(self.normalise(images)))
        logits, encoded = maps[0], maps[1]
        if hasattr(self.head, '_without_background'):
            logits = [self.head._without_background(level) for level in logits]
        boxes, scores = [], []
        for level, (some, deltas) in enumerate(zip(logits, encoded, strict=True)):
            anchors = getattr(self, f'anchors_{level}')
            boxes.append(self._decoded(anchors, deltas))
            scores.append(self._candidates(self._scores(some)))
        cfg = self.head.test_cfg
        return best_boxes(
            torch.cat(boxes, 1),
            torch.cat(scores, 1),
            float(cfg.nms.iou_threshold),
            float(cfg.score_thr),
            int(cfg.max_per_img),
        )

    def _scores(self, logits: Tensor) -> Tensor:
        """Of a level, (N, A, classes)."""
        flat = logits.permute(0, 2, 3, 1).reshape(logits.shape[0], -1, self.head.cls_out_channels)
        return flat.sigmoid() if self.head.use_sigmoid_cls else flat.softmax(-1)[..., :-1]

    def _candidates(self, scores: Tensor) -> Tensor:
        """The scores of a level's ``nms_pre`` best pairs of anchor and class; zeros for the others."""
        most = int(self.head.test_cfg.get('nms_pre', -1))
        flat = scores.flatten(1)
        if most <= 0 or most >= flat.shape[1]:
            return scores
        least = flat.topk(most, dim=1).values[:, -1:].unsqueeze(-1)
        return scores * (scores >= least)

    def _decoded(self, anchors: Tensor, deltas: Tensor) -> Tensor:
        """Boxes of a level, (N, A, 4)."""
        batch = deltas.shape[0]
        flat = deltas.permute(0, 2, 3, 1).reshape(-1, 4)
        everywhere = anchors.unsqueeze(0).expand(batch, -1, -1).reshape(-1, 4)
        coder = self.head.bbox_coder
        boxes = delta2bbox(everywhere, flat, coder.means, coder.stds, self.size, 16 / 1000, coder.clip_border)
        return boxes.reshape(batch, -1, 4)


def best_boxes(
    boxes: Tensor, scores: Tensor, iou_threshold: float, score_thr: float, most: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The ``most`` best boxes of each image that are left after suppression by class.

    Args:
        boxes: (N, A, 4).
        scores: (N, A, classes).
        iou_threshold: Overlap above which the lower score goes.
        score_thr: Scores must be higher.
        most: K.

    Returns:
        Boxes (N, K, 4), scores (N, K), labels (N, K).
    """
    by_class = scores.transpose(1, 2)
    kept = NonMaxSuppression.apply(boxes, by_class, iou_threshold, score_thr, most)
    image, label, anchor = kept.unbind(1)
    left = torch.zeros_like(by_class).index_put((image, label, anchor), by_class[image, label, anchor])
    anchors = by_class.shape[2]
    best, place = left.flatten(1).topk(min(most, left[0].numel()), dim=1)
    which = (place % anchors).unsqueeze(-1).expand(-1, -1, 4)
    return boxes.gather(1, which), best, place // anchors


class NonMaxSuppression(torch.autograd.Function):
    """ONNX's operator of that name: boxes (N, A, 4) and scores (N, C, A) to image, class, anchor (M, 3)."""

    @staticmethod
    def forward(
        ctx: Any, boxes: Tensor, scores: Tensor, iou_threshold: float, score_thr: float, most: int
    ) -> Tensor:
        kept = []
        for image in range(len(boxes)):
            label, anchor = (scores[image] > score_thr).nonzero(as_tuple=True)
            left = batched_nms(boxes[image, anchor], scores[image, label, anchor], label, iou_threshold)
            kept.append(torch.stack([torch.full_like(left, image), label[left], anchor[left]], 1))
        return torch.cat(kept)

    @staticmethod
    def symbolic(g: Any, boxes: Any, scores: Any, iou_threshold: float, score_thr: float, most: int) -> Any:
        def constant(value: Any, dtype: torch.dtype) -> Any:
            return g.op('Constant', value_t=torch.tensor([value], dtype=dtype))

        return g.op(
            'NonMaxSuppression',
            boxes,
            scores,
            constant(most, torch.int64),
            constant(iou_threshold, torch.float32),
            constant(score_thr, torch.float32),
        )
