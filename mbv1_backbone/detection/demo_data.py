"""A detection data set drawn on the spot: five kinds of things on varied backgrounds, in COCO's format."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from tqdm import tqdm

from mbv1_backbone.common.files import write_json
from mbv1_backbone.common.prefetch import DECODERS, map_concurrently
from mbv1_backbone.detection.masks import Masks

__all__ = ['EMPTY', 'HUES', 'SHAPES', 'SIZE', 'Colour', 'Objects', 'Point', 'draw_scene', 'make_demo_data']

Point = tuple[float, float]
Colour = tuple[int, int, int]
Objects = list[tuple[int, tuple[int, int, int, int]]]  # label and box x1, y1, x2, y2 in pixels

SIZE = 240  # side of the images, pixels
EMPTY = 0.1  # share of images without objects
_DRAWN = 4  # drawn at this multiple of their size, then reduced: smooth edges


def _ball(draw: ImageDraw.ImageDraw, side: int, main: Colour, accent: Colour) -> None:
    draw.ellipse((0, 0, side, side), fill=main)
    draw.arc((-0.5 * side, 0.1 * side, 0.5 * side, 0.9 * side), -60, 60, fill=accent, width=side // 10)
    draw.arc((0.5 * side, 0.1 * side, 1.5 * side, 0.9 * side), 120, 240, fill=accent, width=side // 10)


def _house(draw: ImageDraw.ImageDraw, side: int, main: Colour, accent: Colour) -> None:
    draw.rectangle((0.12 * side, 0.45 * side, 0.88 * side, side), fill=main)
    draw.polygon([(0, 0.48 * side), (0.5 * side, 0), (side, 0.48 * side)], fill=accent)
    draw.rectangle((0.42 * side, 0.65 * side, 0.62 * side, side), fill=accent)


def _star(draw: ImageDraw.ImageDraw, side: int, main: Colour, accent: Colour) -> None:
    draw.polygon(_ring(side, 10, (1.0, 0.42)), fill=main)
    draw.polygon(_ring(side, 10, (0.5, 0.2)), fill=accent)


def _flower(draw: ImageDraw.ImageDraw, side: int, main: Colour, accent: Colour) -> None:
    radius = 0.22 * side
    for x, y in _ring(side, 6, (0.56,)):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=main)
    draw.ellipse((0.33 * side, 0.33 * side, 0.67 * side, 0.67 * side), fill=accent)


def _car(draw: ImageDraw.ImageDraw, side: int, main: Colour, accent: Colour) -> None:
    draw.rounded_rectangle((0, 0.42 * side, side, 0.74 * side), radius=side // 12, fill=main)
    draw.polygon(
        [(p * side, q * side) for p, q in ((0.18, 0.44), (0.3, 0.2), (0.68, 0.2), (0.84, 0.44))], fill=accent
    )
    for x in (0.24, 0.76):
        draw.ellipse(((x - 0.13) * side, 0.6 * side, (x + 0.13) * side, 0.86 * side), fill=(30, 30, 30))


SHAPES: dict[str, Callable[[ImageDraw.ImageDraw, int, Colour, Colour], None]] = {
    'ball': _ball,
    'car': _car,
    'flower': _flower,
    'house': _house,
    'star': _star,
}
# Things tend to have a colour of their own, which is what a small network learns first.
HUES: dict[str, float] = {'ball': 0.4, 'car': 0.62, 'flower': 0.88, 'house': 0.04, 'star': 0.15}


def make_demo_data(out: str | Path, train: int = 1280, val: int = 160, seed: int = 0) -> dict[str, Any]:
    """Write ``out/images/*.jpg`` and ``out/annotations/{train,val}.json``.

    One object in five or so is partly hidden by a later one; nothing is hidden by more than 60 %. Boxes are
    those of the whole object, within the image; masks, in COCO's run lengths, are of what is seen of it. The
    same seed gives the same images, whatever the counts.

    Args:
        out: Folder to write; files of these names are replaced.
        train: Images to learn from.
        val: Images to evaluate on.
        seed: Of everything that is drawn.

    Returns:
        Per split, the number of ``images``, ``boxes`` and ``empty`` images.
    """
    out = Path(out)
    (out / 'images').mkdir(parents=True, exist_ok=True)
    report = {}
    for number, (split, count) in enumerate((('train', train), ('val', val))):
        coco = _draw_split(out / 'images', split, count, [seed, number])
        write_json(out / 'annotations' / f'{split}.json', coco)
        with_boxes = {annotation['image_id'] for annotation in coco['annotations']}
        report[split] = dict(images=count, boxes=len(coco['annotations']), empty=count - len(with_boxes))
    return report


def _draw_split(folder: Path, split: str, count: int, seed: list[int]) -> dict[str, Any]:
    """Write the images of a split, several at once, and return its annotations."""
    coco: dict[str, Any] = dict(
        images=[],
        annotations=[],
        categories=[dict(id=k, name=name) for k, name in enumerate(SHAPES, 1)],
    )

    def draw(index: int) -> tuple[str, Objects, list[dict[str, Any]]]:
        image, objects, owner = draw_scene(np.random.default_rng([*seed, index]))
        name = f'{split}_{index:05d}.jpg'
        image.save(folder / name, quality=92)
        seen = owner == np.arange(1, len(objects) + 1)[:, None, None]
        return name, objects, Masks.of_arrays(seen).rles()

    drawn = map_concurrently(draw, range(count), DECODERS)
    for index, (name, objects, masks) in enumerate(tqdm(drawn, f'drawing {split}', count, unit='image')):
        coco['images'].append(dict(id=index + 1, file_name=name, width=SIZE, height=SIZE))
        coco['annotations'] += [
            dict(
                id=len(coco['annotations']) + k,
                image_id=index + 1,
                category_id=label + 1,
                bbox=[x1, y1, x2 - x1, y2 - y1],
                area=(x2 - x1) * (y2 - y1),
                iscrowd=0,
                segmentation=mask,
            )
            for k, ((label, (x1, y1, x2, y2)), mask) in enumerate(zip(objects, masks, strict=True), 1)
        ]
    return coco


def draw_scene(rng: np.random.Generator) -> tuple[Image.Image, Objects, np.ndarray]:
    """One image, its objects as (label, (x1, y1, x2, y2)), and the number of each pixel's, 0 of none."""
    image = _background(rng)
    owner: np.ndarray = np.zeros(
        (SIZE, SIZE), dtype=np.int16
    )  # which object is on top, 1..n; 0 is the background
    objects: Objects = []
    areas: list[int] = []
    for _ in range(0 if rng.random() < EMPTY else int(rng.integers(1, 6))):
        label = int(rng.integers(len(SHAPES)))
        stamp = _stamp(rng, label)
        left, top = (int(rng.integers(-side // 8, SIZE - side + side // 8)) for side in stamp.size)
        placed = Image.new('L', (SIZE, SIZE))
        placed.paste(stamp.getchannel('A'), (left, top))
        mask = np.asarray(placed) > 127
        covered = owner.copy()
        covered[mask] = len(objects) + 1
        visible = [(covered == k).sum() / area for k, area in enumerate(areas, 1)]
        if not mask.any() or min(visible, default=1) < 0.4:
            continue
        owner = covered
        areas.append(int(mask.sum()))
        image.paste(stamp, (left, top), stamp)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
        objects.append((label, box))
    return _photographed(image, rng), objects, owner


def _stamp(rng: np.random.Generator, label: int) -> Image.Image:
    """An object on a transparent square, turned a little, in two contrasting colours."""
    side = int(SIZE * rng.uniform(0.22, 0.5)) * _DRAWN
    canvas = Image.new('RGBA', (side, side))
    name = list(SHAPES)[label]
    hue = HUES[name] + rng.normal(0, 0.04)
    main, accent = _colour(rng, hue, 0.6), _colour(rng, hue + rng.uniform(0.3, 0.7), 0.2)
    SHAPES[name](ImageDraw.Draw(canvas), side - 1, main, accent)
    canvas = canvas.rotate(rng.uniform(-20, 20), resample=Image.Resampling.BILINEAR, expand=True)
    return canvas.resize((canvas.width // _DRAWN, canvas.height // _DRAWN), Image.Resampling.BOX)


def _background(rng: np.random.Generator) -> Image.Image:
    """A gradient with blurred blobs and lines: clutter in dull colours, and none of the shapes."""
    ends = np.array([_colour(rng, rng.random(), 0.0) for _ in range(2)], dtype=np.float64)
    angle = rng.uniform(0, 2 * math.pi)
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE - 0.5
    share = np.clip(x * math.cos(angle) + y * math.sin(angle) + 0.5, 0, 1)[..., None]
    image = Image.fromarray((ends[0] * share + ends[1] * (1 - share)).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(0, 12))):
        points = [tuple(p) for p in rng.uniform(-0.2 * SIZE, 1.2 * SIZE, (int(rng.integers(2, 5)), 2))]
        if len(points) > 2:
            draw.polygon(points, fill=_colour(rng, rng.random(), 0.0))
        else:
            draw.line(points, fill=_colour(rng, rng.random(), 0.0), width=int(rng.integers(1, 12)))
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 4)))


def _photographed(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Light and sensor noise."""
    pixels = np.asarray(image, dtype=np.float64) * rng.uniform(0.7, 1.15)
    pixels += rng.normal(0, rng.uniform(0, 12), pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _colour(rng: np.random.Generator, hue: float, saturation: float) -> Colour:
    """A colour of about that saturation, 0..1, and any brightness but dark."""
    saturation = min(saturation + rng.uniform(0, 0.4), 1.0)
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, rng.uniform(0.4, 1.0))
    return round(red * 255), round(green * 255), round(blue * 255)


def _ring(side: int, count: int, radii: tuple[float, ...]) -> list[Point]:
    """Points around the centre of a square, at alternating shares of half its side."""
    return [
        (
            side / 2 * (1 + radii[k % len(radii)] * math.sin(2 * math.pi * k / count)),
            side / 2 * (1 - radii[k % len(radii)] * math.cos(2 * math.pi * k / count)),
        )
        for k in range(count)
    ]
