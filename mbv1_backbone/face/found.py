"""What a face detector found in an image, and which of it is one face twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ['FaceDetector', 'Faces', 'without_doubles']

_SPREAD = 0.05  # of a face's side: how far its landmarks lie from their middle, at least (usual: .3)
_NESTED = 0.7  # of the smaller of two boxes, in the larger one, if both may be of one face
_ONE_MIDDLE = 0.2  # of the larger one's side: how far apart their middles are then


@dataclass(frozen=True)
class Faces:
    """What a detector found in one image.

    Attributes:
        boxes: float32 (N, 4), x1, y1, x2, y2 in pixels.
        scores: float32 (N,), 0..1.
        landmarks: float32 (N, 5, 2), eyes, nose, corners of the mouth, the image's left ones first (with the
            face upright); None of a detector that finds boxes only.
    """

    boxes: np.ndarray
    scores: np.ndarray
    landmarks: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def areas(self) -> np.ndarray:
        """In square pixels, (N,)."""
        return (self.boxes[:, 2] - self.boxes[:, 0]) * (self.boxes[:, 3] - self.boxes[:, 1])

    def points(self, index: int) -> np.ndarray | None:
        """Landmarks (5, 2) of a face; None where they are none: not finite, or all about one place.

        Of a detector that was trained on boxes alone they lie at the middle of an anchor.
        """
        if self.landmarks is None or not np.isfinite(self.landmarks[index]).all():
            return None
        points: np.ndarray = self.landmarks[index]
        spread = np.sqrt(points.astype(np.float64).var(0).sum())
        return points if spread > _SPREAD * np.sqrt(self.areas()[index]) else None


FaceDetector = Callable[[np.ndarray], Faces]  # of an image, RGB uint8 (H, W, 3)


def without_doubles(faces: Faces, iou: float = 1.0) -> np.ndarray:
    """Which faces, bool (N,), are no second box of one with a higher score.

    Of a turned head detectors may give a box within a box, of so different sizes that suppression by their
    intersection over union keeps both: about one middle, and the smaller one nearly all in the larger one.

    Args:
        faces: Of one image.
        iou: Boxes of a larger intersection over union are doubles, too; by default none.
    """
    boxes, areas = faces.boxes.astype(np.float64), faces.areas().astype(np.float64)
    middles, single = (boxes[:, :2] + boxes[:, 2:]) / 2, np.ones(len(faces), bool)
    for place, one in enumerate(order := np.argsort(-faces.scores, kind='stable')):
        if not single[one]:
            continue
        rest = order[place + 1 :]
        shared = np.minimum(boxes[one, 2:], boxes[rest, 2:]) - np.maximum(boxes[one, :2], boxes[rest, :2])
        both = shared.clip(0).prod(1)
        nested = both > _NESTED * np.minimum(areas[one], areas[rest])
        apart = np.linalg.norm(middles[rest] - middles[one], axis=1)
        near = apart < _ONE_MIDDLE * np.sqrt(np.maximum(areas[one], areas[rest]))
        alike = both > iou * (areas[one] + areas[rest] - both)
        single[rest[(nested & near) | alike]] = False
    return single
