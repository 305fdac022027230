"""What may be given to a network: one image, or several."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import InputError

__all__ = ['ImageLike', 'as_images']

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
