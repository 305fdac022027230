"""Layers of PyTorch as operators of a plan, with batch norm folded into the convolutions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.export.plans.plan import Plan
from mbv1_backbone.models.layers import Conv2dSame, SeparableUnit, same_padding

__all__ = ['OTHER_FORMATS', 'add_backbone', 'add_convolution', 'add_layers', 'add_linear']

OTHER_FORMATS = 'export it to onnx or openvino'
_FUSED = {nn.Identity: 0, nn.ReLU: 1, nn.ReLU6: 3}  # ActivationFunctionType
_SAME, _VALID = 0, 1  # Padding


class Affine(NamedTuple):
    """A convolution's or a linear layer's weight (out, ...) and bias (out,), with names of both."""

    weight: Tensor
    bias: Tensor
    names: tuple[str, str]


def add_backbone(plan: Plan, x: str, backbone: Any, prefix: str = 'backbone.') -> list[str]:
    """Add the rows of a ``MobileNetV1``.

    Args:
        plan: To add to.
        x: Name of the normalised images.
        backbone: The network.
        prefix: Of its tensors' names.

    Returns:
        Names of its taps.
    """
    taps = []
    for index, row in backbone.rows.items():
        x = add_layers(plan, x, row, f'{prefix}rows.{index}')
        if int(index) in backbone.out_indices:
            taps.append(x)
    return taps


def add_layers(plan: Plan, x: str, module: Any, name: str) -> str:
    """Add a module made of convolutions, ours or mmcv's, and give its output's name.

    Args:
        plan: To add to.
        x: Name of the input.
        module: The module.
        name: Of the module: tensors are named by it, as PyTorch names them.

    Raises:
        InputError: If something in it is no convolution, batch norm or activation that plans have.
    """
    if isinstance(module, nn.Sequential):
        return _in_turn(plan, x, ((child, f'{name}.{key}') for key, child in module.named_children()))
    if isinstance(module, SeparableUnit) or hasattr(module, 'depthwise_conv'):  # ours, mmcv's
        children = module.named_children()
        return _in_turn(plan, x, ((child, f'{name}.{key}') for key, child in children))
    if isinstance(module, nn.Conv2d):
        return add_convolution(plan, x, module, name)
    if isinstance(getattr(module, 'conv', None), nn.Conv2d):
        key = getattr(module, 'norm_name', None) or 'bn'  # mmcv's name of it, ours
        activation = getattr(module, 'act', None) or getattr(module, 'activate', None)
        if not getattr(module, 'with_activation', True):
            activation = None
        return add_convolution(
            plan, x, module.conv, f'{name}.conv', getattr(module, key, None), f'{name}.{key}', activation
        )
    raise InputError(
        f'{name}: {plan.format} files of this project hold no {type(module).__name__}; {OTHER_FORMATS}'
    )


def _in_turn(plan: Plan, x: str, modules: Iterable[tuple[Any, str]]) -> str:
    for module, name in modules:
        x = add_layers(plan, x, module, name)
    return x


def add_convolution(
    plan: Plan,
    x: str,
    conv: nn.Conv2d,
    name: str,
    norm: nn.Module | None = None,
    norm_name: str = '',
    activation: nn.Module | None = None,
) -> str:
    """Add a convolution with what follows it, and give its output's name.

    Args:
        plan: To add to.
        x: Name of the input, (1, H, W, channels).
        conv: The convolution.
        name: Of the convolution.
        norm: Batch norm after it.
        norm_name: Of the batch norm.
        activation: After both.

    Raises:
        InputError: If plans have no such layer.
    """
    depthwise = conv.groups == conv.in_channels == conv.out_channels and conv.groups > 1
    if (conv.groups > 1 and not depthwise) or set(conv.dilation) != {1} or conv.padding_mode != 'zeros':
        raise InputError(
            f'{name}: {plan.format} files of this project hold no grouped or dilated convolutions, and pad '
            f'with zeros alone; {OTHER_FORMATS}'
        )
    affine = _folded(plan, conv, name, norm, norm_name)
    x, padding, size = _padded(plan, x, conv, name)
    order = (1, 2, 3, 0) if depthwise else (0, 2, 3, 1)
    options = dict(strideH=conv.stride[0], strideW=conv.stride[1], padding=padding)
    if depthwise:
        options['depthMultiplier'] = 1
    kind = 'DEPTHWISE_CONV_2D' if depthwise else 'CONV_2D'
    return _add_affine(plan, kind, x, affine, order, (1, *size, conv.out_channels), activation, options)


def add_linear(
    plan: Plan, x: str, linear: nn.Linear, name: str, norm: nn.Module | None = None, norm_name: str = ''
) -> str:
    """Add a linear layer, as a convolution, whose weights int8 scales by channel; gives (1, 1, 1, out).

    Args:
        plan: To add to.
        x: Name of the input, (1, 1, 1, in).
        linear: The layer.
        name: Of the layer.
        norm: Batch norm after it.
        norm_name: Of the batch norm.
    """
    affine = _folded(plan, linear, name, norm, norm_name)
    affine = affine._replace(weight=affine.weight[:, :, None, None])
    options = dict(strideH=1, strideW=1, padding=_SAME)
    return _add_affine(plan, 'CONV_2D', x, affine, (0, 2, 3, 1), (1, 1, 1, len(affine.bias)), None, options)


def _add_affine(
    plan: Plan,
    kind: str,
    x: str,
    affine: Affine,
    order: tuple[int, ...],
    shape: tuple[int, ...],
    activation: nn.Module | None,
    options: dict[str, int],
) -> str:
    fused = _FUSED.get(type(activation), 0) if activation is not None else 0
    weight, bias = affine.names
    inputs = (
        x,
        plan.constant(weight, affine.weight.float().permute(order).contiguous().numpy()),
        plan.constant(bias, affine.bias.float().numpy()),
    )
    name = weight.removesuffix('.weight')
    options = dict(options, fusedActivationFunction=fused)
    y = plan.add(kind, inputs, f'{name}/output', shape, **options)
    if isinstance(activation, nn.LeakyReLU):
        return plan.add('LEAKY_RELU', [y], f'{name}/activation', alpha=float(activation.negative_slope))
    if activation is not None and type(activation) not in _FUSED:
        raise InputError(
            f'{name}: {plan.format} files of this project hold ReLU, ReLU6 and LeakyReLU, not '
            f'{type(activation).__name__}; {OTHER_FORMATS}'
        )
    return y


def _folded(
    plan: Plan, layer: nn.Conv2d | nn.Linear, name: str, norm: nn.Module | None, norm_name: str
) -> Affine:
    """A layer's weight and bias with the batch norm after it inside, computed in 64 bits.

    Raises:
        InputError: If what follows it is another norm, which cannot be folded.
    """
    weight = layer.weight.detach().double()
    bias = (
        torch.zeros(len(weight), dtype=torch.float64) if layer.bias is None else layer.bias.detach().double()
    )
    if norm is None or isinstance(norm, nn.Identity):
        return Affine(weight, bias, (f'{name}.weight', f'{name}.bias'))
    if not isinstance(norm, _BatchNorm) or norm.running_mean is None or norm.running_var is None:
        raise InputError(
            f'{norm_name}: {plan.format} files hold batch norms with statistics, not {type(norm).__name__}; '
            f'{OTHER_FORMATS}'
        )
    factor = (norm.running_var.double() + norm.eps).rsqrt()
    shift = -norm.running_mean.double() * factor
    if norm.affine:
        gain = norm.weight.detach().double()
        factor, shift = factor * gain, shift * gain + norm.bias.detach().double()
    plan.norms[norm_name] = float(norm.eps)
    scaled = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
    return Affine(scaled, bias * factor + shift, (f'{name}.weight', f'{norm_name}.bias'))


def _padded(plan: Plan, x: str, conv: nn.Conv2d, name: str) -> tuple[str, int, tuple[int, int]]:
    """The input, padded where the operator does not do it; the operator's padding; height and width after."""
    sides, kernel, stride = plan.values[x].shape[1:3], conv.kernel_size, conv.stride
    same = [same_padding(*each) for each in zip(sides, kernel, stride, strict=True)]
    size = (-(-sides[0] // stride[0]), -(-sides[1] // stride[1]))
    if isinstance(conv, Conv2dSame):
        return x, _SAME, size
    if isinstance(conv.padding, str):
        raise InputError(f'{name}: padding must be a number, got {conv.padding!r}; {OTHER_FORMATS}')
    borders = [(int(side), int(side)) for side in conv.padding]
    if borders == same:
        return x, _SAME, size
    if any(map(any, borders)):
        amounts = plan.constant(f'{name}/borders', np.array([(0, 0), *borders, (0, 0)], np.int32))
        sides = tuple(side + sum(border) for side, border in zip(sides, borders, strict=True))
        x = plan.add('PAD', [x, amounts], f'{name}/padded', (1, *sides, plan.values[x].shape[3]))
    height, width = ((side - k) // s + 1 for side, k, s in zip(sides, kernel, stride, strict=True))
    return x, _VALID, (height, width)
