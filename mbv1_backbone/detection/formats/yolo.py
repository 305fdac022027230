"""YOLO's labels, as COCO has them: a line a box, the class's number and fractions of the picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from os.path import commonpath
from pathlib import Path
from typing import Any, NamedTuple

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import decode
from mbv1_backbone.common.picture_sizes import picture_size
from mbv1_backbone.common.tables import parse_number
from mbv1_backbone.detection.formats.splits import Split, in_common
from mbv1_backbone.detection.formats.yolo_files import YoloFiles, label_file, label_places, labels_alone

__all__ = ['YoloBox', 'read_label_file', 'read_yolo']

_THREADS = 8  # that read headers at once
_ROUNDED = 1.5e-6  # error of an edge whose centre and width have six decimals
_OUT = 2.0  # fractions beyond it are pixels


class YoloBox(NamedTuple):
    """A class's number and the box's x1, y1, x2, y2 as fractions of the picture."""

    label: int
    corners: tuple[float, float, float, float]


def read_yolo(
    files: YoloFiles, unreadable: dict[Path, str] | None = None
) -> tuple[dict[str, Split], list[str]]:
    """Read the labels of a data set.

    Fractions are of the picture as it is shown, turned by EXIF where that says so, as the trainers of YOLO
    take them. Pictures are numbered from 1, sorted by name. One without labels has no boxes.

    Args:
        files: Of the data set.
        unreadable: Gets the pictures that cannot be read, with the reason, which are left out then; without
            it they are refused.

    Returns:
        The splits, and notes.

    Raises:
        InputError: If a picture or a label cannot be read, a class's number has no name, boxes are in pixels,
            or no picture of a split has labels.
    """
    splits, notes = {}, list(files.notes)
    for role, pictures in files.pictures.items():
        folder = _folder_of(pictures)
        made, without = _to_coco(pictures, folder, files, unreadable)
        if made['images'] and without == len(made['images']):
            example = pictures[0]
            raise InputError(
                f'{folder}: none of {len(pictures)} pictures has labels; those of {example.name} are looked '
                f'for in {label_places(example)[0]}'
            )
        if without:
            notes.append(f'{role}: {without} of {len(pictures)} pictures have no label file: no boxes')
        if alone := labels_alone(pictures):
            notes.append(
                f'{role}: {len(alone)} label files have no picture, and are left out: the first is {alone[0]}'
            )
        splits[role] = Split(str(folder), folder, made)
    return splits, notes + in_common(splits)


def read_label_file(path: Path, classes: Sequence[str], keypoints: bool = False) -> list[YoloBox]:
    """The boxes of a file; a polygon becomes the box around it.

    Args:
        path: Of the file.
        classes: Names by number.
        keypoints: Whether key points follow the box.

    Raises:
        InputError: If a line is not a number of a class and four fractions, or more for a polygon.
    """
    try:
        lines = decode(path.read_bytes()).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f'labels {path}: {error}') from error
    return [
        _read_line(line.split(), f'labels {path}, line {number}', classes, keypoints)
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]


def _read_line(words: Sequence[str], where: str, classes: Sequence[str], keypoints: bool) -> YoloBox:
    try:
        label, *values = (parse_number(word) for word in words)
    except ValueError as error:
        raise InputError(f'{where}: {" ".join(words)[:60]!r} is not all numbers') from error
    if not float(label).is_integer() or not 0 <= label < len(classes):
        raise InputError(f'{where}: class {label:g} has no name; there are 0..{len(classes) - 1}')
    if keypoints:
        values = values[:4]
    if len(values) == 5:
        raise InputError(
            f'{where}: six numbers, a class, a box and a confidence: these are predictions, not labels'
        )
    if len(values) != 4 and (len(values) < 6 or len(values) % 2):
        raise InputError(
            f'{where}: must be a class and x, y, width, height, or the points of a polygon, got '
            f'{len(words)} numbers'
        )
    if not all(map(math.isfinite, values)):
        raise InputError(f'{where}: {" ".join(words)[:60]!r} is not all numbers')
    if max(map(abs, values)) > _OUT:
        raise InputError(
            f'{where}: {max(values, key=abs):g} is no fraction of the picture; x, y, width and height must '
            'lie in 0..1, not be pixels'
        )
    if len(values) == 4:
        x, y, width, height = values
        return YoloBox(int(label), (x - width / 2, y - height / 2, x + width / 2, y + height / 2))
    xs, ys = values[0::2], values[1::2]
    return YoloBox(int(label), (min(xs), min(ys), max(xs), max(ys)))


def _to_coco(
    pictures: Sequence[Path], folder: Path, files: YoloFiles, unreadable: dict[Path, str] | None
) -> tuple[dict[str, Any], int]:
    """COCO's form, and how many pictures have no label file."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    without = 0
    ordered = sorted(pictures, key=lambda path: path.relative_to(folder).as_posix())
    with ThreadPoolExecutor(_THREADS) as pool:
        sizes = list(pool.map(_size_or_error, ordered))
    for path, size in zip(ordered, sizes, strict=True):
        if isinstance(size, InputError):
            if unreadable is None:
                raise size
            unreadable[path] = str(size)
            continue
        number, (width, height) = len(images) + 1, size
        name = path.relative_to(folder).as_posix()
        images.append(dict(id=number, file_name=name, width=width, height=height))
        labels = label_file(path)
        without += labels is None
        for box in read_label_file(labels, files.classes, files.keypoints) if labels else ():
            annotations.append(_annotation(len(annotations) + 1, number, box, width, height))
    categories = [dict(id=k, name=name) for k, name in enumerate(files.classes, 1)]
    return dict(images=images, annotations=annotations, categories=categories), without


def _annotation(number: int, image: int, box: YoloBox, width: int, height: int) -> dict[str, Any]:
    x1, y1, x2, y2 = (_pixels(v, side) for v, side in zip(box.corners, (width, height) * 2, strict=True))
    bbox = [x1, y1, x2 - x1, y2 - y1]
    area = (x2 - x1) * (y2 - y1)
    return dict(id=number, image_id=image, category_id=box.label + 1, bbox=bbox, area=area, iscrowd=0)


def _pixels(value: float, side: int) -> float:
    """A fraction in pixels: the whole number of them that it was, where six decimals can tell."""
    pixels = value * side
    return float(round(pixels)) if abs(pixels - round(pixels)) <= _ROUNDED * side else pixels


def _size_or_error(path: Path) -> tuple[int, int] | InputError:
    try:
        return picture_size(path).shown
    except InputError as error:
        return error


def _folder_of(pictures: Sequence[Path]) -> Path:
    """The folder that all pictures are below."""
    return Path(commonpath([path.parent.absolute() for path in pictures]))
