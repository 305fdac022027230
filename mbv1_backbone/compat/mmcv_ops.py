"""mmcv's operators from torchvision, for where the compiled ones are not installed (see ``mmcv_ext``).

With those of ``mmcv_carafe``, ``mmcv_deform``, ``mmcv_losses`` and ``mmcv_roi`` they are what mmdet calls,
on any device that torchvision serves. The functions have mmcv's signatures and write into the tensors that
mmcv allocates.
Source of the semantics: https://mmcv.readthedocs.io/en/2.x/understand_mmcv/ops.html.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torchvision
from torch import Tensor

from mbv1_backbone.compat import mmcv_carafe, mmcv_deform, mmcv_losses, mmcv_roi, roi_align
from mbv1_backbone.compat.mmcv_roi import single

__all__ = [
    'OPERATORS',
    'nms',
    'nms_match',
    'roi_align_backward',
    'roi_align_forward',
    'softnms',
]


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0) -> Tensor:
    """Indices of the boxes that non-maximum suppression keeps, by descending score.

    Args:
        boxes: (N, 4) x1, y1, x2, y2.
        scores: (N,).
        iou_threshold: A box is dropped where its overlap with a better one is greater. Both are compared in
            single precision, as by mmcv: torchvision takes an overlap of .1 for more than a threshold of .1.
        offset: 0, or 1 for boxes whose width is ``x2 - x1 + 1``.
    """
    grown = boxes.float() + boxes.new_tensor([0, 0, offset, offset], dtype=torch.float32)
    return torchvision.ops.nms(grown, scores.float(), torch.tensor(iou_threshold, dtype=torch.float32).item())


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
        iou_threshold: Overlaps of this and above are decayed (methods 0 and 1).
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
        overlap = overlap.nan_to_num(0.0)  # of boxes without an area
        score[remaining] *= _decay(overlap, iou_threshold, sigma, method)
        remaining = remaining[score[remaining] >= min_score]
    return torch.tensor(kept, dtype=torch.long)


def _decay(overlap: Tensor, iou_threshold: float, sigma: float, method: int) -> Tensor:
    if method == 2:
        return torch.exp(-(overlap**2) / sigma)
    above = 1 - overlap if method == 1 else torch.zeros_like(overlap)
    return torch.where(overlap >= iou_threshold, above, 1.0)


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
    [input] = single(input)
    size = aligned_height, aligned_width
    output.copy_(
        torchvision.ops.roi_align(input, rois.to(input), size, spatial_scale, sampling_ratio, aligned)
    )


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
    [grad_output] = single(grad_output)
    rois, shape = rois.to(grad_output), grad_input.shape
    if roi_align.is_faster(shape, grad_output.device):
        gradient = roi_align.gradient(grad_output, rois, shape, spatial_scale, sampling_ratio, aligned)
    else:
        size = aligned_height, aligned_width
        gradient = torch.ops.torchvision._roi_align_backward(
            grad_output, rois, spatial_scale, *size, *shape, sampling_ratio, aligned
        )
    grad_input.copy_(gradient)


def _require_average(pool_mode: int) -> None:
    if pool_mode != 1:
        raise NotImplementedError("roi_align with pool_mode='max' needs the compiled mmcv: pip install mmcv")


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


def _not_compiled() -> str:
    """What ``mmcv.utils.collect_env`` says of mmcv's compilers where there are no compiled operators."""
    return 'n/a'


OPERATORS: dict[str, Callable[..., Any]] = {
    'get_compiler_version': _not_compiled,
    'get_compiling_cuda_version': _not_compiled,
    **{
        function.__name__: function
        for function in (
            nms,
            nms_match,
            softnms,
            roi_align_forward,
            roi_align_backward,
        )
    },
    **mmcv_carafe.OPERATORS,
    **mmcv_deform.OPERATORS,
    **mmcv_losses.OPERATORS,
    **mmcv_roi.OPERATORS,
}
