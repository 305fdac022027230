"""Maps of the world, or of a part of it: outlines of the countries, cells, and places with their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from mbv1_backbone.classification.outlines import outlines
from mbv1_backbone.classification.s2_cells import cell_outline

__all__ = ['TRUTH', 'Mark', 'View', 'draw_map', 'shades_of', 'view_around']

WIDTH = 960  # of a map, pixels
_TALLEST = 1.0  # height for a width of 1
_SEA, _LAND, _BORDER = (221, 233, 242), (245, 243, 236), (176, 172, 160)
_EDGE, _CELL = (150, 60, 30), (235, 110, 40)
TRUTH = (20, 110, 60)
_MARK = (190, 30, 30)
_DRAWN = 2  # drawn at this multiple of its size, then reduced: smooth lines
_MARGIN = 0.25  # of a view, to each side
_LEAST = 2.0  # degrees that a view spans, at least
_SMALL = 5.0  # pixels
_LINE = 17  # pixels: height of a caption
_POLE = 89.9999  # degrees: where longitudes mean nothing


@dataclass(frozen=True)
class View:
    """The part of the world that a map shows, in degrees; longitudes may go beyond 180."""

    south: float = -60.0
    north: float = 85.0
    west: float = -180.0
    east: float = 180.0

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the map in pixels; in the middle of a part of the world, angles are true."""
        middle = np.cos(np.radians((self.south + self.north) / 2)) if self.east - self.west < 120 else 1.0
        height = WIDTH * (self.north - self.south) / ((self.east - self.west) * middle)
        return WIDTH, round(min(height, WIDTH * _TALLEST))

    def pixels(self, places: np.ndarray, scale: int = 1) -> np.ndarray:
        """Places in degrees of latitude and longitude, (N, 2), as x and y on the map."""
        width, height = self.size
        x = (places[:, 1] - self.west) / (self.east - self.west) * width
        y = (self.north - places[:, 0]) / (self.north - self.south) * height
        return np.stack([x, y], 1) * scale


@dataclass(frozen=True)
class Mark:
    """A place on a map: a dot with a caption beside it."""

    place: tuple[float, float]
    caption: str = ''
    colour: tuple[int, int, int] = _MARK


def view_around(places: np.ndarray, cells: Sequence[int] = ()) -> View:
    """What a map must show so that these places are on it, with a margin; the world where they lie apart.

    Args:
        places: Degrees of latitude and longitude, (N, 2), at least one.
        cells: S2's numbers of cells that must be on it, too, as a whole.
    """
    places = np.concatenate([places, *map(cell_outline, cells)])
    longitudes = np.sort(places[:, 1] % 360)
    gaps = np.diff(longitudes, append=longitudes[0] + 360)
    west = longitudes[(int(gaps.argmax()) + 1) % len(longitudes)]
    west, wide = (west + 180) % 360 - 180, 360 - float(gaps.max())
    south, north = float(places[:, 0].min()), float(places[:, 0].max())
    if wide > 150 or north - south > 100:
        world = View()
        return View(
            -90.0 if south < world.south else world.south, 90.0 if north > world.north else world.north
        )
    shrink = float(np.cos(np.radians((south + north) / 2)))
    half = max(wide * shrink, north - south, _LEAST) * (0.5 + _MARGIN)
    east_half = min(half / max(shrink, 0.2), 180)
    lat, lon = np.clip((south + north) / 2, half - 90, 90 - half), west + wide / 2
    return View(lat - half, lat + half, lon - east_half, lon + east_half)


