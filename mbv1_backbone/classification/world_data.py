"""A drawn world: photographs whose look depends on where they are taken, with their coordinates.

Latitude decides what grows, how high the sun stands and on which side of the picture; longitude the colours
of walls and roofs and how steep the roofs are. Most photographs are of towns, some from anywhere on land.
"""

from __future__ import annotations

import colorsys
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from tqdm import tqdm

from mbv1_backbone.classification.outlines import is_land
from mbv1_backbone.classification.sphere import great_circle
from mbv1_backbone.common.files import write_atomically
from mbv1_backbone.common.prefetch import DECODERS, map_concurrently

__all__ = ['SIZE', 'TOWNS', 'draw_place', 'make_world', 'places_of', 'towns_of']

SIZE = 64  # side of the images, pixels
TOWNS = 40
_DRAWN = 3  # drawn at this multiple of their size, then reduced: smooth edges
_BETWEEN = 0.1  # share of photographs that are of no town
_RADIUS = 0.3  # kilometres: deviation of the photographs of a town
_APART = 700.0  # kilometres between towns, at least
_POLAR = 72.0  # degrees: no towns beyond
_KM_A_DEGREE = 111.2
_GROUND = (  # by degrees from the equator: jungle, savanna, desert, meadow, forest, snow
    (0, (30, 105, 45)),
    (15, (150, 160, 60)),
    (27, (225, 190, 120)),
    (42, (125, 170, 80)),
    (58, (70, 100, 75)),
    (70, (240, 245, 250)),
    (90, (235, 240, 255)),
)


def make_world(out: str | Path, train: int = 2400, test: int = 480, seed: int = 0) -> dict[str, int]:
    """Write ``out/images/*.jpg`` and ``out/{train,test}.csv``: file, latitude, longitude.

    The same seed gives the same towns and images, whatever the counts.

    Args:
        out: Folder to write; files of these names are replaced.
        train: Photographs to learn from.
        test: Photographs to evaluate on, of the same towns.
        seed: Of everything that is drawn.

    Returns:
        Photographs of each split.
    """
    out = Path(out)
    (out / 'images').mkdir(parents=True, exist_ok=True)
    towns = towns_of(np.random.default_rng([seed, 0]))
    for number, (split, count) in enumerate((('train', train), ('test', test)), 1):
        places = places_of(np.random.default_rng([seed, number]), towns, count)

        def draw(index: int, split: str = split, number: int = number, places: np.ndarray = places) -> str:
            image = draw_place(np.random.default_rng([seed, number, index]), *places[index])
            name = f'images/{split}_{index:05d}.jpg'
            image.save(out / name, quality=92)
            return name

        drawn = map_concurrently(draw, range(count), DECODERS)
        names = list(tqdm(drawn, f'drawing {split}', count, unit='image'))
        rows = [
            f'{name},{latitude:.6f},{longitude:.6f}'
            for name, (latitude, longitude) in zip(names, places, strict=True)
        ]
        write_atomically(out / f'{split}.csv', '\n'.join(['file,latitude,longitude', *rows, '']).encode())
    return dict(train=train, test=test)


def towns_of(rng: np.random.Generator) -> np.ndarray:
    """Where the towns are, the largest first: on land, and apart; degrees (TOWNS, 2)."""
    towns: np.ndarray = np.zeros((0, 2))
    while len(towns) < TOWNS:
        place = _anywhere(rng, 1)
        if abs(place[0, 0]) < _POLAR and not (great_circle(towns, place) < _APART).any():
            towns = np.concatenate([towns, place])
    return towns


def places_of(rng: np.random.Generator, towns: np.ndarray, count: int) -> np.ndarray:
    """Where photographs are taken: degrees (count, 2).

    Args:
        rng: Of the choice.
        towns: Of ``towns_of``; the first has four times as many photographs as the last.
        count: Of photographs.
    """
    weights = 1 / (np.arange(len(towns)) + len(towns) / 3)
    chosen = towns[rng.choice(len(towns), count, p=weights / weights.sum())]
    steps = rng.normal(0, _RADIUS / _KM_A_DEGREE, (count, 2))
    steps[:, 1] /= np.cos(np.radians(chosen[:, 0]))
    between = rng.random(count) < _BETWEEN
    return np.where(between[:, None], _anywhere(rng, count), chosen + steps)


def _anywhere(rng: np.random.Generator, count: int) -> np.ndarray:
    """Places on land, each as likely as another of the same area."""
    found: np.ndarray = np.zeros((0, 2))
    while len(found) < count:
        latitudes = np.degrees(np.arcsin(rng.uniform(-1, 1, 4 * count + 16)))
        places = np.stack([latitudes, rng.uniform(-180, 180, len(latitudes))], 1)
        found = np.concatenate([found, places[is_land(places)]])
    return found[:count]


