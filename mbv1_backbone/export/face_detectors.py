"""Face detectors with landmarks as they are exported: images of any size, all that follows inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mbv1_backbone.export.detectors import DetectorGraph, Size, decoded
from mbv1_backbone.export.suppression import multiclass_nms
from mbv1_backbone.face.detectors.landmark_head import POINTS, decoded_points, flatten

__all__ = ['FaceDetectorGraph', 'has_landmarks']


def has_landmarks(model: Any) -> bool:
    """Whether a detector's head is ``RetinaFaceHead`` or one like it."""
    return hasattr(getattr(model, 'bbox_head', None), 'landmark_convs')


class FaceDetectorGraph(DetectorGraph):
    """Images, uint8 (N, H, W, 3) in RGB, of any size, to the K best faces of each.

    Boxes float32 (N, K, 4), x1, y1, x2, y2 in pixels, not clipped to the image; scores float32 (N, K),
    descending, 0 where there are fewer than K; labels int64 (N, K), all 0; landmarks float32 (N, K, 10),
    x and y of each in turn.

    Args:
        model: ``SingleStageDetector`` with ``RetinaFaceHead``; K, score and IoU are its ``test_cfg``'s.
    """

    outputs = ('boxes', 'scores', 'labels', 'landmarks')

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        head = model.bbox_head
        self.head, self.cfg, self.count = head, head.test_cfg, int(head.test_cfg.max_per_img)
        self.strides = [stride for stride, _ in head.prior_generator.strides]
        for level, anchors in enumerate(head.prior_generator.base_anchors):
            self.register_buffer(f'anchors_{level}', anchors.float())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Faces, see the class."""
        logits, boxes, points = self.head(self.model.extract_feat(self.normalise(images)))
        anchors = self._anchors(logits)
        found = decoded(self.head.bbox_coder, anchors, flatten(boxes, 4), _NO_SIZE)
        marks = decoded_points(anchors, flatten(points, 2 * POINTS), self.head.bbox_coder.stds).flatten(2)
        scores = flatten(logits, 2).softmax(-1)[..., :1]
        # a small image has fewer than K anchors
        found, marks, scores = (F.pad(values, (0, 0, 0, self.count)) for values in (found, marks, scores))
        limits = float(self.cfg.score_thr), float(self.cfg.nms.iou_threshold), self.count
        best, labels, which = multiclass_nms(found, scores, *limits)
        places = which.unsqueeze(-1)
        return (
            found.gather(1, places.expand(-1, -1, 4)),
            best,
            labels,
            marks.gather(1, places.expand(-1, -1, 2 * POINTS)),
        )

    def _anchors(self, maps: Sequence[Tensor]) -> Tensor:
        """All anchors (A, 4) in pixels, computed of the maps' sizes."""
        levels = []
        for level, (stride, values) in enumerate(zip(self.strides, maps, strict=True)):
            down = torch.arange(values.shape[-2]) * stride
            right = torch.arange(values.shape[-1]) * stride
            y, x = torch.meshgrid(down, right, indexing='ij')
            shifts = torch.stack([x, y, x, y], -1).reshape(-1, 1, 4)
            levels.append((shifts + getattr(self, f'anchors_{level}')).reshape(-1, 4))
        return torch.cat(levels)


_NO_SIZE: Size = (0, 0)  # of an image to clip to
