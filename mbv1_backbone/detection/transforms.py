"""Data transforms for MMDetection's pipelines."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS

from mbv1_backbone.images import read_image


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Read ``results['img_path']`` with ``read_image``: any depth, channels and EXIF orientation.

    Where the annotations' ``height`` and ``width`` fit the pixels as stored and not as EXIF turns
    them, the boxes were drawn on the stored pixels, and these are used.

    Sets ``img`` (H, W, 3) uint8 in BGR, as mmdet's transforms expect, ``img_shape`` and ``ori_shape``.

    Raises:
        InputError: If the file cannot be read, with its path. Training and evaluation stop there: a
            skipped image would change the figures without a word.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        size = (results['height'], results['width']) if 'height' in results else None
        image = read_image(results['img_path'], size)
        results['img'] = np.ascontiguousarray(image[..., ::-1])
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results
