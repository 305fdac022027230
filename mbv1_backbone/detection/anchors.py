"""The anchors of the released SSD MobileNetV1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from mmengine.registry import TASK_UTILS
from torch import Tensor

__all__ = ['MobileSSDAnchorGenerator']


@TASK_UTILS.register_module()
class MobileSSDAnchorGenerator(AnchorGenerator):
    """SSD anchors as TensorFlow's object detection API makes them: 1917 boxes at 300 x 300.

    Level k of K has the scale ``s_k = min_scale + (max_scale - min_scale) k / (K - 1)``, as a
    share of the input, and ``s_K = 1``. The first level has three boxes a place, (``smallest``,
    ratio 1), (s_0, 2), (s_0, 1/2); the others one of each ratio at s_k, then one of ratio 1 at
    ``sqrt(s_k s_k+1)``. A ratio is width over height. Centres lie at ``(i + .5) / n`` of the
    input for a map of n places. See
    https://github.com/tensorflow/models/blob/master/research/object_detection/anchor_generators/multiple_grid_anchor_generator.py
    and section 2.2 of https://arxiv.org/abs/1512.02325.

    Args:
        input_size: Side of the square input, or (height, width), in pixels.
        num_levels: Feature maps, the first of stride 16, each next one half of the last.
        min_scale: Scale of the first level, in (0, 1).
        max_scale: Scale of the last level, in (min_scale, 1].
        ratios: Width over height of the boxes at s_k on every level but the first.
        smallest: Scale of the first level's square, in (0, 1]; .1 in the released networks.

    Raises:
        ValueError: If the scales are not ascending in (0, 1], or the smallest lies outside.
    """

    def __init__(
        self,
        input_size: int | Sequence[int] = 300,
        num_levels: int = 6,
        min_scale: float = 0.2,
        max_scale: float = 0.95,
        ratios: Sequence[float] = (1.0, 2.0, 1 / 2, 3.0, 1 / 3),
        smallest: float = 0.1,
    ) -> None:
        if not 0 < min_scale < max_scale <= 1:
            raise ValueError(
                f'scales must satisfy 0 < min_scale < max_scale <= 1, got {min_scale}, {max_scale}'
            )
        if not 0 < smallest <= 1:
            raise ValueError(f'smallest must lie in (0, 1], got {smallest}')
        height, width = (input_size, input_size) if isinstance(input_size, int) else input_size
        self.input_size = (height, width)
        self.map_sizes = [(_cells(height, k), _cells(width, k)) for k in range(num_levels)]
        self.level_boxes = _level_boxes(num_levels, min_scale, max_scale, ratios, smallest)
        super().__init__(
            strides=[(width / w, height / h) for h, w in self.map_sizes],
            ratios=list(ratios),
            scales=[1.0],
        )

    def gen_base_anchors(self) -> list[Tensor]:
        """One (boxes a place, 4) tensor a level: x1, y1, x2, y2 of the first place, in pixels."""
        height, width = self.input_size
        anchors = []
        for boxes, (stride_w, stride_h) in zip(self.level_boxes, self.strides, strict=True):
            sizes = torch.tensor(boxes, dtype=torch.float64) * torch.tensor([width, height])
            centre = torch.tensor([stride_w / 2, stride_h / 2], dtype=torch.float64)
            anchors.append(torch.cat([centre - sizes / 2, centre + sizes / 2], dim=1).float())
        return anchors

    def grid_priors(
        self,
        featmap_sizes: Sequence[tuple[int, int]],
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = 'cpu',
    ) -> list[Tensor]:
        """All anchors, one (H W boxes, 4) tensor a level, in pixels of the input.

        Args:
            featmap_sizes: Height and width of the map of each level.
            dtype: Of the anchors.
            device: Of the anchors.

        Raises:
            ValueError: If the maps are not those of ``input_size``.
        """
        sizes = [(int(h), int(w)) for h, w in featmap_sizes]
        if sizes != self.map_sizes:
            raise ValueError(
                f'anchors for input {self.input_size} need maps of {self.map_sizes}, got {sizes}: '
                'input_size must be the size that the pipeline resizes to'
            )
        return super().grid_priors(featmap_sizes, dtype=dtype, device=device)


def _cells(side: int, level: int) -> int:
    """Places along one side: the input at stride 16, halved ``level`` times, always rounded up."""
    cells = math.ceil(side / 16)
    for _ in range(level):
        cells = math.ceil(cells / 2)
    return cells


def _level_boxes(
    num_levels: int, min_scale: float, max_scale: float, ratios: Sequence[float], smallest: float
) -> list[list[tuple[float, float]]]:
    """(width, height) of every box of each level, as shares of the input."""
    steps = max(num_levels - 1, 1)
    scales = [min_scale + (max_scale - min_scale) * k / steps for k in range(num_levels)] + [1.0]

    def box(scale: float, ratio: float) -> tuple[float, float]:
        return scale * math.sqrt(ratio), scale / math.sqrt(ratio)

    levels = [[box(smallest, 1.0), box(scales[0], 2.0), box(scales[0], 0.5)]]
    for scale, following in pairwise(scales[1:]):
        levels.append([box(scale, ratio) for ratio in ratios])
        levels[-1].append(box(math.sqrt(scale * following), 1.0))
    return levels
