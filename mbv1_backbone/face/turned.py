"""Heads that lie or stand upside down: looked for again in the photograph as it is turned by quarters.

RetinaFace finds most of them, but it has learned faces that are nearly upright, and its landmarks of others
are off by a third of the eyes' distance and more. Of a turned photograph they are as good as of any.
"""

from __future__ import annotations

import numpy as np

from mbv1_backbone.face.found import FaceDetector, Faces, without_doubles
from mbv1_backbone.face.geometry import MISFIT, roll_and_misfit

__all__ = ['look_turned']

_ROLL = 45.0  # degrees from upright, beyond which landmarks are doubted
_UPRIGHT = 60.0  # degrees from upright, to which a second look is believed
_SAME = 0.3  # intersection over union of two boxes of one face in two views, at least


def look_turned(detector: FaceDetector, image: np.ndarray) -> Faces:
    """Faces of a photograph; where one is far from upright, of the three quarter turns of it, too.

    What is upright in the photograph stays as it was found, and costs nothing more. A face that is not, or
    whose landmarks fit no face, is taken as it is found in the view in which it is upright, if it is.

    Args:
        detector: Finds faces.
        image: RGB uint8 (H, W, 3).

    Returns:
        In pixels of the photograph as it is. The left eye is the one on the left with the face upright.
    """
    found = detector(image)
    doubted = _beyond(found, _ROLL)
    if not doubted.any():
        return found
    views = [_seen(detector, image, turn) for turn in (1, 2, 3)]
    return _joined([found, *views], doubted)


def _beyond(faces: Faces, degrees: float) -> np.ndarray:
    """Which faces, bool (N,), are further from upright, or have landmarks that are no face's."""
    beyond = np.zeros(len(faces), bool)
    for index in range(len(faces)):
        if (points := faces.points(index)) is not None:
            roll, misfit = roll_and_misfit(points)
            beyond[index] = abs(roll) > degrees or misfit > MISFIT
    return beyond


def _seen(detector: FaceDetector, image: np.ndarray, turns: int) -> Faces:
    """Faces that are upright in a photograph that is turned by quarters, in pixels of the one as it is."""
    seen = np.ascontiguousarray(np.rot90(image, turns))
    faces = detector(seen)
    upright = ~_beyond(faces, _UPRIGHT)
    boxes, marks = faces.boxes[upright], faces.landmarks
    points = np.zeros((len(boxes), 5, 2), np.float32) if marks is None else marks[upright] + 0.5
    for turn in range(turns):
        height = seen.shape[turn % 2]  # of what is turned back by a quarter
        boxes = np.stack([height - boxes[:, 3], boxes[:, 0], height - boxes[:, 1], boxes[:, 2]], 1)
        points = np.stack([height - points[..., 1], points[..., 0]], -1)
    return Faces(boxes, faces.scores[upright], points - 0.5)  # landmarks are counted from a pixel's middle


def _joined(views: list[Faces], doubted: np.ndarray) -> Faces:
    """Faces of all views, each once: undoubted as it is, else of a turned view, else as it is doubted."""
    first = views[0]
    boxes = np.concatenate([view.boxes for view in views])
    scores = np.concatenate([view.scores for view in views])
    marks = np.concatenate([view.landmarks for view in views if view.landmarks is not None])
    rank = np.concatenate([np.where(doubted, 0.0, 2.0), *(np.ones(len(view)) for view in views[1:])])
    single = without_doubles(Faces(boxes, rank + scores / 2), _SAME)
    single[: len(first)] |= ~doubted
    return Faces(boxes[single], scores[single], marks[single])
