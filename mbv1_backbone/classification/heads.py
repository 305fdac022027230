"""A classifier's last layer with dropout before it."""

from __future__ import annotations

from typing import Any

from mmengine.registry import MODELS
from mmpretrain.models.heads import LinearClsHead
from torch import Tensor, nn
from typing_extensions import override

__all__ = ['DropoutLinearClsHead']


@MODELS.register_module()
class DropoutLinearClsHead(LinearClsHead):
    """MMPretrain's ``LinearClsHead`` on features of which some are set to 0 while training.

    Args:
        dropout: Share of them, 0 <= dropout < 1.
        **options: Of ``LinearClsHead``: ``num_classes``, ``in_channels``, ``loss`` and others.

    Raises:
        ValueError: If the share is out of its range.
    """

    def __init__(self, dropout: float, **options: Any) -> None:
        if not 0 <= dropout < 1:
            raise ValueError(f'dropout must lie in 0..1, less than 1, got {dropout}')
        super().__init__(**options)
        self.dropout = nn.Dropout(dropout)

    @override
    def pre_logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Features of the last stage, (N, channels)."""
        return self.dropout(super().pre_logits(feats))
