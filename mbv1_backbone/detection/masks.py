"""Outlines of objects in an image: kept small, drawn, and in COCO's form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from mbv1_backbone.common.errors import NotInstalledError

__all__ = ['THRESHOLD', 'Masks', 'paste']

THRESHOLD = 0.5  # of a pixel's probability, from which it is of the object


@dataclass(frozen=True)
class Masks:
    """Which pixels of an image are of each of N objects; of each the part around it is kept alone.

    ``masks[n]`` is bool (H, W), ``np.asarray(masks)`` bool (N, H, W), which is large of a large image.

    Attributes:
        size: Height and width of the image, in pixels.
        parts: bool (h, w) of each object.
        corners: Top and left of each part in the image, in pixels.
    """

    size: tuple[int, int]
    parts: tuple[np.ndarray, ...]
    corners: tuple[tuple[int, int], ...]

    @classmethod
    def of_arrays(cls, masks: np.ndarray) -> Masks:
        """Of whole masks, bool or 0 and 1, (N, H, W)."""
        parts, corners = [], []
        for mask in np.asarray(masks).astype(bool):
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            top, left = (int(places[0]) if len(places) else 0 for places in (rows, columns))
            bottom, right = (int(places[-1]) + 1 if len(places) else 0 for places in (rows, columns))
            parts.append(mask[top:bottom, left:right].copy())
            corners.append((top, left))
        return cls((int(masks.shape[1]), int(masks.shape[2])), tuple(parts), tuple(corners))

    @classmethod
    def of_boxes(cls, soft: np.ndarray, boxes: np.ndarray, size: tuple[int, int]) -> Masks:
        """Of probabilities on a grid over each box, as Mask R-CNN predicts them; see ``paste``.

        Args:
            soft: (N, M, M), 0..1.
            boxes: (N, 4): x1, y1, x2, y2 in pixels of the image.
            size: Height and width of the image, in pixels.
        """
        pasted = [paste(grid, box, size) for grid, box in zip(soft, boxes, strict=True)]
        return cls(size, tuple(part for part, _ in pasted), tuple(corner for _, corner in pasted))

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, place: int) -> np.ndarray:
        whole = np.zeros(self.size, bool)
        part, (top, left) = self.parts[place], self.corners[place]
        whole[top : top + part.shape[0], left : left + part.shape[1]] = part
        return whole

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = np.zeros((len(self), *self.size), bool)
        for place in range(len(self)):
            whole[place] = self[place]
        return whole if dtype is None else whole.astype(dtype)

    def chosen(self, which: np.ndarray) -> Masks:
        """Those that are chosen: bool (N,), or their numbers."""
        places = np.arange(len(self))[which].tolist()
        return Masks(self.size, tuple(self.parts[p] for p in places), tuple(self.corners[p] for p in places))

    def rles(self) -> list[dict[str, Any]]:
        """COCO's run lengths: ``size`` (height, width) and ``counts`` as text.

        Raises:
            NotInstalledError: If pycocotools is not installed.
        """
        try:
            from pycocotools.mask import encode
        except ImportError as error:
            raise NotInstalledError(
                "COCO's form of masks needs pycocotools: pip install pycocotools"
            ) from error
        found = [encode(np.asfortranarray(self[place], np.uint8)) for place in range(len(self))]
        return [dict(size=[*map(int, rle['size'])], counts=rle['counts'].decode()) for rle in found]

    def drawn(self, image: np.ndarray, colours: Sequence[tuple[int, int, int]]) -> np.ndarray:
        """A copy of the image, RGB uint8 (H, W, 3), with each object tinted in its colour.

        Args:
            image: Of the masks' size.
            colours: N, RGB in 0..255.
        """
        tinted = image.copy()
        for part, (top, left), colour in zip(self.parts, self.corners, colours, strict=True):
            window = tinted[top : top + part.shape[0], left : left + part.shape[1]]
            window[part] = (window[part] * 0.5 + np.array(colour) * 0.5).astype(np.uint8)
        return tinted


def paste(soft: np.ndarray, box: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int]]:
    """One object's pixels from its probabilities on a grid over its box, interpolated as mmdet does it.

    mmdet's ``_do_paste_mask``: bilinear between the centres of the grid's cells, 0 outside of the grid.

    Args:
        soft: (M, M), 0..1.
        box: x1, y1, x2, y2 in pixels of the image.
        size: Height and width of the image, in pixels.

    Returns:
        bool (h, w), the pixels that the box touches, and their top and left in the image.
    """
    x1, y1, x2, y2 = (float(value) for value in box)
    rows, down = _weights(y1, y2, size[0], soft.shape[0])
    columns, right = _weights(x1, x2, size[1], soft.shape[1])
    return cast(np.ndarray, down @ soft @ right.T >= THRESHOLD), (rows, columns)


def _weights(start: float, end: float, side: int, cells: int) -> tuple[int, np.ndarray]:
    """The first pixel that an interval touches, and each pixel's weights of the cells: (pixels, cells)."""
    first, last = max(int(np.floor(start)), 0), min(int(np.ceil(end)), side)
    centres = np.arange(first, max(first, last)) + 0.5
    places = (centres - start) / max(end - start, 1e-6) * cells - 0.5
    return first, np.maximum(1 - np.abs(places[:, None] - np.arange(cells)), 0).astype(np.float32)
