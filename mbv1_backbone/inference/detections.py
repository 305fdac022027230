"""What a detector finds in an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mbv1_backbone.detection.masks import Masks

__all__ = ['Detections', 'ImageResult', 'image_ids']


@dataclass(frozen=True)
class Detections:
    """What was found in one image, by descending score.

    Attributes:
        boxes: float32 (N, 4), x1, y1, x2, y2 in pixels of the image as given.
        scores: float32 (N,), 0..1.
        labels: int64 (N,), index into the detector's ``classes``.
        landmarks: float32 (N, 5, 2) in pixels, of a face detector that finds them: eyes, nose, corners of the
            mouth, the image's left ones first; else None.
        masks: The objects' pixels in the image as given, of a detector that finds them; else None.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    landmarks: np.ndarray | None = None
    masks: Masks | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, score_thr: float) -> Detections:
        """Those with a score of at least ``score_thr``."""
        return self.chosen(self.scores >= score_thr)

    def chosen(self, which: np.ndarray) -> Detections:
        """Those that are chosen: bool (N,), or their numbers."""
        marks = None if self.landmarks is None else self.landmarks[which]
        masks = None if self.masks is None else self.masks.chosen(which)
        return Detections(self.boxes[which], self.scores[which], self.labels[which], marks, masks)


@dataclass(frozen=True)
class ImageResult:
    """An image, RGB uint8 (H, W, 3), and what was found in it."""

    image: np.ndarray
    detections: Detections


def image_ids(paths: Sequence[Path]) -> list[int]:
    """COCO's image ids from names like ``000000000139.jpg``; else 1, 2, 3, ... in order."""
    stems = [path.stem for path in paths]
    numeric = all(stem.isascii() and stem.isdigit() for stem in stems) and len(set(map(int, stems))) == len(
        stems
    )
    return [int(stem) for stem in stems] if numeric else list(range(1, len(stems) + 1))
