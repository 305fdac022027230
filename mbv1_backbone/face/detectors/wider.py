"""WIDER FACE (http://shuoyang1213.me/WIDERFACE): its lists of faces, and RetinaFace's with landmarks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import decode

__all__ = ['WiderImage', 'read_wider']

_OWN = 10  # values of a face in WIDER's own lists: box, blur, expression, illumination, invalid, ...
_INVALID = 7  # place of that flag
_WITH_LANDMARKS = (19, 20)  # box and five times x, y and a flag; in the training list a blur, too


@dataclass(frozen=True)
class WiderImage:
    """The faces of an image.

    Attributes:
        file: Relative to the folder of images.
        boxes: float32 (G, 4), x1, y1, x2, y2 in pixels.
        landmarks: float32 (G, 5, 2) in pixels, the image's left eye first; NaN where there are none.
        invalid: bool (G,), marked as not to be counted, or without an area.
    """

    file: str
    boxes: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    invalid: NDArray[np.bool_]


def read_wider(path: str | os.PathLike[str]) -> list[WiderImage]:
    """Read a list of faces.

    Args:
        path: WIDER's ``wider_face_*_bbx_gt.txt``: a file, a count, and a line of ten numbers a face; or
            RetinaFace's ``label.txt``: ``# FILE``, and a line of 19 or 20 numbers a face.

    Raises:
        InputError: If the file cannot be read, names an image twice, or a line is none of these, with its
            number.
    """
    path = Path(path)
    try:
        lines = [line.strip() for line in decode(path.read_bytes()).splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f'{path}: not a readable list of faces: {error}') from error
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line]
    if not numbered:
        raise InputError(f'{path}: an empty list of faces')
    read = _with_landmarks if numbered[0][1].startswith('#') else _own
    images = {}
    for image in read(numbered, path):
        if image.file in images:
            raise InputError(f'{path}: {image.file} is named twice')
        images[image.file] = image
    return list(images.values())


def _own(lines: list[tuple[int, str]], path: Path) -> Iterator[WiderImage]:
    place = 0
    while place < len(lines):
        number, file = lines[place]
        count = lines[place + 1][1] if place + 1 < len(lines) else ''
        if not (count.isascii() and count.isdigit()):
            raise InputError(f'{path}, line {number}: {file} is followed by no count of faces, but {count!r}')
        rows = max(int(count), 1)  # without faces there is a line of zeros
        faces = lines[place + 2 : place + 2 + rows]
        if len(faces) < int(count):
            raise InputError(f'{path}, line {number}: {file} has {len(faces)} of {count} faces')
        if not int(count) and not (faces and _is_zeros(faces[0][1])):
            faces, rows = [], 0
        values = [_numbers(row, (_OWN,), path) for row in faces[: int(count)]]
        yield _image(file, values, [bool(row[_INVALID]) for row in values], landmarks=False)
        place += 2 + rows


def _is_zeros(line: str) -> bool:
    return len(line.split()) > 1 and set(line.split()) == {'0'}


def _with_landmarks(lines: list[tuple[int, str]], path: Path) -> Iterator[WiderImage]:
    file, values = '', list[list[float]]()
    for number, line in lines:
        if line.startswith('#'):
            if file:
                yield _image(file, values, [False] * len(values), landmarks=True)
            file, values = line[1:].strip(), []
            if not file:
                raise InputError(f'{path}, line {number}: names no file')
        else:
            values.append(_numbers((number, line), _WITH_LANDMARKS, path)[: _WITH_LANDMARKS[0]])
    yield _image(file, values, [False] * len(values), landmarks=True)


def _numbers(line: tuple[int, str], counts: tuple[int, ...], path: Path) -> list[float]:
    words = line[1].split()
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = []
    if len(values) not in counts or not np.isfinite(values).all():
        wanted = ' or '.join(map(str, counts))
        raise InputError(f'{path}, line {line[0]}: a face is {wanted} numbers, got {line[1][:80]!r}')
    return values


def _image(file: str, values: list[list[float]], invalid: list[bool], landmarks: bool) -> WiderImage:
    rows = np.array(values, np.float32).reshape(len(values), -1 if values else _OWN)
    boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], 1)
    marks: NDArray[np.float32] = np.full((len(rows), 5, 2), np.nan, np.float32)
    if landmarks and len(rows):
        points = rows[:, 4:19].reshape(-1, 5, 3)[..., :2]
        marks[(points >= 0).all((1, 2))] = points[(points >= 0).all((1, 2))]
    flat = (rows[:, 2:4] <= 0).any(1)
    return WiderImage(file, boxes, marks, np.array(invalid, bool).reshape(-1) | flat)