def draw_map(
    view: View | None = None,
    cells: Sequence[int] = (),
    shades: Sequence[float] = (),
    marks: Sequence[Mark] = (),
    title: str = '',
    inset: np.ndarray | None = None,
) -> np.ndarray:
    """Draw a map in the plate carrée projection.

    Args:
        view: What it shows; None for the world.
        cells: S2's numbers of cells, drawn with their outlines.
        shades: Of the cells, 0 (clear) to 1.
        marks: Places, drawn last to first.
        title: A line above it.
        inset: A photograph for the lower left corner, RGB uint8 (H, W, 3).

    Returns:
        RGB uint8 (H, W, 3).
    """
    view = view or View()
    width, height = view.size
    picture = Image.new('RGB', (width * _DRAWN, height * _DRAWN), _SEA)
    draw = ImageDraw.Draw(picture, 'RGBA')
    lines = [ring[:, ::-1] for ring in outlines()]
    for ring in lines:
        _draw_everywhere(draw, view, ring, fill=_LAND, outline=_BORDER)
    _draw_cells(draw, view, cells, shades)
    small = picture.resize((width, height), Image.Resampling.LANCZOS)
    if inset is not None:
        corner = _contained(Image.fromarray(inset), (width // 5, height // 3))
        framed = ImageOps.expand(corner, 2, 'white')
        small.paste(framed, (8, height - framed.height - 8))
    _draw_marks(small, view, marks)
    if not title:
        return np.asarray(small)
    sheet = Image.new('RGB', (width, height + 26), 'white')
    sheet.paste(small, (0, 26))
    ImageDraw.Draw(sheet).text((6, 4), title, (30, 30, 30), ImageFont.load_default(15))
    return np.asarray(sheet)


def _contained(image: Image.Image, room: tuple[int, int]) -> Image.Image:
    """An image in the largest size that has its shape and fits; one of few pixels' width keeps one."""
    scale = min(room[0] / image.width, room[1] / image.height)
    return image.resize((max(round(image.width * scale), 1), max(round(image.height * scale), 1)))


def shades_of(photos: np.ndarray) -> list[float]:
    """How strongly cells are coloured by their photographs: by the logarithm, the most at 1."""
    return (np.log1p(photos) / np.log1p(photos.max())).tolist()


def _draw_cells(draw: ImageDraw.ImageDraw, view: View, cells: Sequence[int], shades: Sequence[float]) -> None:
    """Outlines of cells, the smallest last; those of a few pixels are shown as squares."""
    rings = [_unwrapped(cell_outline(cell)) for cell in cells]
    shaded = zip(rings, shades or [0.0] * len(rings), strict=True)
    for ring, shade in sorted(shaded, key=lambda item: -float(np.ptp(item[0], axis=0).max())):
        fill = (*_CELL, round(200 * min(max(shade, 0.0), 1.0)))
        low, high = ring.min(0), ring.max(0)
        small = np.abs(np.subtract(*view.pixels(np.stack([low, high])))).max() < _SMALL
        if small:
            x, y = view.pixels((low[None] + high) / 2, _DRAWN)[0].tolist()
            half = _SMALL * _DRAWN / 2
            draw.rectangle((x - half, y - half, x + half, y + half), fill, (*_EDGE, 220))
        else:
            _draw_everywhere(draw, view, ring, fill=fill, outline=(*_EDGE, 150))


def _draw_everywhere(draw: ImageDraw.ImageDraw, view: View, ring: np.ndarray, **style: Any) -> None:
    """Draw a closed line as often as its longitudes, turn upon turn, come into view."""
    for turn in (-360, 0, 360):
        places = ring + np.array([0, turn])
        outside = (
            places[:, 1].max() < view.west
            or places[:, 1].min() > view.east
            or places[:, 0].max() < view.south
            or places[:, 0].min() > view.north
        )
        if not outside:
            draw.polygon([tuple(p) for p in view.pixels(places, _DRAWN).tolist()], **style)


def _unwrapped(ring: np.ndarray) -> np.ndarray:
    """A line whose longitudes do not jump from 180 to -180; at a pole it goes along the map's edge."""
    corner = np.flatnonzero(np.abs(ring[:, 0]) > _POLE)
    if len(corner):
        rest = np.roll(ring, -int(corner[0]), axis=0)[1:]
        line = np.stack([rest[:, 0], np.degrees(np.unwrap(np.radians(rest[:, 1])))], 1)
        pole = np.copysign(90.0, rest[0, 0])
        return np.concatenate([line, [[pole, line[-1, 1]], [pole, line[0, 1]]]])
    longitudes = np.degrees(np.unwrap(np.radians(ring[:, 1])))
    line = np.stack([ring[:, 0], longitudes], 1)
    turned = longitudes[-1] - longitudes[0]
    if abs(turned) < 180:
        return line
    pole = 90.0 if ring[:, 0].mean() > 0 else -90.0
    end = longitudes[0] + np.copysign(360, turned)
    return np.concatenate([line, [[ring[0, 0], end], [pole, end], [pole, longitudes[0]]]])


def _draw_marks(picture: Image.Image, view: View, marks: Sequence[Mark]) -> None:
    """Dots, the first on top, and captions beside them, each moved down until it covers no earlier one."""
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(15)
    dots = []
    for mark in marks:
        place = np.array([mark.place], np.float64)
        place[0, 1] = (place[0, 1] - view.west) % 360 + view.west
        dots.append(view.pixels(place)[0].tolist())
    for (x, y), mark in reversed(list(zip(dots, marks, strict=True))):
        draw.ellipse((x - 5, y - 5, x + 5, y + 5), fill=mark.colour, outline='white', width=1)
    taken: list[tuple[float, float, float]] = []  # left, right and top
    for (x, y), mark in zip(dots, marks, strict=True):
        wide = draw.textlength(mark.caption, font)
        left, top = (x + 8 if x < picture.width * 0.8 else x - 8 - wide), y - 9
        while any(left < b and left + wide > a and abs(top - t) < _LINE for a, b, t in taken):
            top += 1
        taken.append((left, left + wide, top))
        draw.text((left, top), mark.caption, mark.colour, font, stroke_width=2, stroke_fill='white')
