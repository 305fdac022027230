"""How well a face that was found can be recognised: by size, sharpness, pose and wholeness."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mbv1_backbone.face.geometry import LANDMARKS, MISFIT, align, crop_box, roll_and_misfit, umeyama

__all__ = ['FaceQuality', 'face_quality', 'frontality', 'sharpness']

_ENOUGH = 80.0  # pixels of a face's side, from which more does not help the networks here
_SIDE = 96  # pixels of the square in which sharpness is measured
_SHARP = 0.1  # of the measure below, at which half is reached
_INNER = slice(12, 84)  # of that square: the face, forehead and chin included
_CUT = 0.2  # share of it beyond the photograph's edge, from which a face is of no use


@dataclass(frozen=True)
class FaceQuality:
    """Quality of a face.

    Attributes:
        side: Root of the area of its box, in pixels.
        sharpness: 0..1; a face that is enlarged from few pixels, or out of focus, is near 0.
        pose: 0..1, 1 from the front; None of a detector without landmarks.
        visible: Share of the face that lies in the photograph, 0..1; 1 of crops that are taken as they are.
    """

    side: float
    sharpness: float
    pose: float | None
    visible: float = 1.0

    @property
    def value(self) -> float:
        """All in one, 0..1: the product of pose, sharpness, the side's share of 80 pixels, and wholeness.

        The last is 1 of a face that is all in the photograph, and 0 where a fifth of it or more is not.
        """
        whole = max(0.0, 1 - (1 - self.visible) / _CUT)
        pose = 1.0 if self.pose is None else self.pose
        return min(1.0, self.side / _ENOUGH) * self.sharpness * pose * whole

    def __str__(self) -> str:
        pose = '' if self.pose is None else f', pose {self.pose:.2f}'
        cut = '' if self.visible > 0.995 else f', {1 - self.visible:.0%} beyond the edge'
        return f'{self.value:.2f} (side {self.side:.0f} pixels, sharpness {self.sharpness:.2f}{pose}{cut})'


def face_quality(image: np.ndarray, box: np.ndarray, landmarks: np.ndarray | None) -> FaceQuality:
    """Quality of a face of an image.

    Args:
        image: uint8 (H, W, 3), RGB.
        box: x1, y1, x2, y2 in pixels.
        landmarks: (5, 2) in pixels, as ``Faces`` has them; None where there are none.
    """
    x1, y1, x2, y2 = map(float, box)
    side = float(np.sqrt(max(x2 - x1, 0.0) * max(y2 - y1, 0.0)))
    cut = crop_box(image, box, _SIDE) if landmarks is None else align(image, landmarks, _SIDE)
    pose = None if landmarks is None else frontality(landmarks)
    return FaceQuality(side, sharpness(cut), pose, _visible(image.shape[:2], box, landmarks))


def _visible(shape: tuple[int, ...], box: np.ndarray, landmarks: np.ndarray | None) -> float:
    """Share of a face within an image of this shape: of its aligned square's middle, or of its box.

    Detectors may cut their boxes off at the edge; landmarks lie where the face is.
    """
    height, width = shape
    if landmarks is None:
        x1, y1, x2, y2 = map(float, box)
        inside = max(0.0, min(x2, width) - max(x1, 0.0)) * max(0.0, min(y2, height) - max(y1, 0.0))
        return inside / max((x2 - x1) * (y2 - y1), 1e-9)
    matrix = umeyama(np.asarray(landmarks, np.float64), LANDMARKS * _SIDE)
    x, y = (grid[_INNER, _INNER].ravel() for grid in np.meshgrid(np.arange(_SIDE), np.arange(_SIDE)))
    at_x, at_y = np.linalg.solve(matrix[:, :2], np.stack([x, y]) - matrix[:, 2:])
    inside = (at_x > -1) & (at_y > -1) & (at_x < width) & (at_y < height)
    return float(inside.mean())


def sharpness(face: np.ndarray) -> float:
    """Sharpness of a cut-out face, uint8 (S, S, 3), 0..1.

    The variance of the Laplacian (Pech-Pacheco et al. 2000, https://doi.org/10.1109/ICPR.2000.903548) of the
    middle of the face, over the variance of its brightness, so that contrast does not count.
    """
    gray = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).astype(np.float32)
    edge = len(gray) // 4
    inner = gray[edge:-edge, edge:-edge]
    contrast = float(inner.var())
    if contrast < 1.0:
        return 0.0
    measure = float(cv2.Laplacian(inner, cv2.CV_32F).var()) / contrast
    return measure / (measure + _SHARP)


def frontality(landmarks: np.ndarray) -> float:
    """How much a face looks into the camera, 0..1, by where its nose is between eyes and mouth.

    Turned to a side, the nose leaves the line through the middles of eyes and mouth; up or down, it leaves
    its place along that line. Half the distance of the eyes, or a third of that of eyes and mouth, is 0. So
    are landmarks that no face has (``MISFIT``), as detectors give them of heads that are upside down.

    Args:
        landmarks: (5, 2) in pixels: eyes, nose, corners of the mouth, the image's left ones first.
    """
    if np.ptp(landmarks, axis=0).any() and roll_and_misfit(landmarks)[1] > MISFIT:
        return 0.0
    sideways, along = _nose(np.asarray(landmarks, np.float64))
    usual = _nose(LANDMARKS)[1]
    turned, tilted = abs(sideways) / 0.5, abs(along - usual) / (1 / 3)
    return float(max(0.0, 1 - turned) * max(0.0, 1 - tilted))


def _nose(points: np.ndarray) -> tuple[float, float]:
    """Across, in shares of the eyes' distance, and along the way from the eyes (0) to the mouth (1)."""
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    down, wide = mouth - eyes, float(np.linalg.norm(points[1] - points[0]))
    length = float(np.linalg.norm(down))
    if not (wide > 0 and length > 0):
        return 1.0, 1.0
    nose = points[2] - eyes
    across = float(nose[0] * down[1] - nose[1] * down[0]) / length
    return across / wide, float(nose @ down) / length**2
