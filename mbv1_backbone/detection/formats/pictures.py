"""Which of a picture's sizes, as stored or as shown, boxes were drawn on."""

from __future__ import annotations

from mbv1_backbone.common.picture_sizes import PictureSize, Size, picture_size

__all__ = ['PictureSize', 'Size', 'drawn_on', 'fits', 'picture_size', 'same_shape']

_SLACK = 1.5  # pixels by which boxes of a fitting size may stick out: tools count from 0 or from 1


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