def draw_place(rng: np.random.Generator, latitude: float, longitude: float) -> Image.Image:
    """A photograph of a place, SIZE pixels a side.

    Args:
        rng: Of what does not depend on the place.
        latitude: Degrees.
        longitude: Degrees.
    """
    side = SIZE * _DRAWN
    horizon = round(side * rng.uniform(0.42, 0.58))
    picture = Image.new('RGB', (side, side), _sky(latitude, rng))
    draw = ImageDraw.Draw(picture)
    _draw_sun(draw, latitude, horizon, side, rng)
    ground = _ground(abs(latitude), rng)
    _draw_hills(draw, horizon, side, ground, rng)
    for _ in range(int(rng.integers(4, 9))):
        _draw_tree(draw, latitude, horizon, side, rng)
    for _ in range(int(rng.integers(2, 5))):
        _draw_house(draw, longitude, horizon, side, rng)
    small = picture.resize((SIZE, SIZE), Image.Resampling.BOX)
    pixels = np.asarray(small, np.float64) * rng.uniform(0.8, 1.1)
    pixels += rng.normal(0, rng.uniform(0, 10), pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _sky(latitude: float, rng: np.random.Generator) -> tuple[int, int, int]:
    return _rgb(0.58 + rng.normal(0, 0.01), 0.25 + 0.5 * math.cos(math.radians(latitude)), 0.95)


def _draw_sun(
    draw: ImageDraw.ImageDraw, latitude: float, horizon: int, side: int, rng: np.random.Generator
) -> None:
    """High at the equator; on the right in the north, on the left in the south."""
    height = math.cos(math.radians(latitude)) * 0.75 + rng.normal(0, 0.03)
    x = side * (0.5 + 0.4 * math.tanh(latitude / 12) + rng.normal(0, 0.02))
    y, radius = horizon * (0.95 - height), side * 0.06
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(255, 245, 190))


def _draw_hills(
    draw: ImageDraw.ImageDraw,
    horizon: int,
    side: int,
    ground: tuple[int, int, int],
    rng: np.random.Generator,
) -> None:
    far = tuple(round(0.7 * value + 40) for value in ground)
    ridge = [(k * side / 6, horizon - rng.uniform(0, 0.14) * side) for k in range(7)]
    draw.polygon([(0, side), *ridge, (side, side)], fill=far)
    draw.rectangle((0, horizon, side, side), fill=ground)


def _ground(from_equator: float, rng: np.random.Generator) -> tuple[int, int, int]:
    degrees, colours = zip(*_GROUND, strict=True)
    at = from_equator + rng.normal(0, 1.5)
    red, green, blue = (round(float(np.interp(at, degrees, part))) for part in zip(*colours, strict=True))
    return red, green, blue


def _draw_tree(
    draw: ImageDraw.ImageDraw, latitude: float, horizon: int, side: int, rng: np.random.Generator
) -> None:
    """Palms near the equator, then round trees, then conifers; none in the snow."""
    away = abs(latitude) + rng.normal(0, 4)
    if away > 68:
        return
    x, foot = rng.uniform(0, side), horizon + rng.uniform(0, 0.2) * side
    tall = side * rng.uniform(0.12, 0.2)
    draw.line((x, foot, x, foot - tall), fill=(95, 70, 50), width=max(2, side // 60))
    top = foot - tall
    if away < 25:
        for turn in range(-3, 4):
            leaf = math.radians(30 * turn)
            draw.line(
                (x, top, x + math.sin(leaf) * tall * 0.5, top + (1 - math.cos(leaf)) * tall * 0.35 - 2),
                fill=(40, 130, 50),
                width=max(2, side // 64),
            )
    elif away < 52:
        radius = tall * 0.4
        draw.ellipse((x - radius, top - radius, x + radius, top + radius), fill=(60, 130, 55))
    else:
        wide = tall * 0.35
        draw.polygon(
            [(x - wide, foot - tall * 0.2), (x, top - tall * 0.3), (x + wide, foot - tall * 0.2)],
            (30, 75, 55),
        )


def _draw_house(
    draw: ImageDraw.ImageDraw, longitude: float, horizon: int, side: int, rng: np.random.Generator
) -> None:
    """Walls go once around the colours with the longitude, roofs twice; roofs are steepest in the middle."""
    turn = (longitude + 180) / 360
    wall = _rgb(turn + rng.normal(0, 0.006), 0.75, 0.95)
    roof = _rgb(2 * turn + rng.normal(0, 0.006), 0.85, 0.6)
    wide, tall = side * rng.uniform(0.16, 0.26), side * rng.uniform(0.12, 0.2)
    x, foot = rng.uniform(0, side - wide), horizon + rng.uniform(0.1, 0.42) * side
    pitch = wide * (0.1 + 0.6 * (0.5 + 0.5 * math.cos(2 * math.pi * (turn - 0.5))))
    draw.rectangle((x, foot - tall, x + wide, foot), fill=wall)
    eaves = [
        (x - 0.08 * wide, foot - tall),
        (x + wide / 2, foot - tall - pitch),
        (x + 1.08 * wide, foot - tall),
    ]
    draw.polygon(eaves, fill=roof)
    draw.rectangle((x + 0.4 * wide, foot - 0.55 * tall, x + 0.6 * wide, foot), fill=(50, 45, 40))


def _rgb(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)
