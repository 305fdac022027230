"""Data transforms for MMPretrain's pipelines: photographs as the rest of this project reads and cuts them."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS
from typing_extensions import override

from mbv1_backbone.common.images import middle_square, read_image

__all__ = ['LoadPhoto', 'MiddleSquare']


@TRANSFORMS.register_module()
class LoadPhoto(BaseTransform):
    """Read ``results['img_path']`` with ``read_image``: any depth, channels and EXIF orientation.

    Sets ``img`` (H, W, 3) uint8 in BGR, as MMPretrain's transforms expect, ``img_shape`` and ``ori_shape``.

    Raises:
        InputError: If the file cannot be read, with its path. Training and evaluation stop there: a
            skipped image would change the figures without a word.
    """

    @override
    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        results['img'] = np.ascontiguousarray(read_image(results['img_path'])[..., ::-1])
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        return results


@TRANSFORMS.register_module()
class MiddleSquare(BaseTransform):
    """Cut ``img`` to what exported classifiers and ``load`` see of it: the same pixels in all of them.

    Args:
        size: Of the square that is given, in pixels.
        crop: Share of the image's shorter side that the square has.

    Raises:
        ValueError: If the size is not positive, or the share does not lie in 0..1, more than 0.
    """

    def __init__(self, size: int, crop: float = 1.0) -> None:
        if size < 1 or not 0 < crop <= 1:
            raise ValueError(f'size must be 1 or more and crop in 0..1, more than 0, got {size} and {crop}')
        self.size, self.crop = size, crop

    @override
    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        results['img'] = middle_square(results['img'], self.size, self.crop).copy()  # may be written to
        results['img_shape'] = results['img'].shape[:2]
        return results
