"""RetinaFace's neck: a feature pyramid, and SSH's context modules on each of its levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from mbv1_backbone.models.layers import ConvUnit

__all__ = ['ContextModule', 'RetinaFaceNeck']


class ContextModule(nn.Module):
    """SSH's context module (https://arxiv.org/abs/1708.03979, 3.3): views of 3, 5 and 7 pixels side by side.

    The larger ones are 3x3 convolutions behind each other. Half of the channels come from the first, a
    quarter from each of the others.

    Args:
        channels: In and out; a multiple of 4.
        norm_cfg: Normalisation.
        act_cfg: Activation within the branches; behind them is a ReLU.

    Raises:
        ValueError: If the channels are no multiple of 4.
    """

    def __init__(self, channels: int, norm_cfg: dict[str, Any], act_cfg: dict[str, Any]) -> None:
        super().__init__()
        if channels % 4:
            raise ValueError(f'channels must be a multiple of 4, got {channels}')
        half, quarter = channels // 2, channels // 4
        hidden: dict[str, Any] = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        last: dict[str, Any] = dict(norm_cfg=norm_cfg, act_cfg=None)
        self.view3 = ConvUnit(channels, half, 3, **last)
        self.view5_1 = ConvUnit(channels, quarter, 3, **hidden)
        self.view5_2 = ConvUnit(quarter, quarter, 3, **last)
        self.view7_2 = ConvUnit(quarter, quarter, 3, **hidden)
        self.view7_3 = ConvUnit(quarter, quarter, 3, **last)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        shared = self.view5_1(x)
        views = [self.view3(x), self.view5_2(shared), self.view7_3(self.view7_2(shared))]
        return F.relu(torch.cat(views, 1))


@MODELS.register_module()
class RetinaFaceNeck(BaseModule):
    """Feature pyramid and context modules of RetinaFace (https://arxiv.org/abs/1905.00641, 3.2).

    As in the released network on MobileNetV1 (https://github.com/biubug6/Pytorch_Retinaface): 1x1 laterals,
    the coarser level enlarged and added, a 3x3 convolution behind each sum, then a context module a level.

    Args:
        in_channels: Of each tap of the backbone, the finest first.
        out_channels: Of each level, a multiple of 4.
        norm_cfg: Normalisation.
        act_cfg: Activation.
        init_cfg: mmengine's initialisation.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int = 64,
        norm_cfg: dict[str, Any] | None = None,
        act_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        unit: dict[str, Any] = dict(
            norm_cfg=norm_cfg or dict(type='BN'),
            act_cfg=act_cfg or dict(type='LeakyReLU', negative_slope=0.1),
        )
        self.in_channels, self.out_channels = tuple(in_channels), out_channels
        self.laterals = nn.ModuleList(ConvUnit(channels, out_channels, 1, **unit) for channels in in_channels)
        self.merges = nn.ModuleList(
            ConvUnit(out_channels, out_channels, 3, **unit) for _ in self.in_channels[1:]
        )
        self.contexts = nn.ModuleList(ContextModule(out_channels, **unit) for _ in in_channels)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Map the taps, the finest first, to a level (N, out_channels, H, W) each."""
        levels = [lateral(x) for lateral, x in zip(self.laterals, inputs, strict=True)]
        for index in range(len(levels) - 2, -1, -1):
            coarser = F.interpolate(levels[index + 1], size=levels[index].shape[-2:], mode='nearest')
            levels[index] = self.merges[index](levels[index] + coarser)
        return tuple(context(level) for context, level in zip(self.contexts, levels, strict=True))
