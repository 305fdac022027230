"""Reading image files that may come from anyone: one reader for detection and faces."""

from __future__ import annotations

import io
import logging
import os
import stat
import struct

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import shown
from mbv1_backbone.common.folders import SUFFIXES, find_images

__all__ = [
    'FORMATS',
    'SUFFIXES',
    'as_image',
    'find_images',
    'lies_sideways',
    'middle_square',
    'read_file',
    'read_image',
    'scale_deep',
]

FORMATS = ('JPEG', 'PNG', 'BMP', 'GIF', 'PPM', 'TIFF', 'WEBP')
MAX_PIXELS = 100_000_000
MAX_BYTES = 400_000_000  # of a file: more than MAX_PIXELS of RGB without compression

_ORIENTATION = 0x0112  # EXIF tag
_SHORT = 3  # its type
_TURNS = {  # EXIF orientation -> what shows the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DEEP_MODES = ('I;16', 'I;16L', 'I;16B', 'I;16N', 'I', 'F')
_DEPTHS = (8, 10, 12, 14, 16, 24, 31)  # bits that integers are taken to have
_PHOTOMETRIC = 262  # TIFF tag; 0: white is zero
_PNG = b'\x89PNG\r\n\x1a\n'
_PNG_EXTRAS = (b'tEXt', b'zTXt', b'iTXt', b'iCCP')
_LOG = logging.getLogger('mbv1_backbone')
_told: set[str] = set()


def read_image(
    source: str | os.PathLike[str] | bytes,
    size: tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Decode an image file to RGB.

    Grayscale is repeated to three channels, an alpha channel is dropped, animations give their first
    frame, and the EXIF orientation is applied; other EXIF values, text and colour profiles are not read.
    Values of more than 8 bits are scaled by ``scale_deep``.

    Args:
        source: Path, or the file's bytes.
        size: (height, width) that annotations were made for. Where only the stored pixels have it, and
            not the image as its EXIF orientation shows it, the pixels are returned as stored.
        max_pixels: Of an image; up to ``MAX_PIXELS``.

    Returns:
        uint8 array (H, W, 3).

    Raises:
        InputError: If the file is missing, not a regular file, truncated, not one of ``FORMATS``, larger than
            ``MAX_BYTES`` or ``max_pixels``, or its values have no known scale. Nothing else is raised,
            whatever the bytes are.
    """
    name = 'image' if isinstance(source, bytes) else f'image {shown(source)}'
    content = source if isinstance(source, bytes) else read_file(source)
    try:
        try:
            return _decode(content, name, size, max_pixels)
        except InputError:
            raise
        except Exception:  # broken text and profiles of PNG; the pixels do not need them
            if not content.startswith(_PNG):
                raise
            return _decode(_without_extras(content), name, size, max_pixels)
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError(f'{name}: cannot be decoded as any of {", ".join(FORMATS)}') from None
    except Exception as error:  # of Pillow's decoders: OSError, SyntaxError, struct.error, ...: any kind
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise InputError(f'{name}: {reason}') from error


def scale_deep(values: np.ndarray, name: str) -> np.ndarray:
    """Values of more than 8 bits as 0..255; which rule was taken is said once a process, in the log.

    Integers are taken to have the fewest bits of 8, 10, 12, 14, 16, 24 or 31 that hold the picture's
    largest value, and keep the upper eight: a camera's 12 bits in 16 are not black. Floats go from 0 to 1, or
    to what integers of 8 to 16 bits hold.

    Args:
        values: Integers or floats, any shape.
        name: Of the picture, for messages.

    Returns:
        uint8, of the same shape.

    Raises:
        InputError: If a value is negative or not finite, or a float's range is neither of the two.
    """
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if not np.isfinite([low, high]).all():
        raise InputError(f'{name}: holds values that are not finite')
    if low < 0:
        raise InputError(f'{name}: holds negative values (the least is {low:g}), which have no known scale')
    is_float = values.dtype.kind == 'f'
    if is_float and high <= 1:
        _tell(f'floats from 0 to 1 are scaled to 0..255 ({name})', 'unit')
        return np.rint(values * 255.0).astype(np.uint8)
    if is_float and not 16 <= high < 65536:  # up to 16 it may be 0..1 with overshoot, or nearly black
        raise InputError(f'{name}: float values up to {high:g} are neither 0..1 nor those of 8 to 16 bits')
    bits = next(bits for bits in _DEPTHS if high < 2**bits)
    if bits != 16 or is_float:
        _tell(f'values up to {high:g} are read as {bits} bits, 0..{2**bits - 1} ({name})', f'{bits} bits')
    whole = values.astype(np.int32) if is_float else values
    return (whole >> (bits - 8)).astype(np.uint8)


def as_image(image: str | os.PathLike[str] | np.ndarray) -> np.ndarray:
    """A file, read, or an array as it is: RGB uint8 (H, W, 3).

    Raises:
        InputError: If the file cannot be read.
        ValueError: If it is neither a file nor such an array.
    """
    if not isinstance(image, str | os.PathLike | np.ndarray):
        raise ValueError(
            f'an image must be a file or an array, RGB uint8 (H, W, 3), got {type(image).__name__}'
        )
    array = image if isinstance(image, np.ndarray) else read_image(image)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or not array.size:
        raise ValueError(f'images must be RGB uint8 (H, W, 3), got {array.dtype} {array.shape}')
    return array


def middle_square(image: np.ndarray, size: int, crop: float = 1.0) -> np.ndarray:
    """The middle square of an image (H, W, 3) uint8, as classifiers are fed it: (size, size, 3).

    Args:
        image: RGB, uint8 (H, W, 3).
        size: Of the square that is given, in pixels.
        crop: Share of the image's shorter side that the square has, in 0..1.
    """
    square = ImageOps.fit(
        Image.fromarray(image), (size, size), Image.Resampling.BILINEAR, bleed=(1 - crop) / 2
    )
    return np.asarray(square)


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The bytes of an image file; of what is no regular file, or larger than ``MAX_BYTES``, not one is read.

    Raises:
        InputError: If it is one of these, or cannot be read.
    """
    name = f'image {shown(path)}'
    try:
        about = os.stat(path)
        if not stat.S_ISREG(about.st_mode):
            kind = 'a folder' if stat.S_ISDIR(about.st_mode) else 'a pipe, device or socket'
            raise InputError(f'{name}: is {kind}, not a regular file')
        if about.st_size <= MAX_BYTES:
            with open(path, 'rb') as file:
                content = file.read(MAX_BYTES + 1)
            if len(content) <= MAX_BYTES:
                return content
        raise InputError(f'{name}: {about.st_size} bytes, at most {MAX_BYTES} are read')
    except OSError as error:
        raise InputError(f'{name}: {error.strerror or error}') from error
    except (InputError, MemoryError):
        raise
    except ValueError as error:  # a path with a zero byte, or that the file system cannot encode
        raise InputError(f'{name}: {error}') from error


def _decode(content: bytes, name: str, size: tuple[int, int] | None, max_pixels: int) -> np.ndarray:
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        if image.width * image.height > max_pixels:
            raise InputError(f'{name}: {image.width} x {image.height} pixels, at most {max_pixels} are read')
        stored = str(image.tile[0].args) if image.tile else ''  # says the stored depth; load() forgets it
        image.load()
        turn = _turn(image, size)
        if image.mode in _DEEP_MODES:
            rgb = _deep_gray(image, name)
        else:
            rgb = image if image.mode == 'RGB' else image.convert('RGB')  # which copies it, too
            if ';16' in stored or stored == "('RGB', 65535)":  # the latter of PPM
                rgb = _deep_colours(rgb, content, name)
    return np.array(rgb if turn is None else rgb.transpose(turn))


def _turn(image: Image.Image, size: tuple[int, int] | None) -> Image.Transpose | None:
    """What shows the picture upright; None where it is, or its orientation cannot be read."""
    turn = _TURNS.get(_orientation(image) or 1)
    if turn is None or size is None or image.size[::-1] != tuple(size):
        return turn
    sideways = turn in (_TURNS[5], _TURNS[6], _TURNS[7], _TURNS[8])
    return None if sideways and image.width != image.height else turn


def lies_sideways(image: Image.Image) -> bool:
    """Whether a picture's EXIF orientation exchanges width and height."""
    return _orientation(image) in (5, 6, 7, 8)


def _orientation(image: Image.Image) -> int | None:
    """EXIF's orientation, read alone: the other values of the block may be damaged."""
    block = image.info.get('exif')
    if isinstance(block, bytes) and (found := _orientation_of(block.removeprefix(b'Exif\0\0'))):
        return found
    try:
        found = image.getexif().get(_ORIENTATION)  # of TIFF, of XMP, of PNG's texts
    except Exception:  # any kind, as above; viewers show the pixels as they are stored
        return None
    return found if isinstance(found, int) else None


def _orientation_of(block: bytes) -> int | None:
    """The orientation in the first directory of an EXIF block (TIFF 6.0, section 2)."""
    order = {b'II*\0': '<', b'MM\0*': '>'}.get(block[:4])
    if order is None:
        return None
    try:
        (at,) = struct.unpack_from(f'{order}I', block, 4)
        (entries,) = struct.unpack_from(f'{order}H', block, at)
        for entry in range(entries):
            tag, kind, _, short = struct.unpack_from(f'{order}HHIH', block, at + 2 + 12 * entry)
            if tag == _ORIENTATION and kind == _SHORT:
                return short
    except struct.error:  # the block ends before its directory
        return None
    return None


def _deep_gray(image: Image.Image, name: str) -> Image.Image:
    if getattr(image, 'tag_v2', {}).get(_PHOTOMETRIC) == 0:
        raise InputError(f'{name}: a TIFF of more than 8 bits whose white is zero is not read')
    return Image.fromarray(scale_deep(np.asarray(image), name)).convert('RGB')


def _deep_colours(rgb: Image.Image, content: bytes, name: str) -> Image.Image:
    """The picture, of which Pillow keeps the upper byte of 16 bits, from all of them where that is dark."""
    if np.asarray(rgb).max() >= 64:  # uses more than 14 of the 16 bits
        return rgb
    import cv2

    values = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.shape[:2] != rgb.size[::-1]:
        raise InputError(f'{name}: colours of fewer than 15 bits in 16 cannot be read in this format')
    if values.ndim == 2:
        values = values[..., None].repeat(3, axis=2)
    return Image.fromarray(scale_deep(values[..., 2::-1], name))


def _without_extras(content: bytes) -> bytes:
    """A PNG without its texts and colour profile, which may break the reading of whole pixels."""
    kept, at = [_PNG], len(_PNG)
    while at < len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], 'big')
        if content[at + 4 : at + 8] not in _PNG_EXTRAS:
            kept.append(content[at:end])
        at = end
    return b''.join(kept)


def _tell(message: str, rule: str) -> None:
    """Say once a process which rule was taken."""
    if rule not in _told:
        _told.add(rule)
        _LOG.warning(message)
