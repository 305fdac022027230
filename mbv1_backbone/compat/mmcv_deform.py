"""mmcv's operators that sample between pixels: deformable convolution and attention.

Deformable convolution is torchvision's, which keeps offsets (y before x, a pair a kernel element, kernel
elements within groups) and masks in mmcv's order. The functions have mmcv's signatures and write into the
tensors that mmcv allocates; half precision is computed in single. Source of the semantics:
https://github.com/open-mmlab/mmcv/tree/v2.1.0/mmcv/ops.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from mbv1_backbone.compat.mmcv_roi import single

__all__ = ['OPERATORS']


def deform_conv_forward(
    input: Tensor, weight: Tensor, offset: Tensor, output: Tensor, columns: Tensor, ones: Tensor, **size: int
) -> None:
    """Fill ``output`` (N, C', H', W') with the deformable convolution of https://arxiv.org/abs/1703.06211.

    Args:
        input: (N, C, H, W).
        weight: (C', C / group, kH, kW).
        offset: (N, 2 * deformable_group * kH * kW, H', W') in pixels, y before x.
        output: Filled.
        columns: Unused, of mmcv's method.
        ones: Unused.
        size: kW, kH, dW, dH (strides), padW, padH, dilationW, dilationH, group, deformable_group, and
            im2col_step, which is not used: the result does not depend on it.
    """
    input, weight, offset = single(input, weight, offset)
    unused = input.new_zeros(len(input), 1)
    output.copy_(
        torch.ops.torchvision.deform_conv2d(
            input, weight, offset, unused, input.new_zeros(len(weight)), *_geometry(size), False
        )
    )


def _geometry(size: dict[str, int]) -> list[int]:
    names = 'dH', 'dW', 'padH', 'padW', 'dilationH', 'dilationW', 'group', 'deformable_group'
    return [size[name] for name in names]


def _deform_gradients(
    grad_output: Tensor, input: Tensor, weight: Tensor, offset: Tensor, size: dict[str, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients by input, weights and offsets."""
    grad_output, input, weight, offset = single(grad_output, input, weight, offset)
    unused = input.new_zeros(len(input), 1)
    bias = input.new_zeros(len(weight))
    by_input, by_weight, by_offset, _, _ = torch.ops.torchvision._deform_conv2d_backward(
        grad_output, input, weight, offset, unused, bias, *_geometry(size), False
    )
    return by_input, by_weight, by_offset


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **size: int,
) -> None:
    """Fill ``grad_input`` and ``grad_offset`` with the gradients of ``deform_conv_forward``.

    torchvision computes the weights' gradient at the same time: ``columns``, mmcv's scratch memory, takes
    it to ``deform_conv_backward_parameters``.

    Args:
        input: (N, C, H, W).
        offset: (N, 2 * deformable_group * kH * kW, H', W').
        grad_output: (N, C', H', W').
        grad_input: Filled.
        grad_offset: Filled.
        weight: (C', C / group, kH, kW).
        columns: Takes the gradient by the weights.
        size: As for ``deform_conv_forward``.
    """
    by_input, by_weight, by_offset = _deform_gradients(grad_output, input, weight, offset, size)
    grad_input.copy_(by_input)
    grad_offset.copy_(by_offset)
    vars(columns)['gradient'] = weakref.ref(grad_output), by_weight


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    scale: float,
    **size: int,
) -> None:
    """Add ``scale`` times the gradient of ``deform_conv_forward`` by its weights to ``grad_weight``.

    Args:
        input: (N, C, H, W).
        offset: (N, 2 * deformable_group * kH * kW, H', W').
        grad_output: (N, C', H', W').
        grad_weight: (C', C / group, kH, kW), added to.
        columns: Has the gradient where ``deform_conv_backward_input`` ran for the same ``grad_output``.
        ones: Unused.
        scale: Factor.
        size: As for ``deform_conv_forward``.
    """
    known, by_weight = vars(columns).pop('gradient', (lambda: None, None))
    if known() is not grad_output:
        # in place of the weights, on which this gradient does not depend: their shape is what counts
        _, by_weight, _ = _deform_gradients(grad_output, input, grad_weight, offset, size)
    grad_weight.add_(by_weight, alpha=scale)


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    with_bias: bool,
    **size: int,
) -> None:
    """Fill ``output`` (N, C', H', W') with the modulated convolution of https://arxiv.org/abs/1811.11168.

    Args:
        input: (N, C, H, W).
        weight: (C', C / group, kernel_h, kernel_w).
        bias: (C',), or empty.
        ones: Unused, of mmcv's method.
        offset: (N, 2 * deformable_group * kernel_h * kernel_w, H', W') in pixels, y before x.
        mask: (N, deformable_group * kernel_h * kernel_w, H', W'), a factor a sample.
        output: Filled.
        columns: Unused.
        with_bias: Whether ``bias`` is added.
        size: kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group,
            deformable_group.
    """
    input, weight, bias, *samples = single(input, weight, bias, offset, mask)
    offset, mask = (_as_read(tensor, output.shape) for tensor in samples)
    added = bias if with_bias else input.new_zeros(len(weight))
    output.copy_(
        torch.ops.torchvision.deform_conv2d(
            input, weight, offset, mask, added, *_modulated_geometry(size), True
        )
    )


