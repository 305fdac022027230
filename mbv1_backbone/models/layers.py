"""Building blocks of MobileNetV1: channel rounding, TensorFlow padding, conv-BN-activation units."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import convert_conv2d_weight_memory_format
from torch.nn.utils.fusion import fuse_conv_bn_eval
from typing_extensions import override

__all__ = [
    'PADDINGS',
    'Conv2dSame',
    'ConvUnit',
    'Model',
    'SeparableUnit',
    'SteadyBN',
    'build_activation',
    'build_norm',
    'fit_channels',
    'folded',
    'folded_norms',
    'freeze',
    'keep_batch_statistics',
    'make_divisible',
    'same_padding',
    'set_norm_eval',
]

PADDINGS = ('symmetric', 'same')
Model = TypeVar('Model', bound=nn.Module)

_NORMS: dict[str, type[nn.Module]] = {
    'BN': nn.BatchNorm2d,
    'BN2d': nn.BatchNorm2d,
    'SyncBN': nn.SyncBatchNorm,
    'GN': nn.GroupNorm,
}


def make_divisible(channels: float, divisor: int = 8) -> int:
    """Round a channel count to the nearest multiple of ``divisor``, never losing more than 10 %.

    The paper's widths 1, .75, .5 and .25 come out exact, since every layer of the table is a
    multiple of 32; other widths are rounded as in the TensorFlow and timm MobileNets.

    Example:
        >>> make_divisible(32 * 0.75), make_divisible(32 * 0.3)
        (24, 16)
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Zeros before and after one axis so that it gives ``ceil(size / stride)`` outputs.

    TensorFlow's ``SAME``: an odd pixel goes to the end (bottom, right). See
    https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2.

    Args:
        size: Of the axis, in pixels.
        kernel: Size of the kernel on it.
        stride: On it.
        dilation: On it.

    Example:
        >>> same_padding(224, 3, 2), same_padding(19, 3, 2)
        ((0, 1), (1, 1))
    """
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


@MODELS.register_module()
class Conv2dSame(nn.Conv2d):
    """A convolution padded like TensorFlow's ``SAME``, whatever ``padding`` says.

    Registered, so that mmdet's necks take it as ``conv_cfg=dict(type='Conv2dSame')``.
    Input (N, C, H, W), output (N, C', ceil(H / stride), ceil(W / stride)).
    """

    @override
    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        (top, bottom), (left, right) = (
            same_padding(int(size), kernel, stride, dilation)
            for size, kernel, stride, dilation in zip(
                input.shape[-2:], self.kernel_size, self.stride, self.dilation, strict=True
            )
        )
        if top == bottom and left == right:  # no copy where the convolution can pad by itself
            padding = (top, left)
        else:
            input, padding = F.pad(input, (left, right, top, bottom)), (0, 0)
        return F.conv2d(input, weight, bias, self.stride, padding, self.dilation, self.groups)


@MODELS.register_module()
class SteadyBN(nn.BatchNorm2d):
    """Batch norm that uses its running statistics where the batch has a single value a channel.

    SSD's last map is 1 x 1: with one image a batch, or one left over in the last batch of an epoch, there
    is no variance, and PyTorch's batch norm raises.
    """

    @override
    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.shape[1]:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


def fit_channels(weight: Tensor, channels: int) -> Tensor:
    """The weights (C', C, k, k) of a first layer for another number of input channels.

    More channels get them in turn, each shared among its copies; fewer share their sum. So images whose
    channels are all alike give what they gave.

    Example:
        >>> [fit_channels(torch.ones(1, 3, 1, 1), channels).flatten().tolist() for channels in (1, 4)]
        [[3.0], [0.5, 1.0, 1.0, 0.5]]
    """
    given = weight.shape[1]
    if channels < given:
        return weight.sum(1, keepdim=True).repeat(1, channels, 1, 1) / channels
    source = torch.arange(channels, device=weight.device) % given
    return weight[:, source] / torch.bincount(source)[source].view(1, -1, 1, 1)


def build_norm(cfg: dict[str, Any], channels: int) -> nn.Module:
    """Build a normalisation layer from an OpenMMLab ``norm_cfg``.

    ``BN``, ``SyncBN`` and ``GN`` need no mmcv; any other type is looked up in mmengine's
    registry, where mmcv registers the rest.

    Raises:
        ValueError: If the type is unknown.
    """
    options = dict(cfg)
    kind = options.pop('type', None)
    requires_grad = options.pop('requires_grad', True)
    layer = _NORMS.get(kind) or (MODELS.get(kind) if isinstance(kind, str) else None)
    if layer is None:
        raise ValueError(f'norm_cfg type must be one of {", ".join(_NORMS)} or registered, got {kind!r}')
    options.setdefault('eps', 1e-5)
    norm = layer(num_channels=channels, **options) if kind == 'GN' else layer(channels, **options)
    for parameter in norm.parameters():
        parameter.requires_grad = requires_grad
    return norm


def build_activation(cfg: dict[str, Any] | None) -> nn.Module:
    """Build an activation from an OpenMMLab ``act_cfg``: any class of ``torch.nn`` or registered.

    ``None`` gives the identity. ``inplace`` is on where it saves memory in training.

    Raises:
        ValueError: If the type is unknown.
    """
    if cfg is None:
        return nn.Identity()
    options = dict(cfg)
    kind = options.pop('type', None)
    layer = getattr(nn, kind, None) or MODELS.get(kind) if isinstance(kind, str) else None
    if layer is None:
        raise ValueError(f'act_cfg type must be a class of torch.nn or registered, got {kind!r}')
    if kind in ('ReLU', 'LeakyReLU', 'ELU'):  # others keep their input for the backward pass: a copy of it
        options.setdefault('inplace', True)
    return layer(**options)


class ConvUnit(nn.Module):
    """Convolution without bias, normalisation, activation.

    Args:
        in_channels: Channels in.
        out_channels: Channels out.
        kernel_size: Odd kernel size.
        stride: Stride of the convolution.
        groups: Groups of the convolution; ``in_channels`` for a depthwise one.
        padding: ``'symmetric'`` (as PyTorch trains) or ``'same'`` (as TensorFlow trains).
        norm_cfg: Normalisation.
        act_cfg: Activation, None for a linear unit.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        groups: int = 1,
        *,
        padding: str = 'symmetric',
        norm_cfg: dict[str, Any],
        act_cfg: dict[str, Any] | None,
    ) -> None:
        super().__init__()
        conv = Conv2dSame if padding == 'same' and kernel_size > 1 else nn.Conv2d
        self.conv = conv(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding=kernel_size // 2,
            groups=groups,
            bias=False,
        )
        self.bn = build_norm(norm_cfg, out_channels)
        self.act = build_activation(act_cfg)

    @override
    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))


