"""What a data set with boxes holds, and what in it will trouble a training."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.images import read_image
from mbv1_backbone.common.page import Page
from mbv1_backbone.common.prefetch import DECODERS, prefetch
from mbv1_backbone.detection.anchor_fit import COVERED
from mbv1_backbone.detection.drawing import draw_boxes, side_by_side
from mbv1_backbone.detection.formats.coco import CocoAnnotations, learnable
from mbv1_backbone.detection.formats.image_entries import places_of
from mbv1_backbone.detection.formats.report import table
from mbv1_backbone.detection.formats.splits import DetectionData, Split, of_images
from mbv1_backbone.detection.near_duplicates import near_duplicates, thumbnail

__all__ = ['SIZES', 'DataCheck', 'check_data', 'size_of', 'without_unreadable', 'write_page']

SIZES = ('small', 'medium', 'large')  # COCO's: below 32 x 32, below 96 x 96, others
_SHOWN = 12  # pictures of a section of the page
_LISTED = 100  # rows of a table of the page


@dataclass
class DataCheck:
    """What was found.

    Attributes:
        data: The data set, without pictures that cannot be read.
        found: Annotations by part, checked.
        unreadable: Reason by picture.
        duplicates: As ``near_duplicates`` has them.
        uncovered: Boxes that no anchor covers: ``part``, ``image``, ``class``, ``bbox`` and ``iou``.
        anchors: What was said of the anchors.
    """

    data: DetectionData
    found: dict[str, CocoAnnotations]
    unreadable: dict[Path, str]
    duplicates: list[tuple[str, str, str, str, float]]
    uncovered: list[dict[str, Any]] = field(default_factory=list)
    anchors: list[str] = field(default_factory=list)

    def counts(self) -> dict[str, dict[str, dict[str, int]]]:
        """Per part and class: ``images``, ``boxes``, and boxes by size."""
        return {part: _counts(found) for part, found in self.found.items()}

    def report(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return dict(
            data=str(self.data.root),
            layout=self.data.layout,
            classes=list(self.data.classes),
            notes=self.data.notes,
            images={part: len(found.images) for part, found in self.found.items()},
            counts=self.counts(),
            annotations={
                part: dict(found.report.counts, warnings=found.report.warnings)
                for part, found in self.found.items()
            },
            unreadable={str(path): reason for path, reason in self.unreadable.items()},
            near_duplicates=[
                dict(part=a, image=b, other_part=c, other_image=d, correlation=round(score, 4))
                for a, b, c, d, score in self.duplicates
            ],
            anchors=self.anchors,
            uncovered=self.uncovered,
        )


def size_of(annotation: dict[str, Any]) -> str:
    """COCO's word for the area of an annotation."""
    area = annotation['area']
    return SIZES[0] if area < 32**2 else SIZES[1] if area < 96**2 else SIZES[2]


def without_unreadable(
    data: DetectionData, unreadable: dict[Path, str], progress: Callable[[], object] | None = None
) -> tuple[DetectionData, dict[str, dict[str, np.ndarray]]]:
    """Decode every picture; those that cannot be are put down and left out.

    Args:
        data: The data set.
        unreadable: Gets the reason by picture.
        progress: Called after each picture.

    Returns:
        What is left, and the thumbnails by part and name.

    Raises:
        InputError: If no picture of a part is left.
    """
    splits, thumbnails = {}, {}
    for part, split in data.splits.items():
        splits[part], thumbnails[part] = _decoded(split, unreadable, progress)
        if not splits[part].coco['images']:
            raise InputError(f'{split.source}: none of its pictures can be read')
    return replace(data, splits=splits), thumbnails


def check_data(
    data: DetectionData, unreadable: dict[Path, str], progress: Callable[[], object] | None = None
) -> DataCheck:
    """Look at all pictures and annotations; anchors are looked at apart.

    Args:
        data: The data set.
        unreadable: Pictures that could not be read before, with the reason; more are put in.
        progress: Called after each picture.

    Raises:
        InputError: If annotations cannot be read at all, or no picture is left.
    """
    data, thumbnails = without_unreadable(data, unreadable, progress)
    found = {part: split.read(data.classes) for part, split in data.splits.items()}
    distinct = {part: t for part, t in thumbnails.items() if not _repeats(data, part)}
    return DataCheck(data, found, unreadable, near_duplicates(distinct))


def _repeats(data: DetectionData, part: str) -> bool:
    """Whether ``test`` is ``val``, too; what is trained on must be neither."""
    before = list(data.splits)[: list(data.splits).index(part)]
    mine = data.splits[part].pictures
    return any(data.splits[other].pictures == mine for other in before if other != 'train')


def _decoded(
    split: Split, unreadable: dict[Path, str], progress: Callable[[], object] | None
) -> tuple[Split, dict[str, np.ndarray]]:
    every = split.coco['images']
    names = [str(image.get('file_name')) for image in every]
    places = places_of(names, split.folder)

    def look(name: str) -> np.ndarray | InputError:
        try:
            return thumbnail(read_image(split.folder / places.get(name, name)))
        except InputError as error:
            return error

    broken, thumbnails = set(), {}
    for name, seen in zip(names, prefetch(look, names, DECODERS, 32), strict=True):
        if progress is not None:
            progress()
        if isinstance(seen, InputError):
            unreadable[split.folder / name] = str(seen)
            broken.add(name)
        else:
            thumbnails[places[name]] = seen
    coco = of_images(split.coco, lambda image: str(image.get('file_name')) not in broken)
    return replace(split, coco=coco), thumbnails


