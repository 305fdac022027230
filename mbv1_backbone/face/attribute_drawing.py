"""Pictures of attributes: a photograph with its faces numbered, and beside it what is said of each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

__all__ = ['draw_attributes']

_COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (170, 70, 130), (150, 110, 0), (60, 60, 60))
_SIDE = 900  # pixels of the longer side of a photograph in a picture, at most; small ones grow to a third
_PANEL = 300  # pixels of width for the words


def draw_attributes(
    image: np.ndarray, boxes: Sequence[Sequence[float] | None], words: Sequence[Sequence[str]]
) -> np.ndarray:
    """Draw numbered boxes on a photograph, and the words of each face beside it.

    Args:
        image: RGB uint8 (H, W, 3).
        boxes: x1, y1, x2, y2 in pixels of each face; None where the image is the face.
        words: Of each face.

    Returns:
        RGB uint8, the photograph on the left.
    """
    longer = max(image.shape[:2])
    scale = min(_SIDE, max(longer, _SIDE // 3)) / longer
    width, height = (max(round(side * scale), 1) for side in image.shape[1::-1])
    font = ImageFont.load_default(14)
    line = 18
    lines = [(number, text) for number, parts in enumerate(words) for text in _lines(number, parts)]
    sheet = Image.new('RGB', (width + _PANEL, max(height, line * (len(lines) + 1))), 'white')
    sheet.paste(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC), (0, 0))
    draw = ImageDraw.Draw(sheet)
    for number, box in enumerate(boxes):
        if box is not None:
            colour = _COLOURS[number % len(_COLOURS)]
            left, top, right, bottom = (value * scale for value in box)
            draw.rectangle((left, top, max(left, right), max(top, bottom)), outline=colour, width=3)
            draw.rectangle((left, top, left + 9 * len(str(number + 1)) + 6, top + 18), fill=colour)
            draw.text((left + 4, top + 1), str(number + 1), fill='white', font=font)
    for row, (number, text) in enumerate(lines):
        draw.text((width + 10, line * row + 8), text, fill=_COLOURS[number % len(_COLOURS)], font=font)
    return np.asarray(sheet)


def _lines(number: int, parts: Sequence[str]) -> list[str]:
    """A face's words as lines; the first has its number."""
    first, *rest = parts or ['nothing reaches the threshold']
    return [f'{number + 1}  {first}', *(f'    {text}' for text in rest)]
