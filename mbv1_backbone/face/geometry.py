"""Where a face lies in the picture that the network sees."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = [
    'BOX_MARGIN',
    'LANDMARKS',
    'MISFIT',
    'align',
    'crop_box',
    'fit_square',
    'roll_and_misfit',
    'similarity',
    'umeyama',
]


def fit_square(image: np.ndarray, size: int) -> np.ndarray:
    """The middle square of an image (H, W, C) uint8, as (size, size, C).

    Averages over areas where it shrinks, so that a large photograph keeps no moire.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    image = image[top : top + side, left : left + side]
    if side == size:
        return np.ascontiguousarray(image)
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_LINEAR)


def similarity(
    source: int,
    target: int,
    scale: float = 1.0,
    shift: tuple[float, float] = (0.0, 0.0),
    degrees: float = 0.0,
) -> np.ndarray:
    """The matrix, float64 (2, 3), that maps a square image of side ``source`` onto one of side ``target``.

    Args:
        source: Pixels.
        target: Pixels.
        scale: Above 1 zooms in.
        shift: Right and down, in shares of the side.
        degrees: Counter-clockwise, about the middle.
    """
    factor = scale * target / source
    middle = (source / 2 - 0.5, source / 2 - 0.5)
    matrix = np.array(cv2.getRotationMatrix2D(middle, degrees, factor), np.float64)
    matrix[:, 2] += target / 2 - source / 2 + target * np.asarray(shift)
    return matrix


# Where eyes, nose and corners of the mouth lie in the loose square that the networks here are trained on,
# that of LFW's aligned images (their middle 160 of 250 pixels), in shares of its side, the left eye first.
# The points themselves are ArcFace's (arXiv:1801.07698) for 112 pixels, a square 1.18 times tighter.
_ARCFACE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
LANDMARKS = ((_ARCFACE / 112 - 0.5) / 1.18 + (0.5, 0.45)).astype(np.float64)
BOX_MARGIN = 1.5  # sides of a detector's tight box in that square
MISFIT = 0.5  # of landmarks, from which they are no face's: the small ones of a street have up to .48


def align(image: np.ndarray, landmarks: np.ndarray, size: int) -> np.ndarray:
    """The face as the networks here want it, turned upright.

    Args:
        image: uint8 (H, W, C).
        landmarks: (5, 2), x and y in pixels: eyes, nose, corners of the mouth, the image's left ones first.
        size: Side of the result, in pixels.

    Returns:
        uint8 (size, size, C); what lies outside the image is black.

    Raises:
        ValueError: If the landmarks are not five finite points, or all at one place.
    """
    return _warp(image, umeyama(np.asarray(landmarks, np.float64), LANDMARKS * size), size)


def crop_box(image: np.ndarray, box: np.ndarray, size: int) -> np.ndarray:
    """The square about a tight box, as loose as ``align`` has it; for detectors without landmarks.

    Args:
        image: uint8 (H, W, C).
        box: x1, y1, x2, y2 in pixels.
        size: Side of the result, in pixels.
    """
    x1, y1, x2, y2 = map(float, box)
    factor = size / (BOX_MARGIN * max(x2 - x1, y2 - y1, 1.0))
    middle = np.array([(x1 + x2) / 2, (y1 + y2) / 2])
    matrix = np.column_stack([np.eye(2) * factor, size / 2 - factor * middle])
    return _warp(image, matrix, size)


def umeyama(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The similarity (turn, one scale, shift), float64 (2, 3), that takes points nearest to others.

    Least squares, without mirroring (Umeyama 1991, https://doi.org/10.1109/34.88573). In the plane, with
    complex numbers, it is one division.

    Args:
        source: (N, 2).
        target: (N, 2).

    Raises:
        ValueError: If shapes differ, a value is not finite, or all points of the source are one.
    """
    if source.shape != target.shape or source.ndim != 2 or source.shape[1] != 2:
        raise ValueError(f'landmarks must be {target.shape}, got {source.shape}')
    if not np.isfinite(source).all():
        raise ValueError('landmarks must be finite')
    centre_s, centre_t = source.mean(0), target.mean(0)
    s, t = ((points - centre) @ (1, 1j) for points, centre in ((source, centre_s), (target, centre_t)))
    spread = (np.abs(s) ** 2).sum()
    if not spread > 0:
        raise ValueError('landmarks must not all lie at one place')
    turn = (np.conj(s) * t).sum() / spread
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.column_stack([linear, centre_t - linear @ centre_s])


def roll_and_misfit(landmarks: np.ndarray) -> tuple[float, float]:
    """How far a face is turned in the picture's plane, and how far its landmarks are from any face's.

    Args:
        landmarks: (5, 2), x and y in pixels, as ``align`` takes them.

    Returns:
        Degrees from upright, -180..180, clockwise where positive; and the root of the mean square distance of
        the landmarks from the usual face that fits them best, in distances of its eyes.

    Raises:
        ValueError: If the landmarks are not five finite points, or all at one place.
    """
    points = np.asarray(landmarks, np.float64)
    matrix = umeyama(points, LANDMARKS)
    off = points @ matrix[:, :2].T + matrix[:, 2] - LANDMARKS
    misfit = np.sqrt((off**2).sum(1).mean()) / np.linalg.norm(LANDMARKS[1] - LANDMARKS[0])
    return float(np.degrees(np.arctan2(-matrix[1, 0], matrix[0, 0]))), float(misfit)


def _warp(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """One resampling; an image that is shrunk more than twice is averaged down first."""
    factor = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if factor < 0.5:
        smaller = (max(1, round(image.shape[1] * factor * 2)), max(1, round(image.shape[0] * factor * 2)))
        scale = np.array(smaller) / (image.shape[1], image.shape[0])
        image = cv2.resize(image, smaller, interpolation=cv2.INTER_AREA)
        # pixel centres: x' + .5 = scale * (x + .5)
        back = np.column_stack([np.diag(1 / scale), 0.5 / scale - 0.5])
        matrix = matrix @ np.vstack([back, (0, 0, 1)])
    return cv2.warpAffine(image, matrix, (size, size))
