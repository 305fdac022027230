"""Boxes of Stanford Dogs' annotations, on the pixels that they were drawn on."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from mbv1_backbone.common.errors import InputError, one_line
from mbv1_backbone.common.files import shown
from mbv1_backbone.common.picture_sizes import PictureSize, Size
from mbv1_backbone.common.tables import parse_number

__all__ = ['DogBox', 'dog_boxes']

_SHAPE = 0.02  # by which width / height of two sizes of one photograph may differ: sides are rounded
Sides = tuple[int, int, int, int]


class DogBox(NamedTuple):
    """A box on a photograph.

    Attributes:
        sides: Left, top, right and bottom in pixels.
        size: Width and height of the photograph as the box is meant: as stored, or as EXIF shows it.
        scaled: Whether the annotation was made of the photograph in another size.
    """

    sides: Sides
    size: Size
    scaled: bool

    @property
    def beyond(self) -> bool:
        """Whether it reaches beyond the photograph."""
        return self.sides[2] > self.size[0] or self.sides[3] > self.size[1]


def dog_boxes(path: Path, photo: PictureSize) -> list[DogBox]:
    """The boxes of an annotation.

    Args:
        path: Of it, with ``.xml`` or without.
        photo: Size of the photograph.

    Raises:
        InputError: If there is none, it cannot be read, has no box, a box is empty or outside of the
            photograph, or the size that it states has another shape than the photograph.
    """
    path = path if path.is_file() else path.with_suffix('.xml')
    if not path.is_file():
        raise InputError(f'{shown(path.with_suffix(""))}: no such annotation')
    found, stated = _read(path)
    size = _meant(path, stated, photo)
    scale = (1.0, 1.0) if stated is None else (size[0] / stated[0], size[1] / stated[1])
    boxes = []
    for left, top, right, bottom in found:
        if not (0 <= left < right and 0 <= top < bottom):
            raise InputError(f'{shown(path)}: box {left}, {top}, {right}, {bottom} is empty or negative')
        x, y = round(left * scale[0]), round(top * scale[1])
        sides = (x, y, max(round(right * scale[0]), x + 1), max(round(bottom * scale[1]), y + 1))
        if x >= size[0] or y >= size[1]:
            raise InputError(f'{shown(path)}: a box lies outside of its {size[0]} x {size[1]} photograph')
        boxes.append(DogBox(sides, size, scale != (1.0, 1.0)))
    return boxes


def _read(path: Path) -> tuple[list[Sides], Size | None]:
    """Boxes as they stand, and the size that the annotation states; None where it states none."""
    try:
        tree = ElementTree.parse(path)
        found = [
            tuple(int(parse_number(box.findtext(side, ''))) for side in ('xmin', 'ymin', 'xmax', 'ymax'))
            for box in tree.iterfind('object/bndbox')
        ]
        sizes = [tree.findtext(f'size/{side}') for side in ('width', 'height')]
        width, height = (int(parse_number(size)) if size else 0 for size in sizes)
    except (ElementTree.ParseError, ValueError, OverflowError, OSError) as error:
        raise InputError(f'{shown(path)}: not a readable annotation: {one_line(error)}') from error
    if not found:
        raise InputError(f'{shown(path)}: has no object with a box')
    boxes: list[Sides] = [(left, top, right, bottom) for left, top, right, bottom in found]
    return boxes, (width, height) if width > 0 and height > 0 else None


def _meant(path: Path, stated: Size | None, photo: PictureSize) -> Size:
    """The size of the photograph, as shown or as stored, that has the shape which the annotation states."""
    if stated is None or stated in photo.candidates:
        return stated or photo.shown
    shape = stated[0] / stated[1]
    for size in photo.candidates:
        if abs(size[0] / size[1] / shape - 1) <= _SHAPE:
            return size
    raise InputError(
        f'{shown(path)}: is of a photograph of {stated[0]} x {stated[1]}, and this one is of '
        f'{photo.shown[0]} x {photo.shown[1]}, another shape'
    )
