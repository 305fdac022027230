"""Sizes of picture files, read from their headers."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from PIL import Image

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import shown
from mbv1_backbone.common.images import FORMATS, lies_sideways, read_image

__all__ = ['PictureSize', 'Size', 'picture_size']

Size = tuple[int, int]  # width and height in pixels


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
        raise InputError(f'image {shown(path)}: no such file')
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            turned = (width, height) != stated and lies_sideways(image)
    except Exception:  # of Pillow's parsers: any kind; read_image knows more ways, and what to say
        height, width = read_image(path).shape[:2]
        turned = False
    return PictureSize((width, height), (height, width) if turned else (width, height))
