"""Data transforms for MMDetection's pipelines."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.datasets.transforms import MinIoURandomCrop, Resize
from mmdet.structures.bbox import autocast_box_type, get_box_tensor
from mmengine.registry import TRANSFORMS
from typing_extensions import override

from mbv1_backbone.common.images import read_image

__all__ = ['ATTEMPTS', 'BoundedResize', 'FastMinIoURandomCrop', 'LoadImage', 'crops_that_hold', 'draw_crops']

ATTEMPTS = 50  # crops that mmdet tries before it draws another overlap


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Read ``results['img_path']`` with ``read_image``: any depth, channels and EXIF orientation.

    Where the annotations' ``height`` and ``width`` fit the pixels as stored and not as EXIF turns
    them, the boxes were drawn on the stored pixels, and these are used.

    Sets ``img`` (H, W, 3) uint8 in BGR, as mmdet's transforms expect, ``img_shape`` and ``ori_shape``.

    Args:
        cache_mb: Memory, in each data-loading process, in which decoded images are kept until it is full, so
            that a small data set is decoded once and not every epoch. Needs ``persistent_workers=True``.

    Raises:
        InputError: If the file cannot be read, with its path. Training and evaluation stop there: a
            skipped image would change the figures without a word.
    """

    def __init__(self, cache_mb: float = 0) -> None:
        self._left = int(cache_mb * 1e6)
        self._kept: dict[str, np.ndarray] = {}

    @override
    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        path = str(results['img_path'])
        image = self._kept.get(path)
        if image is None:
            size = (results['height'], results['width']) if 'height' in results else None
            image = np.ascontiguousarray(read_image(path, size)[..., ::-1])
            if image.nbytes <= self._left:
                self._left -= image.nbytes
                self._kept[path] = image
        results['img'] = image.copy() if path in self._kept else image  # later steps write into it
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results


@TRANSFORMS.register_module()
class BoundedResize(Resize):
    """Shrink images that are larger than a square, with their shape kept; others stay as they are.

    For detectors that take images of any size: exported, they are fed in the same way.

    Args:
        scale: Side of the square, in pixels.
    """

    def __init__(self, scale: int) -> None:
        super().__init__(scale=(scale, scale), keep_ratio=True, interpolation='area')

    @override
    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        height, width = results['img'].shape[:2]
        if max(height, width) > self.scale[0]:
            return super().transform(results)
        results.update(scale=(width, height), scale_factor=(1.0, 1.0), keep_ratio=True)
        return results


@TRANSFORMS.register_module()
class FastMinIoURandomCrop(MinIoURandomCrop):
    """mmdet's ``MinIoURandomCrop`` (SSD's random crop, arXiv:1512.02325, 2.2), with all attempts at once.

    Crops have the same distribution: the first of ``ATTEMPTS`` random ones that holds is taken. mmdet's draws
    and checks them one after the other, which was the dearest step of the pipeline.

    Args:
        min_ious: One of these, or 0, or no crop at all is drawn: every box overlaps the crop by so much.
        min_crop_size: Least share of the image's width and height.
        bbox_clip_border: Clip boxes to the crop.
    """

    @override
    @autocast_box_type()
    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        height, width = results['img'].shape[:2]
        corners = get_box_tensor(results['gt_bboxes']).numpy()
        while (least := self._random_mode()) != 1:
            crops = draw_crops(height, width, self.min_crop_size)
            holds = np.flatnonzero(crops_that_hold(crops, corners, least))
            if len(holds):
                return self._cropped(results, crops[holds[0]])
        return results

    def _cropped(self, results: dict[str, Any], crop: np.ndarray) -> dict[str, Any]:
        left, top, right, bottom = crop.tolist()
        boxes = results['gt_bboxes']
        if len(boxes):
            inside = _centres_inside(crop[None], get_box_tensor(boxes).numpy())[0]
            boxes = boxes[inside]
            boxes.translate_([-left, -top])
            if self.bbox_clip_border:
                boxes.clip_([bottom - top, right - left])
            results['gt_bboxes'] = boxes
            for key in ('gt_ignore_flags', 'gt_bboxes_labels'):
                if results.get(key) is not None:
                    results[key] = results[key][inside]
            if results.get('gt_masks') is not None:
                results['gt_masks'] = results['gt_masks'][inside.nonzero()[0]].crop(crop)
        results['img'] = results['img'][top:bottom, left:right]
        results['img_shape'] = results['img'].shape[:2]
        if results.get('gt_seg_map') is not None:
            results['gt_seg_map'] = results['gt_seg_map'][top:bottom, left:right]
        return results


def draw_crops(height: int, width: int, least_share: float) -> np.ndarray:
    """Random crops, int (ATTEMPTS, 4): x1, y1, x2, y2 in pixels.

    Args:
        height: Of the image, in pixels.
        width: Of the image, in pixels.
        least_share: The shortest side of a crop, as a share of the image's, 0..1.
    """
    shares = np.random.uniform(least_share, 1, (ATTEMPTS, 2))
    size = shares * [width, height]
    start = np.random.uniform(0, 1, (ATTEMPTS, 2)) * ([width, height] - size)
    return np.concatenate([start, start + size], 1).astype(np.int64)


def crops_that_hold(crops: np.ndarray, boxes: np.ndarray, least: float) -> np.ndarray:
    """Which crops (M, 4) have sides of at most 1 : 2, every box's IoU ``least`` or more, and a box's centre.

    Without boxes (N, 4) the sides decide.

    Args:
        crops: int (M, 4): x1, y1, x2, y2 in pixels.
        boxes: (N, 4): x1, y1, x2, y2 in pixels.
        least: Of the IoU of a crop with every box, 0..1.

    Returns:
        bool (M,).
    """
    sides = (crops[:, 2:] - crops[:, :2]).astype(np.float64)
    holds = (sides > 0).all(1)
    ratio = np.divide(sides[:, 1], sides[:, 0], out=np.zeros(len(crops)), where=holds)
    holds &= (ratio >= 0.5) & (ratio <= 2)
    if not len(boxes):
        return holds
    start = np.maximum(crops[:, None, :2], boxes[None, :, :2])
    end = np.minimum(crops[:, None, 2:], boxes[None, :, 2:])
    common = (end - start).clip(min=0).prod(2)
    area = (boxes[:, 2:] - boxes[:, :2]).clip(min=0).prod(1)
    union = np.maximum(sides.prod(1)[:, None] + area[None] - common, 1e-6)
    overlaps = common / union
    return holds & (overlaps.min(1) >= least) & _centres_inside(crops, boxes).any(1)


def _centres_inside(crops: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Whether box n's centre lies in crop m: (M, N)."""
    centres = ((boxes[:, :2] + boxes[:, 2:]) / 2)[None]
    return ((centres > crops[:, None, :2]) & (centres < crops[:, None, 2:])).all(2)