def _as_read(samples: Tensor, shape: torch.Size) -> Tensor:
    """Offsets or masks (N, K, H', W') for an output of that size, or of a larger one, as mmcv reads them.

    It takes each image's numbers in their order for those of the output, without a look at their own size.
    mmdet's DyHead, which samples a level by the offsets of the one below, learns with that.
    """
    n, channels, height, width = samples.shape
    if height * width <= shape[2] * shape[3]:
        return samples  # torchvision refuses the smaller
    used = samples.flatten(1)[:, : channels * shape[2] * shape[3]]
    return used.reshape(n, channels, *shape[2:])


def _fill_as_read(place: Tensor, gradient: Tensor) -> None:
    """Fill ``place``, which is of the size of samples before ``_as_read``, with a gradient after it."""
    given = gradient.flatten(1)
    filled = given.new_zeros(len(place), place[0].numel())
    filled[:, : given.shape[1]] = given
    place.copy_(filled.view(place.shape))


def _modulated_geometry(size: dict[str, int]) -> list[int]:
    names = 'stride_h', 'stride_w', 'pad_h', 'pad_w', 'dilation_h', 'dilation_w', 'group', 'deformable_group'
    return [size[name] for name in names]


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    with_bias: bool,
    **size: int,
) -> None:
    """Fill the five gradients of ``modulated_deform_conv_forward``.

    Args:
        input: (N, C, H, W).
        weight: (C', C / group, kernel_h, kernel_w).
        bias: (C',), or empty.
        ones: Unused, of mmcv's method.
        offset: (N, 2 * deformable_group * kernel_h * kernel_w, H', W').
        mask: (N, deformable_group * kernel_h * kernel_w, H', W').
        columns: Unused.
        grad_input: Filled.
        grad_weight: Filled.
        grad_bias: Filled if there is a bias.
        grad_offset: Filled.
        grad_mask: Filled.
        grad_output: (N, C', H', W').
        with_bias: Whether there is a bias.
        size: As for ``modulated_deform_conv_forward``.
    """
    grad_output, input, weight, *samples = single(grad_output, input, weight, offset, mask)
    offset, mask = (_as_read(tensor, grad_output.shape) for tensor in samples)
    gradients = torch.ops.torchvision._deform_conv2d_backward(
        grad_output,
        input,
        weight,
        offset,
        mask,
        input.new_zeros(len(weight)),
        *_modulated_geometry(size),
        True,
    )
    by_input, by_weight, by_offset, by_mask, by_bias = gradients
    grad_input.copy_(by_input)
    grad_weight.copy_(by_weight)
    _fill_as_read(grad_offset, by_offset)
    _fill_as_read(grad_mask, by_mask)
    if with_bias:
        grad_bias.copy_(by_bias)


def ms_deform_attn_forward(
    value: Tensor, shapes: Tensor, starts: Tensor, locations: Tensor, weights: Tensor, im2col_step: int
) -> Tensor:
    """Attention to a few places of each level (https://arxiv.org/abs/2010.04159), by mmcv's own PyTorch code.

    mmcv itself takes that on the CPU only.

    Args:
        value: (N, sum of H * W, heads, C).
        shapes: (levels, 2) H, W.
        starts: (levels,) Unused: where each level begins.
        locations: (N, queries, heads, levels, points, 2) x, y in 0..1.
        weights: (N, queries, heads, levels, points).
        im2col_step: Unused.

    Returns:
        (N, queries, heads * C).
    """
    attend: Callable[..., Tensor] = import_module(
        'mmcv.ops.multi_scale_deform_attn'
    ).multi_scale_deformable_attn_pytorch
    moved, places, factors = single(value, locations, weights)
    return attend(moved, shapes, places, factors).to(value.dtype)


def ms_deform_attn_backward(
    value: Tensor,
    shapes: Tensor,
    starts: Tensor,
    locations: Tensor,
    weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_locations: Tensor,
    grad_weights: Tensor,
    im2col_step: int,
) -> None:
    """Fill the three gradients of ``ms_deform_attn_forward``.

    Args:
        value: (N, sum of H * W, heads, C).
        shapes: (levels, 2) H, W.
        starts: Unused.
        locations: (N, queries, heads, levels, points, 2).
        weights: (N, queries, heads, levels, points).
        grad_output: (N, queries, heads * C).
        grad_value: Filled.
        grad_locations: Filled.
        grad_weights: Filled.
        im2col_step: Unused.
    """
    with torch.enable_grad():
        variables = [tensor.detach().requires_grad_() for tensor in single(value, locations, weights)]
        moved, places, factors = variables
        output = ms_deform_attn_forward(moved, shapes, starts, places, factors, im2col_step)
    gradients = torch.autograd.grad(output, variables, grad_output.to(output.dtype))
    for place, gradient in zip((grad_value, grad_locations, grad_weights), gradients, strict=True):
        place.copy_(gradient)


OPERATORS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        deform_conv_forward,
        deform_conv_backward_input,
        deform_conv_backward_parameters,
        modulated_deform_conv_forward,
        modulated_deform_conv_backward,
        ms_deform_attn_forward,
        ms_deform_attn_backward,
    )
}
