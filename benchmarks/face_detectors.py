"""Detectors of faces side by side: who finds the face in the middle, and how long a megapixel takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from benchmarks.timing import times
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.face.finder import FaceDetector, Faces

__all__ = ['SIDE', 'measure', 'megapixel', 'shows_the_middle']

SIDE = 1000  # pixels of the square whose time is taken: a megapixel


def measure(
    detectors: Mapping[str, FaceDetector], photos: Sequence[np.ndarray], rounds: int
) -> dict[str, dict[str, float]]:
    """Recall of the face in the middle, faces in all, and milliseconds a megapixel, of each detector.

    Milliseconds are by the clock, and of the processor, all threads together.

    Args:
        detectors: By name.
        photos: RGB uint8 (H, W, 3), each with a face in its middle; put side by side they make the megapixel.
        rounds: Times that each is run.

    Raises:
        InputError: If there are no photographs.
    """
    if not photos:
        raise InputError('no photographs to find faces in')
    found: dict[str, dict[str, float]] = {}
    for name, detector in detectors.items():
        faces = [detector(photo) for photo in photos]
        hits = [shows_the_middle(some, photo) for some, photo in zip(faces, photos, strict=True)]
        found[name] = dict(recall=float(np.mean(hits)), faces=float(sum(map(len, faces))))
    image = megapixel(photos)
    for name, time in times({n: partial(d, image) for n, d in detectors.items()}, rounds).items():
        found[name] |= dict(milliseconds=1000 * time.wall, processor_ms=1000 * time.cpu)
    return found


def shows_the_middle(faces: Faces, photo: np.ndarray) -> bool:
    """Whether the middle of a photograph lies in the box of a face, which is not most of the photograph."""
    height, width = photo.shape[:2]
    middle = np.array([width, height]) / 2
    inside = ((faces.boxes[:, :2] < middle) & (middle < faces.boxes[:, 2:])).all(1)
    return bool((inside & (faces.areas() < 0.7 * width * height)).any())


def megapixel(photos: Sequence[np.ndarray]) -> np.ndarray:
    """A square of a megapixel, filled with photographs row by row, cut where they do not fit."""
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    number, top = 0, 0
    while top < SIDE:
        left, row = 0, 1
        while left < SIDE:
            photo = photos[number % len(photos)][: SIDE - top, : SIDE - left]
            image[top : top + photo.shape[0], left : left + photo.shape[1]] = photo
            left, row, number = left + photo.shape[1], max(row, photo.shape[0]), number + 1
        top += row
    return image
