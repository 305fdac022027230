"""The second stage of Faster R-CNN on MobileNetV1: the last blocks, run on every region."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from mbv1_backbone.models.layers import PADDINGS, SeparableUnit, make_divisible, set_norm_eval
from mbv1_backbone.models.mobilenet_v1 import TABLE
from mbv1_backbone.models.pretrained import check_pretrained, check_pretrained_file
from mbv1_backbone.models.recipe import Recipe, built_with

__all__ = ['MobileNetV1SharedHead']


@MODELS.register_module()
class MobileNetV1SharedHead(BaseModule):
    """Rows 12 and 13 of MobileNetV1 as mmdet's ``shared_head`` (paper, Table 13, Faster R-CNN).

    Regions (K, C, 14, 14) of row 11 become (K, C', 7, 7). Parameters bear the backbone's names (``rows.12``,
    ``rows.13``), so that both start from one file of pre-trained weights.

    Args:
        widen_factor: The backbone's.
        norm_eval: Keep batch norm in evaluation mode while training, as is the custom for region heads.
        norm_cfg: The backbone's normalisation.
        act_cfg: The backbone's activation.
        padding: The backbone's padding.
        init_cfg: mmengine's initialisation; the default is Kaiming normal by fan-in. ``type='Pretrained'``
            takes the backbone's file.

    Attributes:
        out_channels: Channels of the output, for the box head's ``in_channels``.
        built_with: Padding, activation and epsilon, as a recipe says them.
        recipe: What pre-trained weights ask of network and input, after ``init_weights``.

    Raises:
        ValueError: If a value is out of its range.
    """

    def __init__(
        self,
        widen_factor: float = 1.0,
        norm_eval: bool = True,
        norm_cfg: dict[str, Any] | None = None,
        act_cfg: dict[str, Any] | None = None,
        padding: str = 'symmetric',
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(
            init_cfg if init_cfg is not None else dict(type='Kaiming', layer='Conv2d', mode='fan_in')
        )
        if not widen_factor > 0:
            raise ValueError(f'widen_factor must be > 0, got {widen_factor}')
        if padding not in PADDINGS:
            raise ValueError(f'padding must be one of {", ".join(PADDINGS)}, got {padding!r}')
        self.norm_eval = norm_eval
        self.recipe: Recipe | None = None
        unit: dict[str, Any] = dict(
            padding=padding, norm_cfg=norm_cfg or dict(type='BN'), act_cfg=act_cfg or dict(type='ReLU')
        )
        self.built_with = built_with(**unit)
        channels = make_divisible(TABLE[11].channels * widen_factor)
        self.rows = nn.ModuleDict()
        for index in (12, 13):
            width = make_divisible(TABLE[index].channels * widen_factor)
            self.rows[str(index)] = SeparableUnit(channels, width, TABLE[index].stride, **unit)
            channels = width
        self.out_channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """Map regions (K, C, H, W) to (K, out_channels, H / 2, W / 2)."""
        if x.device.type == 'cpu':  # a quarter faster there, forward and backward
            x = x.contiguous(memory_format=torch.channels_last)
        for row in self.rows.values():
            x = row(x)
        return x

    def init_weights(self) -> None:
        """Initialise as ``init_cfg`` says; pre-trained weights must fill both rows."""
        check_pretrained_file(self)
        super().init_weights()
        self.recipe = check_pretrained(self)

    def train(self, mode: bool = True) -> MobileNetV1SharedHead:
        """Set the mode; with ``norm_eval``, batch norm stays in evaluation."""
        super().train(mode)
        if mode and self.norm_eval:
            set_norm_eval(self)
        return self