class SeparableUnit(nn.Module):
    """Depthwise 3x3 then pointwise 1x1, each with its own normalisation and activation (paper, 3.1)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, **unit: Any) -> None:
        super().__init__()
        self.depthwise = ConvUnit(in_channels, in_channels, 3, stride, groups=in_channels, **unit)
        self.pointwise = ConvUnit(in_channels, out_channels, 1, **unit)

    @override
    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))


def freeze(module: nn.Module) -> None:
    """Stop a module's learning: no gradients, and batch norm keeps its statistics."""
    module.eval()
    for parameter in module.parameters():
        parameter.requires_grad = False


def set_norm_eval(module: nn.Module) -> None:
    """Put all batch norm layers into evaluation mode: the statistics stay, the weights still learn."""
    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            layer.eval()


def folded(model: Model) -> Model:
    """A copy for inference: batch norms inside the convolutions before them, weights in channels_last.

    Units with ``conv`` and ``bn`` are folded, ours and mmcv's ``ConvModule``; outputs are the same up to
    rounding. On a CPU this saves about a third of MobileNetV1's time.
    """
    model = copy.deepcopy(model).eval()
    for unit in model.modules():
        conv, norm = getattr(unit, 'conv', None), getattr(unit, 'bn', None)
        rounded = conv is not None and 'forward' in vars(conv)  # as in quantisation-aware training: folded
        if (
            isinstance(conv, nn.Conv2d)
            and isinstance(norm, _BatchNorm)
            and norm.track_running_stats
            and not rounded
        ):
            unit.conv, unit.bn = fuse_conv_bn_eval(conv, norm), nn.Identity()
        act: Any = unit.act if isinstance(unit, ConvUnit) else None
        if hasattr(act, 'inplace'):
            act.inplace = True
    return convert_conv2d_weight_memory_format(model, torch.channels_last)


def folded_norms(model: nn.Module) -> dict[str, _BatchNorm]:
    """The batch norms of a model that a file with folded ones has filled, by name.

    They add their bias and do nothing else: all means are 0, all variances one value, all weights one value.
    Of a layer that is new, and not folded, the biases are 0 too; frozen layers are left out.
    """
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.training and _is_folded(module)
    }


def _is_folded(norm: _BatchNorm) -> bool:
    if not norm.affine or not norm.track_running_stats:
        return False
    if norm.get_buffer('running_mean').any() or not norm.get_parameter('bias').any():
        return False
    uniform = (norm.get_buffer('running_var'), norm.get_parameter('weight'))
    return all(torch.equal(values, values[:1].expand_as(values)) for values in uniform)


@contextmanager
def keep_batch_statistics(module: nn.Module) -> Iterator[None]:
    """Normalise by the batch without moving the running statistics (used when recomputing)."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    saved = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = (
            0.0,
            torch.zeros_like(norm.get_buffer('num_batches_tracked')),
        )
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, saved, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
