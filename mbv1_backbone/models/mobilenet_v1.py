"""MobileNetV1 (arXiv:1704.04861): the architecture table and the backbone built from it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.models.layers import (
    PADDINGS,
    ConvUnit,
    SeparableUnit,
    fit_channels,
    folded_norms,
    freeze,
    keep_batch_statistics,
    make_divisible,
    set_norm_eval,
)
from mbv1_backbone.models.pretrained import check_pretrained, check_pretrained_file
from mbv1_backbone.models.recipe import Recipe, built_with


class Row(NamedTuple):
    """One row of the paper's Table 1: output channels at width 1, and stride."""

    channels: int
    stride: int


class Tap(NamedTuple):
    """What one output of the backbone gives: its channels, and input pixels per output pixel."""

    channels: int
    stride: int


# Row number = tap index = the paper's layer number. Row 0 is the full 3x3 convolution, rows
# 1..13 the depthwise-separable blocks. (The paper prints stride 2 for row 13; the 7x7 maps
# before and after it show that it is 1.)
TABLE: tuple[Row, ...] = (
    Row(32, 2),  # 0
    Row(64, 1),  # 1
    Row(128, 2),  # 2
    Row(128, 1),  # 3
    Row(256, 2),  # 4
    Row(256, 1),  # 5
    Row(512, 2),  # 6
    Row(512, 1),  # 7
    Row(512, 1),  # 8
    Row(512, 1),  # 9
    Row(512, 1),  # 10
    Row(512, 1),  # 11
    Row(1024, 2),  # 12
    Row(1024, 1),  # 13
)
LAST_ROW = len(TABLE) - 1

# What Tables 4 and 5 of the paper compare with the network itself.
VARIANTS: dict[str, tuple[int, ...]] = {
    'separable': tuple(range(14)),  # MobileNet
    'full': tuple(range(14)),  # Table 4: full convolutions in place of separable ones
    'shallow': (*range(7), 12, 13),  # Table 5: the five 14x14x512 blocks removed
}


