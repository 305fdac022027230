"""Faces cut out of photographs, aligned and kept as files, for training networks and asking teachers.

A list beside the crops says of each photograph what became of it, so that a run that was cut short goes on
where it was.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.images import read_image
from mbv1_backbone.common.pictures import save_png
from mbv1_backbone.common.prefetch import DECODERS, prefetch
from mbv1_backbone.face.crop_list import crops_of, opened_list
from mbv1_backbone.face.finder import FaceFinder, Faces, Place
from mbv1_backbone.face.quality import face_quality

__all__ = ['Cropped', 'crop_faces', 'crop_names']

_VERSION = 1
_BORDER = 0.25  # of the longer side, black, about photographs in which no face is found
_NEAR = 0.05  # of the shorter side: how near a photograph's edge a face is that it may cut off


@dataclass(frozen=True)
class Cropped:
    """What became of photographs.

    Attributes:
        photographs: How many there are.
        crops: Faces of them in the folder, of earlier runs too.
        before: Photographs that earlier runs had done with.
        left_out: Photograph -> why it has no face, in one line; of earlier runs too.
        gone: Photograph of earlier runs that is not in the folder -> its crops, which no other one has.
    """

    photographs: int
    crops: int
    before: int
    left_out: dict[str, str]
    gone: dict[str, list[str]] = field(default_factory=dict)


def crop_names(files: Sequence[str]) -> dict[str, str]:
    """Photograph -> name of its crop: the same, ending in ``.png``; where two would be one, behind the whole.

    Args:
        files: Names, relative to a folder.

    Example:
        >>> crop_names(['a/1.jpg', 'b.jpg', 'b.tif'])
        {'a/1.jpg': 'a/1.png', 'b.jpg': 'b.jpg.png', 'b.tif': 'b.tif.png'}
    """
    short = {file: os.path.splitext(file)[0] for file in files}
    counts = Counter(short.values())
    return {file: f'{stem if counts[stem] == 1 else file}.png' for file, stem in short.items()}


def crop_faces(
    folder: str | os.PathLike[str],
    files: Sequence[str],
    out: str | os.PathLike[str],
    finder: FaceFinder,
    size: int = 160,
    progress: Callable[[int], object] | None = None,
    remove_gone: bool = False,
) -> Cropped:
    """Find the faces of photographs, and write each, aligned, as a PNG file.

    A photograph's crop bears its name; further faces of it (policy ``all``) have ``_2``, ``_3`` behind that,
    with more underscores where that would be the crop of another photograph.
    What the list in ``out`` has already is not done again, unless the photograph has changed since, by its
    size or time, or one of its crops is gone or has the name of another photograph's that has come; crops
    that a photograph no longer has are removed. Crops of photographs that are no longer in the folder stay,
    and their lines say ``gone``.

    Args:
        folder: Of the photographs.
        files: Their names, relative to it.
        out: Folder of the crops.
        finder: Finds and aligns.
        size: Side of a crop, in pixels.
        progress: Called with the number of photographs that are done.
        remove_gone: Remove the crops of photographs that are gone, and their lines.

    Raises:
        InputError: If the crops that are there were made with another detector, policy or size.
        LockedError: If another run writes there.
    """
    made_with = dict(version=_VERSION, detector=finder.identity, policy=finder.policy, size=size)
    out, names = Path(out), crop_names(files)
    taken = set(names.values())
    with opened_list(out, made_with) as done:
        todo = [f for f in files if not done.is_done(f, names[f], taken, _stamp(Path(folder, f)))]
        if progress:
            progress(len(files) - len(todo))
        photographs = prefetch(lambda f: (f, *_read(Path(folder, f))), todo, DECODERS, 4)
        for file, image, stamp in photographs:
            former = crops_of(done.entries.get(file))
            entry = _crop(file, image, finder, size, partial(_save, out, names[file], taken))
            done.write(entry | dict(stamp=stamp))
            for name in former - crops_of(entry) - taken:
                (out / name).unlink(missing_ok=True)
            if progress:
                progress(1)
        gone = done.mark(files)
        if remove_gone and gone:
            done.remove(gone)
        mine = [done.entries[file] for file in files]
    left_out = {entry['file']: entry['reason'] for entry in mine if 'reason' in entry}
    crops = sum(len(crops_of(entry)) for entry in mine)
    return Cropped(len(mine), crops, len(mine) - len(todo), left_out, gone)


def _read(path: Path) -> tuple[np.ndarray | InputError, list[int]]:
    """A photograph, and its stamp from before it was read."""
    stamp = _stamp(path)
    try:
        return read_image(path), stamp
    except InputError as error:
        return error, stamp


def _stamp(path: Path) -> list[int]:
    """Bytes and time of a photograph's last change; none of one that is gone."""
    try:
        about = path.stat()
    except OSError:
        return []
    return [about.st_size, about.st_mtime_ns]


