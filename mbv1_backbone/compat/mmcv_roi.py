"""mmcv's pooling over regions that torchvision has not, in plain PyTorch, and on any of its devices.

The functions have mmcv's signatures and write into the tensors that mmcv allocates; half precision is
computed in single. Source of the semantics: https://github.com/open-mmlab/mmcv/tree/v2.1.0/mmcv/ops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

__all__ = ['OPERATORS', 'single']

_CHUNK = 2**23  # values of the features that deform_roi_pool samples at a time


def single(*tensors: Tensor) -> list[Tensor]:
    """The tensors in single or double precision, which every device computes in."""
    return [
        tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float() for tensor in tensors
    ]


def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Fill ``output`` (K, C, pooled_height, pooled_width) with the maximum of each bin.

    Not torchvision's: that rounds the regions to whole pixels of the map, mmcv the bins alone.

    Args:
        input: Feature map (N, C, H, W).
        rois: (K, 5) image index, x1, y1, x2, y2 in pixels of the image, x2 and y2 included.
        output: Filled; 0 in bins without a pixel.
        argmax: Filled with the place of the maximum in H * W, -1 in bins without a pixel.
        pooled_height: Rows of the output.
        pooled_width: Columns of the output.
        spatial_scale: Map pixels per image pixel.
    """
    input, rois = single(input, rois)
    _, _, height, width = input.shape
    left, right = _bins(rois[:, 1], rois[:, 3], pooled_width, spatial_scale, width)
    top, bottom = _bins(rois[:, 2], rois[:, 4], pooled_height, spatial_scale, height)
    for k, image in enumerate(rois[:, 0].long().tolist()):
        rows, columns = (int(top[k, 0]), int(bottom[k, -1])), (int(left[k, 0]), int(right[k, -1]))
        turned = bool((rois[k, 3:] + 1 <= rois[k, 1:3]).any())
        if turned or rows[0] >= rows[1] or columns[0] >= columns[1]:
            output[k], argmax[k] = 0, -1
            continue
        region = input[image, :, slice(*rows), slice(*columns)]
        along, column = _masked_max(region, left[k] - columns[0], right[k] - columns[0])  # (C, rows, bins)
        pooled, row = _masked_max(along.transpose(1, 2), top[k] - rows[0], bottom[k] - rows[0])
        pooled, row = pooled.transpose(1, 2), row.transpose(1, 2)  # (C, pooled_height, pooled_width)
        found = pooled > float('-inf')
        place = (row + rows[0]) * width + column.gather(1, row) + columns[0]
        output[k] = torch.where(found, pooled, 0).to(output.dtype)
        argmax[k] = torch.where(found, place, -1).to(argmax.dtype)


def _bins(low: Tensor, high: Tensor, count: int, scale: float, limit: int) -> tuple[Tensor, Tensor]:
    """First pixel, and the one past the last, of each bin along one axis: (K, count) each."""
    start = (low * scale)[:, None]
    side = ((high + 1) * scale)[:, None] - start
    steps = torch.arange(count + 1, device=low.device, dtype=low.dtype)
    edges = steps * (side / count) + start
    return edges[:, :-1].floor().clamp(0, limit).long(), edges[:, 1:].ceil().clamp(0, limit).long()


