"""Reading image files that may come from anyone: one reader for detection and faces."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from glob import glob, has_magic
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mbv1_backbone.common.errors import InputError

FORMATS = ('JPEG', 'PNG', 'BMP', 'GIF', 'PPM', 'TIFF', 'WEBP')
SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.gif', '.ppm', '.pgm')
MAX_PIXELS = 100_000_000

_ORIENTATION = 0x0112  # EXIF tag
_WIDE_MODES = ('I;16', 'I;16L', 'I;16B', 'I;16N', 'I', 'F')


def read_image(source: str | os.PathLike[str] | bytes, size: tuple[int, int] | None = None) -> np.ndarray:
    """Decode an image file to RGB.

    Greyscale is repeated to three channels, an alpha channel is dropped, 16-bit values keep their
    upper byte, animations give their first frame, and the EXIF orientation is applied.

    Args:
        source: Path, or the file's bytes.
        size: (height, width) that annotations were made for. Where only the stored pixels have it, and
            not the image as its EXIF orientation shows it, the pixels are returned as stored.

    Returns:
        uint8 array (H, W, 3).

    Raises:
        InputError: If the file is missing, truncated, not one of ``FORMATS``, or larger than ``MAX_PIXELS``.
    """
    name = 'image' if isinstance(source, bytes) else f'image {os.fspath(source)}'
    try:
        stream = io.BytesIO(source if isinstance(source, bytes) else Path(source).read_bytes())
        with Image.open(stream, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InputError(
                    f'{name}: {image.width} x {image.height} pixels, at most {MAX_PIXELS} are read'
                )
            image.load()
            return _to_rgb(_oriented(image, size))
    except UnidentifiedImageError:
        raise InputError(f'{name}: cannot be decoded as any of {", ".join(FORMATS)}') from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f'{name}: {reason}') from error


def as_image(image: str | os.PathLike[str] | np.ndarray) -> np.ndarray:
    """A file, read, or an array as it is: RGB uint8 (H, W, 3).

    Raises:
        InputError: If the file cannot be read.
        ValueError: If the array is none.
    """
    array = image if isinstance(image, np.ndarray) else read_image(image)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise ValueError(f'images must be RGB uint8 (H, W, 3), got {array.dtype} {array.shape}')
    return array


def middle_square(image: np.ndarray, size: int) -> np.ndarray:
    """The middle square of an image (H, W, 3) uint8, as classifiers are fed it: (size, size, 3)."""
    square = ImageOps.fit(Image.fromarray(image), (size, size), Image.Resampling.BILINEAR)
    return np.asarray(square)


def find_images(patterns: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """The image files that paths, folders (searched through) and globs name, sorted within each.

    Raises:
        InputError: If a pattern names nothing.
    """
    found: list[Path] = []
    for name in patterns:
        pattern, path = os.fspath(name), Path(name)
        if path.is_dir():
            matches = sorted(p for p in path.rglob('*') if p.suffix.lower() in SUFFIXES and p.is_file())
        elif has_magic(pattern) and not path.exists():
            matches = sorted(Path(p) for p in glob(pattern, recursive=True))
        else:
            matches = [path] if path.is_file() else []
        if not matches:
            raise InputError(f'no image at {pattern}: give files, folders or globs of {", ".join(SUFFIXES)}')
        found += matches
    return list(dict.fromkeys(found))


def _oriented(image: Image.Image, size: tuple[int, int] | None) -> Image.Image:
    if image.getexif().get(_ORIENTATION, 1) == 1:
        return image
    turned = ImageOps.exif_transpose(image)
    if size is not None and turned.size[::-1] != tuple(size) and image.size[::-1] == tuple(size):
        return image
    return turned


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode in _WIDE_MODES:
        values = np.asarray(image)
        values = np.clip(values, 0, 65535).astype(np.uint16) >> 8
        return np.repeat(values.astype(np.uint8)[..., None], 3, axis=2)
    return np.array(image.convert('RGB'))
