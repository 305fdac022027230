"""Non-maximum suppression of all images and classes at once, as exported files have it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mbv1_backbone.runtime.suppression import kept_of_image

__all__ = ['NonMaxSuppression', 'multiclass_nms']


def multiclass_nms(
    boxes: Tensor, scores: Tensor, score_thr: float, iou_threshold: float, max_boxes: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The ``max_boxes`` best of each image that are left after suppression by class.

    Args:
        boxes: (N, A, 4).
        scores: (N, A, classes).
        score_thr: Scores must be higher.
        iou_threshold: Overlap above which the lower score goes.
        max_boxes: K.

    Returns:
        Scores, labels and numbers of boxes, each (N, K).
    """
    by_class = scores.transpose(1, 2)
    if torch.compiler.is_exporting():
        kept = _suppressed(boxes, by_class, score_thr, iou_threshold)
    else:
        kept = NonMaxSuppression.apply(boxes, by_class, score_thr, iou_threshold, max_boxes)
    image, label, box = kept.unbind(1)
    left = torch.zeros_like(by_class).index_put((image, label, box), by_class[image, label, box])
    best, place = left.flatten(1).topk(min(max_boxes, left[0].numel()), dim=1)
    return best, place // by_class.shape[2], place % by_class.shape[2]


def _suppressed(boxes: Tensor, scores: Tensor, score_thr: float, iou_threshold: float) -> Tensor:
    """All of every image and class that are left, in operators that ``torch.export`` takes.

    Images and classes are laid beside each other, in float64, which leaves overlaps what they are. Two more
    boxes lie beside them all: torchvision tells ``torch.export`` that two boxes or more are kept, and a
    program would fail where it is none or one. Their scores are the least, so that they come last.

    Args:
        boxes: (N, A, 4).
        scores: (N, C, A).
        score_thr: Scores must be higher.
        iou_threshold: Overlap above which the lower score goes.

    Returns:
        int64 (M, 3): image, class and box.
    """
    found = (scores > score_thr).nonzero()
    image, label, box = found.unbind(1)
    candidates, values = boxes[image, box].double(), scores[image, label, box].double()
    side = boxes.abs().max().double() * 2 + 1
    apart = candidates + ((image * scores.shape[1] + label) * side).unsqueeze(1)
    more = torch.tensor([[-2.0, 0.0, -1.5, 0.5], [-3.0, 0.0, -2.5, 0.5]], dtype=torch.float64) * side
    with_more = torch.cat([apart, more]), torch.cat([values, values.new_tensor([-1.0, -2.0])])
    return found[torch.ops.torchvision.nms(*with_more, iou_threshold)[:-2]]


class NonMaxSuppression(torch.autograd.Function):
    """ONNX's operator of that name: boxes (N, A, 4) and scores (N, C, A) to image, class, box (M, 3)."""

    @staticmethod
    def forward(
        ctx: Any, boxes: Tensor, scores: Tensor, score_thr: float, iou_threshold: float, max_boxes: int
    ) -> Tensor:
        """What PyTorch computes: the best of each image, where ONNX gives as many of each class.

        Args:
            ctx: Of PyTorch's function; unused.
            boxes: (N, A, 4): x1, y1, x2, y2 in pixels.
            scores: (N, C, A), 0..1.
            score_thr: Boxes that score no more are left out.
            iou_threshold: Boxes that overlap a better one of their class by more are left out.
            max_boxes: Of each image.

        Returns:
            int64 (M, 3): image, class and box.
        """
        kept = []
        for image in range(len(boxes)):
            label, box = kept_of_image(boxes[image], scores[image], score_thr, iou_threshold, max_boxes)
            kept.append(torch.stack([torch.full_like(box, image), label, box], 1))
        return torch.cat(kept)

    @staticmethod
    def symbolic(
        g: Any, boxes: Any, scores: Any, score_thr: float, iou_threshold: float, max_boxes: int
    ) -> Any:
        """What is written into the file.

        Args:
            g: PyTorch's graph.
            boxes: Value of the graph, (N, A, 4).
            scores: Value of the graph, (N, C, A).
            score_thr: Boxes that score no more are left out.
            iou_threshold: Boxes that overlap a better one of their class by more are left out.
            max_boxes: Of each image and class.
        """

        def constant(value: Any, dtype: torch.dtype) -> Any:
            return g.op('Constant', value_t=torch.tensor([value], dtype=dtype))

        return g.op(
            'NonMaxSuppression',
            boxes,
            scores,
            constant(max_boxes, torch.int64),
            constant(iou_threshold, torch.float32),
            constant(score_thr, torch.float32),
        )