@MODELS.register_module()
class MobileNetV1(BaseModule):
    """MobileNetV1 with multi-scale taps (https://arxiv.org/abs/1704.04861, Table 1).

    Registered in mmengine's root registry: mmdet, mmpretrain, mmseg and mmpose find it as
    ``type='MobileNetV1'`` after ``custom_imports=dict(imports=['mbv1_backbone'])``.

    Rows above the highest tap are not built, so every parameter gets a gradient.

    Args:
        widen_factor: Width multiplier alpha, > 0 (paper, 3.3). 1, .75, .5 and .25 give the paper's
            channels; others are rounded to multiples of 8.
        out_indices: Rows to return, ascending, a subset of 0..13; -1 is row 13, -2 row 12, and so on. The
            last maps of stride 2, 4, 8, 16, 32 are rows 1, 3, 5, 11, 13.
        frozen_stages: Rows 0..frozen_stages are frozen, weights and batch norm's statistics;
            -1 freezes none.
        norm_eval: Keep all batch norm layers in evaluation mode while training.
        norm_cfg: Normalisation.
        act_cfg: Activation: ReLU as in the paper; released weights were trained with ReLU6.
        padding: ``'symmetric'``, or ``'same'`` for weights trained in TensorFlow.
        variant: ``'separable'``, ``'full'`` (Table 4) or ``'shallow'`` (Table 5).
        in_channels: Of the images. Weights of three channels are fitted to another number when they are
            loaded: summed for one channel, shared among copies for more.
        with_cp: Recompute each row in the backward pass, to save memory. Running statistics are
            the same as without.
        init_cfg: mmengine's initialisation; the default is Kaiming normal by fan-in. ``type='Pretrained'``
            takes the URLs and files of ``mbv1_backbone.weights`` and must fill every tensor.

    Attributes:
        taps: Channels and stride of each output.
        built_with: Padding, activation and epsilon, as a recipe says them.
        recipe: What pre-trained weights ask of network and input, after ``init_weights``.

    Raises:
        ValueError: If a value is out of its range; the message has the rule and the value.

    Example:
        >>> net = MobileNetV1(out_indices=(11, 13))
        >>> tuple(tuple(y.shape) for y in net(torch.zeros(1, 3, 320, 320)))
        ((1, 512, 20, 20), (1, 1024, 10, 10))
        >>> net.taps
        (Tap(channels=512, stride=16), Tap(channels=1024, stride=32))
    """

    def __init__(
        self,
        widen_factor: float = 1.0,
        out_indices: Sequence[int] = (13,),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        norm_cfg: dict[str, Any] | None = None,
        act_cfg: dict[str, Any] | None = None,
        padding: str = 'symmetric',
        variant: str = 'separable',
        with_cp: bool = False,
        in_channels: int = 3,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        _check_dicts(norm_cfg=norm_cfg, act_cfg=act_cfg, init_cfg=init_cfg)
        super().__init__(init_cfg if init_cfg is not None else _default_init())
        self.out_indices = _check_out_indices(out_indices, variant)
        if not (isinstance(widen_factor, int | float) and widen_factor > 0):
            raise ValueError(f'widen_factor must be > 0, got {widen_factor!r}')
        if frozen_stages not in range(-1, LAST_ROW + 1):
            raise ValueError(f'frozen_stages must lie in -1..{LAST_ROW}, got {frozen_stages}')
        if not isinstance(in_channels, int) or isinstance(in_channels, bool) or in_channels < 1:
            raise ValueError(f'in_channels must be a whole number of 1 or more, got {in_channels!r}')
        if padding not in PADDINGS:
            raise ValueError(f'padding must be one of {", ".join(PADDINGS)}, got {padding!r}')
        self.recipe: Recipe | None = None
        self._may_be_folded = False
        self.widen_factor = widen_factor
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        self.in_channels = in_channels

        unit: dict[str, Any] = dict(
            padding=padding,
            norm_cfg=norm_cfg or dict(type='BN'),
            act_cfg=act_cfg or dict(type='ReLU'),
        )
        self.built_with = built_with(**unit)
        block = partial(ConvUnit, kernel_size=3) if variant == 'full' else SeparableUnit
        self.rows = nn.ModuleDict()
        taps: dict[int, Tap] = {}
        channels, stride = in_channels, 1
        for index in (i for i in VARIANTS[variant] if i <= self.out_indices[-1]):
            row = TABLE[index]
            width, stride = make_divisible(row.channels * widen_factor), stride * row.stride
            if index == 0:
                self.rows['0'] = ConvUnit(channels, width, 3, row.stride, **unit)
            else:
                self.rows[str(index)] = block(channels, width, stride=row.stride, **unit)
            channels, taps[index] = width, Tap(width, stride)
        self.taps: tuple[Tap, ...] = tuple(taps[index] for index in self.out_indices)
        self.rows['0'].register_load_state_dict_pre_hook(_fit_first_layer)
        self._freeze_stages()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map images (N, in_channels, H, W) to maps (N, C, H / stride, W / stride), rounded up, one a tap."""
        if x.device.type == 'cpu':  # about twice as fast there, forward and backward
            x = x.contiguous(memory_format=torch.channels_last)
        if self._may_be_folded and self.training:
            self._check_norms()
        outputs = []
        for index, row in self.rows.items():
            x = self._recomputed(row, x) if self.with_cp and x.requires_grad else row(x)
            if int(index) in self.out_indices:
                outputs.append(x.contiguous())  # heads may call ``view``
        return tuple(outputs)

    def init_weights(self) -> None:
        """Initialise as ``init_cfg`` says; pre-trained weights must fill the whole backbone."""
        check_pretrained_file(self)
        super().init_weights()
        self.recipe = check_pretrained(self)
        self._may_be_folded = True

    def train(self, mode: bool = True) -> MobileNetV1:
        """Set the mode, but leave frozen rows (and, with ``norm_eval``, batch norm) in evaluation."""
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            set_norm_eval(self)
        return self

    def _check_norms(self) -> None:
        """Refuse to train with the batch's statistics where pre-trained weights have none of their own."""
        if folded_norms(self):
            raise InputError(
                'the pre-trained weights have folded batch norms, which training would destroy: train with '
                "this project's command, or add dict(type='RecalibrateHook') to custom_hooks, or set "
                'norm_eval=True'
            )
        self._may_be_folded = False

    def _freeze_stages(self) -> None:
        for index, row in self.rows.items():
            if int(index) <= self.frozen_stages:
                freeze(row)

    @staticmethod
    def _recomputed(row: nn.Module, x: Tensor) -> Tensor:
        return checkpoint(
            row,
            x,
            use_reentrant=False,
            context_fn=lambda: (nullcontext(), keep_batch_statistics(row)),
        )


def _fit_first_layer(row: Any, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Fit weights for images of three channels to a network for another number, before they are loaded."""
    name = f'{prefix}conv.weight'
    channels, given = row.conv.weight.shape[1], state.get(name)
    if channels != 3 and given is not None and given.ndim == 4 and given.shape[1] == 3:
        state[name] = fit_channels(given, channels)


def _default_init() -> list[dict[str, Any]]:
    # By fan-in: fan-out counts a depthwise filter's outputs as if it had no groups, and starts
    # it some twenty times too small.
    return [
        dict(type='Kaiming', layer='Conv2d', mode='fan_in'),
        dict(type='Constant', layer=['_BatchNorm', 'GroupNorm'], val=1),
    ]


def _check_dicts(**configs: Any) -> None:
    """Layers and initialisation are described by dicts; the latter also by a list of them."""
    for name, value in configs.items():
        parts = value if name == 'init_cfg' and isinstance(value, list) else [value or {}]
        if not all(isinstance(part, dict) for part in parts):
            raise ValueError(f'{name} must be a dict, got {value!r}')


def _check_out_indices(out_indices: Sequence[int], variant: str) -> tuple[int, ...]:
    if variant not in VARIANTS:
        raise ValueError(f'variant must be one of {", ".join(VARIANTS)}, got {variant!r}')
    if not isinstance(out_indices, Sequence) or isinstance(out_indices, str):
        raise ValueError(f'out_indices must be a tuple of rows, got {out_indices!r}')
    given, count = tuple(out_indices), len(TABLE)
    if not given or any(isinstance(i, bool) or i not in range(-count, count) for i in given):
        raise ValueError(
            f'out_indices must lie in {-count}..{LAST_ROW} and name at least one row, got {given}'
        )
    indices = tuple(int(i) % count for i in given)
    if list(indices) != sorted(set(indices)):
        raise ValueError(f'out_indices must be ascending without repeats, got {given}')
    if missing := [i for i in indices if i not in VARIANTS[variant]]:
        raise ValueError(
            f'out_indices must be rows of the {variant} variant {VARIANTS[variant]}, got {missing}'
        )
    return indices


__all__ = ['TABLE', 'VARIANTS', 'MobileNetV1', 'Row', 'Tap']
