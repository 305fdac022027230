"""mmcv's operators from torchvision, for where the compiled ones are not installed (see ``mmcv_ext``).

With those of ``mmcv_carafe``, ``mmcv_deform`` and ``mmcv_roi`` they are what mmdet calls, on any device that
torchvision serves. The functions have mmcv's signatures and write into the tensors that mmcv allocates.
Source of the semantics: https://mmcv.readthedocs.io/en/2.x/understand_mmcv/ops.html.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torchvision
from torch import Tensor

from mbv1_backbone.compat import mmcv_carafe, mmcv_deform, mmcv_roi

__all__ = [
    'OPERATORS',
    'nms',
    'nms_match',
    'roi_align_backward',
    'roi_align_forward',
    'sigmoid_focal_loss_backward',
    'sigmoid_focal_loss_forward',
    'softmax_focal_loss_backward',
    'softmax_focal_loss_forward',
    'softnms',
]


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0) -> Tensor:
    """Indices of the boxes that non-maximum suppression keeps, by descending score.

    Args:
        boxes: (N, 4) x1, y1, x2, y2.
        scores: (N,).
        iou_threshold: A box is dropped where its overlap with a better one is greater.
        offset: 0, or 1 for boxes whose width is ``x2 - x1 + 1``.
    """
    grown = boxes.float() + boxes.new_tensor([0, 0, offset, offset], dtype=torch.float32)
    return torchvision.ops.nms(grown, scores.float(), iou_threshold)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int = 0,
) -> Tensor:
    """Soft-NMS (https://arxiv.org/abs/1704.04503): lower the scores of overlapping boxes.

    Args:
        boxes: (N, 4) x1, y1, x2, y2.
        scores: (N,).
        dets: (N, 5), filled with the kept boxes and their new scores, by descending score.
        iou_threshold: Overlaps above it are decayed (methods 0 and 1).
        sigma: Width of the Gaussian (method 2).
        min_score: Boxes whose score falls below it are dropped.
        method: 0 drops, 1 decays by 1 - IoU, 2 by exp(-IoU^2 / sigma).
        offset: 0 or 1, as for ``nms``.

    Returns:
        Indices of the kept boxes.
    """
    remaining, score = torch.arange(len(boxes)), scores.float().clone()
    grown = boxes.float() + torch.tensor([0.0, 0.0, offset, offset])
    kept: list[int] = []
    while len(remaining):
        best = remaining[score[remaining].argmax()]
        dets[len(kept)] = torch.cat([boxes[best].float(), score[best, None]])
        kept.append(int(best))
        remaining = remaining[remaining != best]
        overlap = torchvision.ops.box_iou(grown[best, None], grown[remaining])[0]
        score[remaining] *= _decay(overlap, iou_threshold, sigma, method)
        remaining = remaining[score[remaining] >= min_score]
    return torch.tensor(kept, dtype=torch.long)


def _decay(overlap: Tensor, iou_threshold: float, sigma: float, method: int) -> Tensor:
    if method == 2:
        return torch.exp(-(overlap**2) / sigma)
    above = 1 - overlap if method == 1 else torch.zeros_like(overlap)
    return torch.where(overlap > iou_threshold, above, 1.0)


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Fill ``output`` (K, C, aligned_height, aligned_width) with averages over K regions.

    Args:
        input: Feature map (N, C, H, W).
        rois: (K, 5) image index, x1, y1, x2, y2 in pixels of the image.
        output: Filled.
        argmax_y: Unused, of mmcv's maximum mode.
        argmax_x: Unused.
        aligned_height: Rows of the output.
        aligned_width: Columns of the output.
        spatial_scale: Map pixels per image pixel.
        sampling_ratio: Samples a bin and axis; 0 for as many as the region needs.
        pool_mode: 1, the average.
        aligned: Whether pixel centres lie at .5.

    Raises:
        NotImplementedError: For the maximum mode (0), which torchvision lacks.
    """
    _require_average(pool_mode)
    pooled = torchvision.ops.roi_align(
        input.float(), rois.float(), (aligned_height, aligned_width), spatial_scale, sampling_ratio, aligned
    )
    output.copy_(pooled)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Fill ``grad_input`` (N, C, H, W) with the gradient of ``roi_align_forward``.

    Args:
        grad_output: (K, C, aligned_height, aligned_width).
        rois: (K, 5) image index, x1, y1, x2, y2 in pixels of the image.
        argmax_y: Unused, of mmcv's maximum mode.
        argmax_x: Unused.
        grad_input: Filled.
        aligned_height: Rows of the output.
        aligned_width: Columns of the output.
        spatial_scale: Map pixels per image pixel.
        sampling_ratio: Samples a bin and axis; 0 for as many as the region needs.
        pool_mode: 1, the average.
        aligned: Whether pixel centres lie at .5.
    """
    _require_average(pool_mode)
    gradient = torch.ops.torchvision._roi_align_backward(
        grad_output.float(),
        rois.float(),
        spatial_scale,
        aligned_height,
        aligned_width,
        *grad_input.shape,
        sampling_ratio,
        aligned,
    )
    grad_input.copy_(gradient)


def _require_average(pool_mode: int) -> None:
    if pool_mode != 1:
        raise NotImplementedError("roi_align with pool_mode='max' needs the compiled mmcv: pip install mmcv")


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Fill ``output`` (N, C) with the focal loss (https://arxiv.org/abs/1708.02002) of every logit.

    Args:
        input: Logits (N, C).
        target: (N,) class 0..C-1, or C for the background.
        weight: (C,), or (C + 1,) with the background's, a factor by the target's class; empty for none.
        output: Filled.
        gamma: Exponent of the modulating factor.
        alpha: Weight of the positives.
    """
    loss = torchvision.ops.sigmoid_focal_loss(input.float(), _one_hot(input, target), alpha, gamma)
    output.copy_(loss * _target_weight(weight, target))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Fill ``grad_input`` (N, C) with the derivative of each loss by its logit.

    Args:
        input: Logits (N, C).
        target: (N,) class 0..C-1, or C for the background.
        weight: (C,), or (C + 1,) with the background's, a factor by the target's class; empty for none.
        grad_input: Filled.
        gamma: Exponent of the modulating factor.
        alpha: Weight of the positives.
    """
    with torch.enable_grad():
        logits = input.detach().float().requires_grad_()
        loss = torchvision.ops.sigmoid_focal_loss(logits, _one_hot(input, target), alpha, gamma)
        weighted = (loss * _target_weight(weight, target)).sum()
    grad_input.copy_(torch.autograd.grad(weighted, logits)[0])


def _one_hot(logits: Tensor, target: Tensor) -> Tensor:
    classes = torch.arange(logits.shape[1], device=logits.device)
    return (target[:, None] == classes).float()


def _target_weight(weight: Tensor, target: Tensor) -> Tensor:
    if weight.numel() == 0:
        return target.new_ones(1, dtype=torch.float32)
    padded = torch.cat([weight.float(), weight.new_ones(1, dtype=torch.float32)])
    return padded[target][:, None]


def softmax_focal_loss_forward(
    softmax: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Fill ``output`` (N,) with the focal loss of each target's probability.

    Args:
        softmax: Probabilities (N, C).
        target: (N,) class 0..C-1; a negative one costs nothing.
        weight: (C,), a factor by the target's class; empty for none.
        output: Filled.
        gamma: Exponent of the modulating factor.
        alpha: Factor of all losses.
    """
    known, probability = _target_probability(softmax, target)
    loss = -alpha * (1 - probability) ** gamma * probability.log()
    output.copy_(loss * known * _target_weight(weight, target.clamp(min=0)).flatten())


def softmax_focal_loss_backward(
    softmax: Tensor,
    target: Tensor,
    weight: Tensor,
    buff: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Fill ``grad_input`` (N, C) with the derivative of each loss by the logits of its row.

    Args:
        softmax: Probabilities (N, C).
        target: (N,) class 0..C-1; a negative one costs nothing.
        weight: (C,), a factor by the target's class; empty for none.
        buff: Unused, of mmcv's method.
        grad_input: Filled.
        gamma: Exponent of the modulating factor.
        alpha: Factor of all losses.
    """
    known, p = _target_probability(softmax, target)
    by_log = alpha * (gamma * (1 - p) ** (gamma - 1) * p * p.log() - (1 - p) ** gamma)
    factor = by_log * known * _target_weight(weight, target.clamp(min=0)).flatten()
    grad_input.copy_(factor[:, None] * (_one_hot(softmax, target) - softmax))


def _target_probability(softmax: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Whether each target is a class, and its probability, of which logarithms are finite: (N,) each."""
    probability = softmax.gather(1, target.clamp(min=0)[:, None])[:, 0]
    return target >= 0, probability.clamp(min=torch.finfo(torch.float32).tiny)


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Groups of boxes: one that non-maximum suppression keeps, then those that it drops, by descending score.

    Args:
        dets: (N, 5) x1, y1, x2, y2, score.
        iou_threshold: A box is dropped where its overlap with a better one is this or greater.
    """
    overlaps = torchvision.ops.box_iou(dets[:, :4], dets[:, :4]) >= iou_threshold
    remaining = dets[:, 4].argsort(descending=True)
    groups = []
    while len(remaining):
        best, others = int(remaining[0]), remaining[1:]
        dropped = overlaps[best, others]
        groups.append([best, *others[dropped].tolist()])
        remaining = others[~dropped]
    return groups


OPERATORS: dict[str, Callable[..., Any]] = {
    **{
        function.__name__: function
        for function in (
            nms,
            nms_match,
            softnms,
            roi_align_forward,
            roi_align_backward,
            sigmoid_focal_loss_forward,
            sigmoid_focal_loss_backward,
            softmax_focal_loss_forward,
            softmax_focal_loss_backward,
        )
    },
    **mmcv_carafe.OPERATORS,
    **mmcv_deform.OPERATORS,
    **mmcv_roi.OPERATORS,
}
