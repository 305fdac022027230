"""What may be given to a network, one image or several, and what it is fed of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.runtime.sessions import top_left
from mbv1_backbone.runtime.spec import ModelSpec

__all__ = ['ImageLike', 'as_images', 'by_size', 'fit']

ImageLike = str | os.PathLike[str] | np.ndarray


def as_images(images: Any) -> Iterable[Any]:
    """One image as a list of one; several as they are.

    Args:
        images: A path, or an array or tensor of numbers with fewer than four dimensions, is one image.
            Anything else is gone through: lists and generators of images, arrays (N, H, W, 3) or of paths.

    Raises:
        InputError: If it cannot be gone through.

    Example:
        >>> as_images('a.jpg'), as_images(['a.jpg', 'b.jpg'])
        (['a.jpg'], ['a.jpg', 'b.jpg'])
    """
    if isinstance(images, str | os.PathLike):
        return [images]
    ndim, dtype = getattr(images, 'ndim', None), getattr(images, 'dtype', None)
    names = isinstance(dtype, np.dtype) and dtype.kind in 'OSU'
    if ndim is not None and ndim < 4 and not names:
        return [images]
    try:
        if isinstance(images, bytes | Mapping):  # which would be gone through: numbers, keys
            raise TypeError
        iter(images)
    except TypeError:
        raise InputError(f'images are files or arrays, one or several, got {type(images).__name__}') from None
    several: Iterable[Any] = images
    return several


def by_size(images: Sequence[np.ndarray]) -> list[list[int]]:
    """Numbers of images, those of one size together."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, image in enumerate(images):
        groups.setdefault(image.shape, []).append(index)
    return list(groups.values())


def fit(image: np.ndarray, spec: ModelSpec) -> tuple[np.ndarray, tuple[float, float]]:
    """An image in the size of an exported detector's input, and by how much its width and height were scaled.

    An image that keeps its shape lies at the top left, the rest is of the mean colour. Of a detector that
    takes any size, it is only shrunk where it is larger.
    """
    (height, width), (new_h, new_w) = image.shape[:2], spec.size
    if spec.any_size:
        factor = min(new_h / height, new_w / width, 1.0)
        size = (max(1, int(width * factor + 0.5)), max(1, int(height * factor + 0.5)))
        smaller = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if factor < 1 else image
        return np.ascontiguousarray(smaller), (size[0] / width, size[1] / height)
    if not spec.keep_ratio:
        return cv2.resize(image, (new_w, new_h)), (new_w / width, new_h / height)
    factor = min(new_h / height, new_w / width)
    size = (max(1, int(width * factor + 0.5)), max(1, int(height * factor + 0.5)))
    return top_left(cv2.resize(image, size), spec), (size[0] / width, size[1] / height)
