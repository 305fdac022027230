"""Our detectors as finders of faces in photographs."""

from __future__ import annotations

import os

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.face.finder import Faces
from mbv1_backbone.inference.detections import Detections
from mbv1_backbone.inference.detector import Detector

__all__ = ['BoxDetector']


class BoxDetector:
    """A detector of ours, or any MMDetection config, as a face detector; landmarks where it has them.

    Args:
        detector: Ready to detect; or a config.
        checkpoint: Of the config.
        name: Its class that is a face.
        score_thr: Least score, 0..1.

    Raises:
        InputError: If the detector cannot be loaded or has no such class.
    """

    def __init__(
        self,
        detector: Detector | str | os.PathLike[str],
        checkpoint: str | os.PathLike[str] | None = None,
        name: str = 'face',
        score_thr: float = 0.5,
    ) -> None:
        self.detector = detector if isinstance(detector, Detector) else Detector.load(detector, checkpoint)
        if name not in self.detector.classes:
            source = 'the detector' if isinstance(detector, Detector) else os.fspath(detector)
            raise InputError(f'{source}: has no class {name!r}, only {", ".join(self.detector.classes)}')
        self.label = self.detector.classes.index(name)
        self.score_thr = score_thr

    def __call__(self, image: np.ndarray) -> Faces:
        """Faces of an image, RGB uint8 (H, W, 3)."""
        return self.faces_of(self.detector.detect([image])[0])

    def faces_of(self, detections: Detections) -> Faces:
        """The faces among what the detector found in an image."""
        found = detections.above(self.score_thr)
        mine = found.chosen(found.labels == self.label)
        return Faces(mine.boxes, mine.scores, mine.landmarks)
