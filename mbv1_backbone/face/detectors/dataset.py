"""Photographs with faces for MMDetection's training, landmarks included."""

from __future__ import annotations

import os
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.datasets import BaseDetDataset
from mmdet.datasets.transforms import PackDetInputs
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.registry import DATASETS, TRANSFORMS
from typing_extensions import override

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.face.detectors.wider import read_wider

__all__ = ['CropPhoto', 'FlipPhoto', 'LoadFaceBoxes', 'PackPhoto', 'WiderFaces']

_SHARES = (0.3, 0.45, 0.6, 0.8, 1.0)  # of the shorter side, of a crop
_ATTEMPTS = 250
_MIRRORED = (1, 0, 2, 4, 3)  # landmarks of a mirrored face


@DATASETS.register_module()
class WiderFaces(BaseDetDataset):
    """Images of a list that ``read_wider`` reads; arguments are those of mmdet's data sets.

    ``data_root``, ``ann_file`` (the list) and ``data_prefix.img`` (the folder of images). In training, images
    without a face that counts are left out.

    Raises:
        InputError: If the list cannot be read, or no image is left.
    """

    METAINFO = dict(classes=('face',), palette=[(0, 200, 0)])

    @override
    def load_data_list(self) -> list[dict[str, Any]]:
        folder = self.data_prefix['img']
        found = [
            dict(
                img_path=os.path.join(folder, image.file),
                img_id=os.path.splitext(image.file)[0],
                faces=image,
                instances=[],
            )
            for image in read_wider(self.ann_file)
            if self.test_mode or not image.invalid.all()
        ]
        if not found:
            raise InputError(f'{self.ann_file}: no image has a face that counts')
        return found


@TRANSFORMS.register_module()
class LoadFaceBoxes(BaseTransform):
    """Set ``gt_bboxes``, ``gt_bboxes_labels``, ``gt_ignore_flags`` and ``gt_landmarks`` of ``WiderFaces``."""

    @override
    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        faces = results['faces']
        results['gt_bboxes'] = HorizontalBoxes(faces.boxes.copy(), dtype=None)
        results['gt_bboxes_labels'] = np.zeros(len(faces.boxes), np.int64)
        results['gt_ignore_flags'] = faces.invalid.copy()
        results['gt_landmarks'] = faces.landmarks.copy()
        return results


@TRANSFORMS.register_module()
class CropPhoto(BaseTransform):
    """A random square of a photograph that holds a face, resized: RetinaFace's (arXiv:1905.00641, 4.2).

    The side is .3 to 1 of the shorter one. Faces whose centre lies in the square stay, if they are large
    enough there; a square without any is drawn anew, and after 250 attempts the whole photograph is taken,
    padded to a square.

    Args:
        size: Side of the result, in pixels.
        min_side: Least side of a face in the result, in pixels.
        pad: Value of pixels outside the photograph, of B, G, R.
    """

    def __init__(
        self, size: int = 640, min_side: float = 8.0, pad: tuple[float, ...] = (104, 117, 123)
    ) -> None:
        self.size, self.min_side, self.pad = size, min_side, tuple(pad)

    @override
    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        boxes = results['gt_bboxes'].tensor.numpy()
        x, y, side, kept = self._square(results['img'].shape[:2], boxes, results['gt_ignore_flags'])
        image = results['img'][y : y + side, x : x + side]
        below, right = side - image.shape[0], side - image.shape[1]
        if below or right:
            image = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT, value=self.pad)
        how = cv2.INTER_AREA if side > self.size else cv2.INTER_LINEAR
        results['img'] = cv2.resize(image, (self.size, self.size), interpolation=how)
        factor = self.size / side
        moved = (boxes[kept] - np.array([x, y, x, y])) * factor
        results['gt_bboxes'] = HorizontalBoxes(moved.clip(0, self.size).astype(np.float32), dtype=None)
        results['gt_landmarks'] = ((results['gt_landmarks'][kept] - (x, y)) * factor).astype(np.float32)
        for key in ('gt_bboxes_labels', 'gt_ignore_flags'):
            results[key] = results[key][kept]
        results['img_shape'] = results['img'].shape[:2]
        return results

    def _square(
        self, shape: tuple[int, int], boxes: np.ndarray, ignored: np.ndarray
    ) -> tuple[int, int, int, np.ndarray]:
        """Left, top and side of a square, and which faces it keeps."""
        height, width = shape
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        sides = (boxes[:, 2:] - boxes[:, :2]).min(1)
        for _ in range(_ATTEMPTS):
            side = max(1, int(np.random.choice(_SHARES) * min(height, width)))
            x, y = np.random.randint(width - side + 1), np.random.randint(height - side + 1)
            inside = ((centres > (x, y)) & (centres < (x + side, y + side))).all(1)
            kept = inside & (sides * self.size / side >= self.min_side)
            if (kept & ~ignored).any():
                return int(x), int(y), side, kept
        return 0, 0, max(height, width), np.ones(len(boxes), bool)


@TRANSFORMS.register_module()
class FlipPhoto(BaseTransform):
    """Mirror a photograph, its boxes and landmarks.

    Args:
        prob: Of one photograph.
    """

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = prob

    @override
    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        if np.random.random() < self.prob:
            width = results['img'].shape[1]
            results['img'] = np.ascontiguousarray(results['img'][:, ::-1])
            results['gt_bboxes'].flip_(results['img'].shape[:2])
            marks = results['gt_landmarks'][:, _MIRRORED]
            results['gt_landmarks'] = np.stack([width - marks[..., 0], marks[..., 1]], -1)
        return results


@TRANSFORMS.register_module()
class PackPhoto(PackDetInputs):
    """mmdet's packing, with ``landmarks`` among the ground truth."""

    mapping_table = {**PackDetInputs.mapping_table, 'gt_landmarks': 'landmarks'}
