"""A picture of an image with the classes that a network sees on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mbv1_backbone.common.files import shown

__all__ = ['draw_predictions']

_WIDTH = 320  # of a picture, at least
_TALLEST = 1280  # height up to which a small image is enlarged
_LINE = 22  # height of a line of text
_MARGIN = 6
_INK, _BAR = (30, 30, 30), (170, 205, 240)


def draw_predictions(
    image: np.ndarray, names: Sequence[str], scores: Sequence[float] | None = None
) -> np.ndarray:
    """The image with a line a class under it: a bar as long as its probability, its name, the number.

    Args:
        image: RGB uint8 (H, W, 3); a small one is enlarged, a narrow one stands on a white sheet.
        names: Of the classes, the likeliest first; long ones are cut, those with line breaks escaped.
        scores: Their probabilities in 0..1, as many; without them there are names alone.

    Returns:
        A new RGB uint8 image.

    Example:
        >>> draw_predictions(np.zeros((40, 80, 3), np.uint8), ['cat', 'dog'], [0.9, 0.1]).shape
        (216, 320, 3)
    """
    picture = Image.fromarray(image)
    scale = min(_WIDTH / picture.width, _TALLEST / picture.height)
    if scale > 1:
        width, height = (max(round(side * scale), 1) for side in picture.size)
        picture = picture.resize((width, height))
    height = picture.height + _LINE * len(names) + 2 * _MARGIN
    sheet = Image.new('RGB', (max(picture.width, _WIDTH), height), 'white')
    sheet.paste(picture)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    room = sheet.width - 2 * _MARGIN
    numbers: Sequence[float | None] = [None] * len(names) if scores is None else scores
    for index, (name, score) in enumerate(zip(names, numbers, strict=True)):
        top, left = picture.height + _MARGIN + index * _LINE, float(_MARGIN + room)
        if score is not None:
            draw.rectangle((_MARGIN, top + 1, _MARGIN + max(score, 0) * room, top + _LINE - 3), fill=_BAR)
            number = f'{score:.3f}'
            left -= draw.textlength(number, font) + 3
            draw.text((left, top + 1), number, _INK, font)
        draw.text((_MARGIN + 3, top + 1), _cut(shown(name), draw, font, left - 3 * _MARGIN), _INK, font)
    return np.asarray(sheet)


def _cut(
    name: str, draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: float
) -> str:
    """As much of a name as fits."""
    if draw.textlength(name, font) <= room:
        return name
    while name and draw.textlength(f'{name}...', font) > room:
        name = name[:-1]
    return f'{name}...'