def _masked_max(values: Tensor, first: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
    """Maximum of the last axis (C, M, L) from ``first`` to ``past``, (bins,), and its place: (C, M, bins)."""
    place = torch.arange(values.shape[-1], device=values.device)
    inside = (place >= first[:, None]) & (place < past[:, None])
    return values[:, :, None].masked_fill(~inside, float('-inf')).max(-1)


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Add the gradient of ``roi_pool_forward`` to ``grad_input`` (N, C, H, W).

    Args:
        grad_output: (K, C, pooled_height, pooled_width).
        rois: (K, 5) image index, x1, y1, x2, y2 in pixels of the image.
        argmax: (K, C, pooled_height, pooled_width) of the forward pass.
        grad_input: Zeros, added to.
        pooled_height: Rows of the output.
        pooled_width: Columns of the output.
        spatial_scale: Map pixels per image pixel.
    """
    [grad_output] = single(grad_output)
    images, channels, height, width = grad_input.shape
    maps = rois[:, 0].long()[:, None] * channels + torch.arange(channels, device=rois.device)
    place = maps[:, :, None, None] * (height * width) + argmax
    found = argmax >= 0
    summed = grad_output.new_zeros(images * channels * height * width)
    summed.index_add_(0, place[found], grad_output[found])
    grad_input += summed.view_as(grad_input)


def deform_roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    output: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Fill ``output`` (K, C, pooled_height, pooled_width) with averages over bins that are moved.

    Args:
        input: Feature map (N, C, H, W).
        rois: (K, 5) image index, x1, y1, x2, y2 in pixels of the image.
        offset: (K, 2, pooled_height, pooled_width), x before y, in sizes of the region; empty for none.
        output: Filled.
        pooled_height: Rows of the output.
        pooled_width: Columns of the output.
        spatial_scale: Map pixels per image pixel.
        sampling_ratio: Samples a bin and axis; 0 for as many as the region needs.
        gamma: Factor of the offsets.
    """
    pixels, rois, offset = single(input.permute(0, 2, 3, 1).contiguous(), rois, offset)
    for part, grid in _equal_grids(rois, output.shape, spatial_scale, sampling_ratio):
        moved = offset[part] if offset.numel() else None
        pooled = _pool_moved(pixels, rois[part], moved, output.shape, spatial_scale, gamma, grid)
        output[part] = pooled.to(output.dtype)


def deform_roi_pool_backward(
    grad_output: Tensor,
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Fill ``grad_input`` and ``grad_offset`` with the gradients of ``deform_roi_pool_forward``.

    Args:
        grad_output: (K, C, pooled_height, pooled_width).
        input: Feature map (N, C, H, W).
        rois: (K, 5) image index, x1, y1, x2, y2 in pixels of the image.
        offset: (K, 2, pooled_height, pooled_width), or empty.
        grad_input: Zeros, added to.
        grad_offset: Filled, if there are offsets.
        pooled_height: Rows of the output.
        pooled_width: Columns of the output.
        spatial_scale: Map pixels per image pixel.
        sampling_ratio: Samples a bin and axis; 0 for as many as the region needs.
        gamma: Factor of the offsets.
    """
    pixels, boxes, moves, gradient = single(input.permute(0, 2, 3, 1).contiguous(), rois, offset, grad_output)
    shape = grad_output.shape
    for part, grid in _equal_grids(boxes, shape, spatial_scale, sampling_ratio):
        with torch.enable_grad():
            variables = [pixels.detach().requires_grad_()]
            if moves.numel():
                variables.append(moves[part].detach().requires_grad_())
            moved = variables[1] if moves.numel() else None
            pooled = _pool_moved(variables[0], boxes[part], moved, shape, spatial_scale, gamma, grid)
        by_pixel, *by_offset = torch.autograd.grad(pooled, variables, gradient[part])
        grad_input += by_pixel.permute(0, 3, 1, 2)
        if by_offset:
            grad_offset[part] = by_offset[0].to(grad_offset.dtype)


def _equal_grids(
    rois: Tensor, shape: torch.Size, scale: float, ratio: int
) -> Iterator[tuple[Tensor, tuple[int, int]]]:
    """Regions by the rows and columns of samples in each of their bins, few enough at a time for memory."""
    _, channels, height, width = shape
    sides = torch.stack([rois[:, 4] - rois[:, 2], rois[:, 3] - rois[:, 1]], 1) * scale
    bins = sides / sides.new_tensor([height, width])
    grids = torch.full_like(bins, ratio).long() if ratio > 0 else bins.ceil().clamp(min=0).long()
    for grid in grids.unique(dim=0):
        rows, columns = grid.tolist()
        part = (grids == grid).all(1).nonzero()[:, 0]
        size = max(_CHUNK // max(channels * height * width * rows * columns, 1), 1)
        for piece in part.split(size):
            yield piece, (rows, columns)


def _pool_moved(
    pixels: Tensor,
    rois: Tensor,
    offset: Tensor | None,
    shape: torch.Size,
    scale: float,
    gamma: float,
    grid: tuple[int, int],
) -> Tensor:
    """Averages (K, C, height, width) of ``grid`` rows and columns of samples in every bin of (N, H, W, C)."""
    _, channels, height, width = shape
    if 0 in grid:
        return pixels.new_zeros(len(rois), channels, height, width) + 0 * pixels.sum()
    images = rois[:, 0].long()
    ends = rois[:, 1:] * scale - 0.5
    starts, sides = ends[:, :2], ends[:, 2:] - ends[:, :2]
    moved = pixels.new_zeros(len(rois), 2, height, width)
    if offset is not None:
        moved = gamma * sides[:, :, None, None] * offset
    y = _samples(starts[:, 1], sides[:, 1], height, grid[0])[:, :, None] + moved[:, 1, :, :, None]
    x = _samples(starts[:, 0], sides[:, 0], width, grid[1])[:, None] + moved[:, 0, :, :, None]
    y, x = torch.broadcast_tensors(y[..., :, None], x[..., None, :])  # (K, height, width, rows, columns)
    sampled = _bilinear(pixels, images, y.flatten(1), x.flatten(1))
    return sampled.view(len(rois), height, width, grid[0] * grid[1], channels).mean(3).permute(0, 3, 1, 2)


def _samples(start: Tensor, side: Tensor, bins: int, count: int) -> Tensor:
    """Positions (K, bins, count) of samples along one axis."""
    steps = torch.arange(bins * count, device=start.device, dtype=start.dtype).view(bins, count) + 0.5
    return start[:, None, None] + side[:, None, None] * steps / (bins * count)


def _bilinear(pixels: Tensor, images: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Values (K, M, C) of image ``images[k]`` at (y, x), each (K, M); 0 a pixel and more outside of it.

    Only the pixels that are used are copied, not the map of a region's image once a region.
    """
    _, height, width, channels = pixels.shape
    inside = (y >= -1) & (y <= height) & (x >= -1) & (x <= width)
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    top, left = y.detach().floor().long(), x.detach().floor().long()
    bottom, right = (top + 1).clamp(max=height - 1), (left + 1).clamp(max=width - 1)
    dy, dx = (y - top)[..., None], (x - left)[..., None]
    flat, first = pixels.view(-1, channels), images[:, None] * height

    def at(row: Tensor, column: Tensor) -> Tensor:
        place = (first + row) * width + column
        return flat.index_select(0, place.flatten()).view(*place.shape, channels)

    upper = at(top, left) * (1 - dx) + at(top, right) * dx
    lower = at(bottom, left) * (1 - dx) + at(bottom, right) * dx
    return (upper * (1 - dy) + lower * dy) * inside[..., None]


OPERATORS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        roi_pool_forward,
        roi_pool_backward,
        deform_roi_pool_forward,
        deform_roi_pool_backward,
    )
}