def _counts(found: CocoAnnotations) -> dict[str, dict[str, int]]:
    names = {category['id']: category['name'] for category in found.categories}
    boxes: Counter[tuple[str, str]] = Counter()
    images: dict[str, set[Any]] = {name: set() for name in found.classes}
    for annotation in found.annotations:
        if learnable(annotation):
            name = names[annotation['category_id']]
            boxes[name, size_of(annotation)] += 1
            images[name].add(annotation['image_id'])
    return {
        name: dict(
            images=len(images[name]),
            boxes=sum(boxes[name, size] for size in SIZES),
            **{size: boxes[name, size] for size in SIZES},
        )
        for name in found.classes
    }


def write_page(check: DataCheck, path: Path, seed: int = 0) -> None:
    """Write what was found as one HTML file.

    Args:
        check: What was found.
        path: Of the file.
        seed: Of the choice of samples.
    """
    data = check.data
    page = Page(f'Data check: {data.root}')
    page.text(f'{data.layout}, {len(data.classes)} classes.')
    for note in data.notes:
        page.text(note)
    page.heading('Boxes by class and size')
    page.text("Sizes are COCO's: small below 32 x 32 pixels of the picture, medium below 96 x 96.")
    rows = [
        [part, name, *counts.values()]
        for part, classes in check.counts().items()
        for name, counts in classes.items()
    ]
    page.table(['part', 'class', 'images', 'boxes', *SIZES], rows)
    page.heading('Annotations')
    page.listing(table([found.report for found in check.found.values()]))
    _add_troubles(page, check)
    page.heading('Samples')
    rng = random.Random(seed)
    for part, found in check.found.items():
        if not _repeats(data, part):
            for image in rng.sample(found.images, min(_SHOWN, len(found.images))):
                page.picture(_drawn(found, image), f'{part}: {image["file_name"]}')
    page.write(path)


def _add_troubles(page: Page, check: DataCheck) -> None:
    page.heading(f'Pictures that cannot be read: {len(check.unreadable)}')
    if check.unreadable:
        page.table(['picture', 'reason'], [[*pair] for pair in check.unreadable.items()][:_LISTED])
    page.heading(f'Nearly the same picture in two parts: {len(check.duplicates)}')
    if check.duplicates:
        page.text('A network that has seen them in training is not tested by them.')
        page.table(
            ['part', 'picture', 'other part', 'other picture', 'correlation'], check.duplicates[:_LISTED]
        )
    for part, name, other, twin, _ in check.duplicates[:_SHOWN]:
        folder, others = check.data.splits[part].folder, check.data.splits[other].folder
        pair = side_by_side(read_image(folder / name), read_image(others / twin))
        page.picture(pair, f'{part}: {name}, {other}: {twin}', side=640)
    page.heading(f'Boxes that no anchor covers: {len(check.uncovered)}')
    for line in check.anchors:
        page.text(line)
    page.text(
        f'The best anchor overlaps them by less than {COVERED:g}; they are learnt from that anchor alone, if '
        'at all. The JSON file has all of them.'
    )
    if check.uncovered:
        keys = ('part', 'image', 'class', 'bbox', 'iou')
        page.table(keys, [[box[key] for key in keys] for box in check.uncovered[:_LISTED]])
    _draw_uncovered(page, check)


def _draw_uncovered(page: Page, check: DataCheck) -> None:
    """The pictures with most of them."""
    by_image: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for box in check.uncovered:
        by_image.setdefault((box['part'], box['image']), []).append(box)
    for (part, name), boxes in sorted(by_image.items(), key=lambda item: -len(item[1]))[:_SHOWN]:
        found = check.found[part]
        image = next(image for image in found.images if image['file_name'] == name)
        corners = np.array([_corners(box['bbox']) for box in boxes])
        labels = [found.classes.index(box['class']) for box in boxes]
        assert found.folder is not None  # it was read with its pictures
        pixels = read_image(found.folder / name, (image['height'], image['width']))
        page.picture(
            draw_boxes(pixels, corners, labels, found.classes), f'{part}: {name}, {len(boxes)} of them'
        )


def _drawn(found: CocoAnnotations, image: dict[str, Any]) -> np.ndarray:
    label = {category['id']: k for k, category in enumerate(found.categories)}
    mine = [a for a in found.annotations if a['image_id'] == image['id'] and not a['iscrowd']]
    boxes = np.array([_corners(a['bbox']) for a in mine]).reshape(-1, 4)
    assert found.folder is not None  # it was read with its pictures
    pixels = read_image(found.folder / image['file_name'], (image['height'], image['width']))
    return draw_boxes(pixels, boxes, [label[a['category_id']] for a in mine], found.classes)


def _corners(bbox: list[float]) -> list[float]:
    x, y, width, height = bbox
    return [x, y, x + width, y + height]