def _crop(
    file: str,
    image: np.ndarray | InputError,
    finder: FaceFinder,
    size: int,
    save: Callable[[np.ndarray, int], str],
) -> dict[str, Any]:
    """Write a photograph's faces; the line of the list."""
    try:
        if isinstance(image, InputError):
            raise image
        found = _find(image, finder, size)
    except InputError as error:
        return dict(file=file, reason=str(error))
    faces = [
        dict(crop=save(face, number), **_as_json(place)) for number, (face, place) in enumerate(found, 1)
    ]
    return dict(file=file, faces=faces)


def _save(out: Path, name: str, taken: Collection[str], face: np.ndarray, number: int) -> str:
    """Write a face, the ``number``-th of its photograph; its name in the folder of the crops."""
    stem, between = name.removesuffix('.png'), '_'
    while number > 1 and (name := f'{stem}{between}{number}.png') in taken:
        between += '_'
    save_png(face, out / name)
    return name


def _find(image: np.ndarray, finder: FaceFinder, size: int) -> list[tuple[np.ndarray, Place]]:
    """Faces; where there is none, once more with a border, for those that the photograph cuts off."""
    try:
        return finder.find(image, size)
    except InputError as error:
        if len(finder.detector(image)):  # too small, or several where one is wanted
            raise
        first = error
        side = round(_BORDER * max(image.shape[:2]))
        bordered = cv2.copyMakeBorder(image, side, side, side, side, cv2.BORDER_CONSTANT)
        of_edges = copy(finder)
        of_edges.detector = lambda larger: _at_edges(finder.detector(larger), side, larger.shape)
        try:
            found = of_edges.find(bordered, size)
        except InputError:
            raise first from None
        return [(face, _moved(place, side, image)) for face, place in found]


def _at_edges(faces: Faces, side: int, shape: Sequence[int]) -> Faces:
    """Of the faces of a photograph with a border those that reach the photograph's edge, or nearly.

    What the first look has not found in the middle is no face: a border does not show it better.

    Args:
        faces: In pixels of the photograph with its border.
        side: Of the border.
        shape: Of the photograph with its border, however it is turned.
    """
    height, width = (length - 2 * side for length in shape[:2])
    near = _NEAR * min(height, width)
    low, high = faces.boxes[:, :2] - side, faces.boxes[:, 2:] - side
    kept = ((low <= near) | (high >= np.array([width, height]) - near)).any(1)
    marks = None if faces.landmarks is None else faces.landmarks[kept]
    return Faces(faces.boxes[kept], faces.scores[kept], marks)


def _moved(place: Place, side: int, image: np.ndarray) -> Place:
    """A place in a photograph with a border, in the photograph, whose edge may cut the face off."""
    box = None if place.box is None else np.array(place.box) - side
    marks = None if place.landmarks is None else np.array(place.landmarks) - side
    return Place(
        None if box is None else tuple(box.tolist()),
        None if marks is None else tuple(map(tuple, marks.tolist())),
        place.score,
        place.quality if box is None else face_quality(image, box, marks),
    )


def _as_json(place: Place) -> dict[str, Any]:
    box, marks = place.box or (), place.landmarks or ()
    return dict(
        box=[round(value, 1) for value in box],
        landmarks=[[round(value, 1) for value in point] for point in marks],
        score=None if place.score is None else round(place.score, 4),
        quality=None if place.quality is None else round(place.quality.value, 4),
    )
