"""Sizes of picture files, read from their headers, and which of them boxes were drawn on."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from PIL import Image

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.images import FORMATS, lies_sideways, read_image

__all__ = ['PictureSize', 'Size', 'drawn_on', 'fits', 'picture_size', 'same_shape']

Size = tuple[int, int]  # width and height in pixels

_SLACK = 1.5  # pixels by which boxes of a fitting size may stick out: tools count from 0 or from 1


class PictureSize(NamedTuple):
    """Width and height in pixels of a picture's stored pixels, and as its EXIF orientation shows it."""

    stored: Size
    shown: Size

    @property
    def candidates(self) -> tuple[Size, ...]:
        """The sizes that boxes may have been drawn on, the likelier first."""
        return (self.shown,) if self.shown == self.stored else (self.shown, self.stored)


def picture_size(path: Path, stated: Size | None = None) -> PictureSize:
    """The size of a picture file.

    Args:
        path: Picture.
        stated: Where the stored pixels have this size, EXIF is not read: it may lie at the end of a PNG.

    Raises:
        InputError: If there is no such file, or it is no picture.
    """
    if not path.is_file():
        raise InputError(f'image {path}: no such file')
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            turned = (width, height) != stated and lies_sideways(image)
    except Exception:  # of Pillow's parsers: any kind; read_image knows more ways, and what to say
        height, width = read_image(path).shape[:2]
        turned = False
    return PictureSize((width, height), (height, width) if turned else (width, height))


def fits(reach: tuple[float, float], size: Size) -> bool:
    """Whether boxes that reach to this x and y lie in a picture of that size."""
    return reach[0] <= size[0] + _SLACK and reach[1] <= size[1] + _SLACK


def drawn_on(stated: Size | None, picture: PictureSize, reach: tuple[float, float]) -> Size | None:
    """The size of the picture, as shown or as stored, that its boxes belong to.

    Args:
        stated: What the annotation says; None where it does not.
        picture: What the file says.
        reach: Greatest x and y of the boxes, in pixels of the annotation.

    Returns:
        The stated size where it is one of the picture's; else the first of the picture's that the boxes fit
        into, unless they fit into the stated one just as well: then None, it cannot be known.
    """
    if stated in picture.candidates:
        return stated
    fitting = [size for size in picture.candidates if fits(reach, size)]
    if stated is None:
        return (fitting or picture.candidates)[0]
    return fitting[0] if fitting and not fits(reach, stated) else None


def same_shape(stated: Size, picture: PictureSize) -> Size | None:
    """The picture's size that is the stated one enlarged or reduced, to a pixel; None where neither is."""
    for width, height in picture.candidates:
        near_height = abs(stated[1] * width / stated[0] - height) <= 1
        near_width = abs(stated[0] * height / stated[1] - width) <= 1
        if near_height or near_width:
            return width, height
    return None
