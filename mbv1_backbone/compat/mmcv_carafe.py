"""mmcv's CARAFE (https://arxiv.org/abs/1905.02188) and masked convolution, in plain PyTorch.

The functions have mmcv's signatures and write into the tensors that mmcv allocates. Source of the semantics:
https://github.com/open-mmlab/mmcv/tree/v2.1.0/mmcv/ops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ['OPERATORS']


def carafe_naive_forward(
    features: Tensor, masks: Tensor, output: Tensor, kernel_size: int, group_size: int, scale_factor: int
) -> None:
    """Fill ``output`` (N, C, H * scale, W * scale) with sums over each place's neighbours, weighted by place.

    Args:
        features: (N, C, H, W).
        masks: (N, group_size * kernel_size**2, H * scale, W * scale), groups of channels before neighbours.
        output: Filled.
        kernel_size: Odd: neighbours a row.
        group_size: Groups of channels with masks of their own.
        scale_factor: Output pixels per pixel.
    """
    summed = _in_cells(output, group_size, scale_factor)
    summed.zero_()
    for shifted, mask in _neighbours(features, masks, kernel_size, group_size, scale_factor):
        summed.addcmul_(shifted, mask)


def _in_cells(tensor: Tensor, groups: int, scale: int) -> Tensor:
    """View (N, C, H * scale, W * scale), contiguous, as (N, groups, C / groups, H, scale, W, scale)."""
    n, channels, height, width = tensor.shape
    return tensor.view(n, groups, channels // groups, height // scale, scale, width // scale, scale)


def _neighbours(
    features: Tensor, masks: Tensor, kernel: int, groups: int, scale: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Each neighbour's features (N, groups, C', H, 1, W, 1) and mask (N, groups, 1, H, scale, W, scale)."""
    n, channels, height, width = features.shape
    padded = functional.pad(features, [kernel // 2] * 4)
    cells = _in_cells(masks.contiguous(), groups, scale)
    for tap in range(kernel**2):
        row, column = divmod(tap, kernel)
        shifted = padded[:, :, row : row + height, column : column + width]
        yield (
            shifted.reshape(n, groups, channels // groups, height, 1, width, 1),
            cells[:, :, tap : tap + 1],
        )


def carafe_naive_backward(
    grad_output: Tensor,
    features: Tensor,
    masks: Tensor,
    grad_features: Tensor,
    grad_masks: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Fill the gradients of ``carafe_naive_forward`` by features and masks.

    Args:
        grad_output: (N, C, H * scale, W * scale).
        features: (N, C, H, W).
        masks: (N, group_size * kernel_size**2, H * scale, W * scale).
        grad_features: Filled.
        grad_masks: Filled.
        kernel_size: Odd: neighbours a row.
        group_size: Groups of channels with masks of their own.
        scale_factor: Output pixels per pixel.
    """
    _, _, height, width = features.shape
    gradient = _in_cells(grad_output.contiguous(), group_size, scale_factor)
    by_mask = []
    padded = functional.pad(features.new_zeros(features.shape), [kernel_size // 2] * 4)
    pairs = _neighbours(features, masks, kernel_size, group_size, scale_factor)
    for tap, (shifted, mask) in enumerate(pairs):
        row, column = divmod(tap, kernel_size)
        by_mask.append((gradient * shifted).sum(2))
        place = padded[:, :, row : row + height, column : column + width]
        place += (gradient * mask).sum((4, 6)).flatten(1, 2)
    grad_masks.copy_(torch.stack(by_mask, 2).view_as(masks))
    inner = kernel_size // 2
    grad_features.copy_(padded[:, :, inner : inner + height, inner : inner + width])


def carafe_forward(
    features: Tensor,
    masks: Tensor,
    rfeatures: Tensor,
    routput: Tensor,
    rmasks: Tensor,
    output: Tensor,
    **size: int,
) -> None:
    """The same as ``carafe_naive_forward``: mmcv's other method differs in speed alone.

    Args:
        features: (N, C, H, W).
        masks: (N, group_size * kernel_size**2, H * scale, W * scale).
        rfeatures: Takes the features to ``carafe_backward``.
        routput: Unused, of mmcv's method.
        rmasks: Unused.
        output: Filled.
        size: kernel_size, group_size, scale_factor.
    """
    rfeatures.copy_(features)
    carafe_naive_forward(features, masks, output, **size)


def carafe_backward(
    grad_output: Tensor,
    rfeatures: Tensor,
    masks: Tensor,
    rgrad_output: Tensor,
    rgrad_input_hs: Tensor,
    rgrad_input: Tensor,
    rgrad_masks: Tensor,
    grad_features: Tensor,
    grad_masks: Tensor,
    **size: int,
) -> None:
    """Fill the gradients of ``carafe_forward`` by features and masks.

    Args:
        grad_output: (N, C, H * scale, W * scale).
        rfeatures: The features, of the forward pass.
        masks: (N, group_size * kernel_size**2, H * scale, W * scale).
        rgrad_output: Unused, of mmcv's method.
        rgrad_input_hs: Unused.
        rgrad_input: Unused.
        rgrad_masks: Unused.
        grad_features: Filled.
        grad_masks: Filled.
        size: kernel_size, group_size, scale_factor.
    """
    carafe_naive_backward(grad_output, rfeatures, masks, grad_features, grad_masks, **size)


def masked_im2col_forward(
    image: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    columns: Tensor,
    kernel_h: int,
    kernel_w: int,
    pad_h: int,
    pad_w: int,
) -> None:
    """Fill ``columns`` (C * kernel_h * kernel_w, M) with the neighbours of M places.

    Args:
        image: (1, C, H, W).
        mask_h_idx: (M,) rows.
        mask_w_idx: (M,) columns.
        columns: Filled.
        kernel_h: Rows of neighbours.
        kernel_w: Columns of neighbours.
        pad_h: Rows of zeros on either side.
        pad_w: Columns of zeros on either side.
    """
    padded = functional.pad(image[0], [pad_w, pad_w, pad_h, pad_h])
    neighbours = columns.view(len(padded), kernel_h, kernel_w, -1)
    for i in range(kernel_h):
        for j in range(kernel_w):
            neighbours[:, i, j] = padded[:, mask_h_idx + i, mask_w_idx + j]


def masked_col2im_forward(
    columns: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    image: Tensor,
    height: int,
    width: int,
    channels: int,
) -> None:
    """Put ``columns`` (C, M) at M places of ``image`` (1, C, H, W).

    Args:
        columns: (C, M).
        mask_h_idx: (M,) rows.
        mask_w_idx: (M,) columns.
        image: Filled at these places.
        height: H, as the image has it.
        width: W, as the image has it.
        channels: C, as the image has them.
    """
    image[0, :, mask_h_idx, mask_w_idx] = columns


OPERATORS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        carafe_naive_forward,
        carafe_naive_backward,
        carafe_forward,
        carafe_backward,
        masked_im2col_forward,
        masked_col2im_forward,
    )
}
