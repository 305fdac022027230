"""Our detectors as finders of faces in photographs."""

from __future__ import annotations

import os

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.face.finder import Faces
from mbv1_backbone.inference.detector import Detector

__all__ = ['BoxDetector']


class BoxDetector:
    """Any MMDetection config as a face detector: boxes, no landmarks.

    Args:
        config: Of the detector.
        checkpoint: Of the detector.
        name: Its class that is a face.
        score_thr: Least score, 0..1.

    Raises:
        InputError: If the detector cannot be loaded or has no such class.
    """

    def __init__(
        self,
        config: str | os.PathLike[str],
        checkpoint: str | os.PathLike[str],
        name: str = 'face',
        score_thr: float = 0.5,
    ) -> None:
        self.detector = Detector.load(config, checkpoint)
        if name not in self.detector.classes:
            raise InputError(f'{config}: has no class {name!r}, only {", ".join(self.detector.classes)}')
        self.label = self.detector.classes.index(name)
        self.score_thr = score_thr

    def __call__(self, image: np.ndarray) -> Faces:
        """Faces of an image, RGB uint8 (H, W, 3)."""
        found = self.detector.detect([image])[0].above(self.score_thr)
        mine = found.labels == self.label
        return Faces(found.boxes[mine], found.scores[mine])
