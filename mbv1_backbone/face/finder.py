"""Faces in whole photographs: the detectors that can be plugged in, and which of several faces is meant."""

from __future__ import annotations

import os
import threading
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mbv1_backbone.common.choices import FACE_POLICIES as POLICIES
from mbv1_backbone.common.content import content_name
from mbv1_backbone.common.errors import InputError, one_line
from mbv1_backbone.face.found import FaceDetector, Faces, without_doubles
from mbv1_backbone.face.geometry import MISFIT, align, crop_box, fit_square, roll_and_misfit
from mbv1_backbone.face.quality import FaceQuality, face_quality
from mbv1_backbone.face.turned import look_turned
from mbv1_backbone.weights.cache import sha256_of

__all__ = [
    'CROP_SHARE',
    'MAX_ASPECT',
    'MAX_SIDE',
    'SMALL_SIDE',
    'FaceDetector',
    'FaceFinder',
    'Faces',
    'Place',
    'YuNet',
    'face_finder',
    'is_uncropped',
]

MAX_ASPECT = 1.3  # of a face crop's sides: photographs have 4 : 3 and more
MAX_SIDE = 600  # pixels of a face crop's shorter side
CROP_SHARE = (
    0.55  # root of the area of a crop's face over its shorter side; in the networks' own square it is .67
)
_EMPTY = 320  # pixels a side of an image without faces
SMALL_SIDE = 256  # pixels of the shorter side of an image that is taken for a crop though no face is found


@dataclass(frozen=True)
class Place:
    """Where in its image a face is.

    Attributes:
        box: (x1, y1, x2, y2) in pixels; None where the image is taken for the face.
        landmarks: (x, y) of each in pixels, where the detector gives them.
        score: The detector's, 0..1; None where it found nothing, or there is none.
        quality: Of the face, where one was found.
    """

    box: tuple[float, ...] | None = None
    landmarks: tuple[tuple[float, ...], ...] | None = None
    score: float | None = None
    quality: FaceQuality | None = None


class YuNet:
    """OpenCV's YuNet, from its ONNX file (https://github.com/opencv/opencv_zoo).

    Args:
        file: ``face_detection_yunet_*.onnx``.
        score_thr: Least score, 0..1.

    Threads may share one: each has a network of its own, since OpenCV's keeps the size of its input.

    Raises:
        InputError: If the file is not there, or is another network.
    """

    def __init__(self, file: str | os.PathLike[str], score_thr: float = 0.7) -> None:
        if not Path(file).is_file():
            raise InputError(f'face detector {file}: no such file')
        self.file = os.fspath(file)
        self.score_thr = score_thr
        self._threads = threading.local()
        self._threads.network = self._open()
        self._sha256 = sha256_of(file)

    @property
    def identity(self) -> str:
        """What a gallery is tied to: the content of the file."""
        return content_name(type(self).__name__, self._sha256)

    def __call__(self, image: np.ndarray) -> Faces:
        """Faces of an image, RGB uint8 (H, W, 3).

        Raises:
            InputError: If the network cannot run on it.
        """
        if not hasattr(self._threads, 'network'):
            self._threads.network = self._open()
        network = self._threads.network
        try:
            network.setInputSize(image.shape[1::-1])
            found = network.detect(np.ascontiguousarray(image[..., ::-1]))[1]
        except cv2.error as error:
            raise InputError(f'face detector {self.file}: image {image.shape}: {one_line(error)}') from error
        rows = np.zeros((0, 15), np.float32) if found is None else found
        boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], 1)
        return Faces(boxes, rows[:, 14], rows[:, 4:14].reshape(-1, 5, 2))

    def _open(self) -> Any:
        try:
            return cv2.FaceDetectorYN.create(self.file, '', (320, 320), self.score_thr)
        except cv2.error as error:
            raise InputError(f'face detector {self.file}: not a YuNet network: {error.err}') from error

    def __getstate__(self) -> dict[str, Any]:  # a network cannot be sent to another process
        return {'file': self.file, 'score_thr': self.score_thr}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


class FaceFinder:
    """Cuts the faces out of photographs.

    Args:
        detector: ``YuNet``, our ``inference.box_detector.BoxDetector``, or any function from an image to
            ``Faces``.
        policy: Of several faces, ``largest`` takes the one of the largest area, ``all`` all of them, largest
            first, ``reject`` none.
        min_side: Faces whose box is smaller, in pixels, do not count.
        crops: Take images that are face crops already as they are, by their middle square: those of a crop's
            shape (``is_uncropped``) that a face fills (``CROP_SHARE``), or that have ``min_side`` to
            ``SMALL_SIDE`` pixels and no face that is found.

    Raises:
        InputError: If the policy is none of these.
    """

    def __init__(
        self, detector: FaceDetector, policy: str = 'largest', min_side: float = 20.0, crops: bool = False
    ) -> None:
        if policy not in POLICIES:
            raise InputError(f'policy must be one of {", ".join(POLICIES)}, got {policy!r}')
        self.detector = detector
        self.policy = policy
        self.min_side = min_side
        self.crops = crops

    @property
    def identity(self) -> str:
        """What a gallery is tied to: the detector's own ``identity``, or its class."""
        return str(getattr(self.detector, 'identity', type(self.detector).__name__))

    @property
    def alignment(self) -> str:
        """How faces are cut out, in words; asks the detector about an empty image."""
        found = self.detector(np.zeros((_EMPTY, _EMPTY, 3), np.uint8))
        how = 'the square about the box' if found.landmarks is None else 'upright by five landmarks'
        return f'{how}; crops by their middle square' if self.crops else how

    def open(self) -> None:
        """Fetch and open a detector that does so at its first use; before the work, and once.

        Raises:
            InputError: If it cannot be had.
        """
        if (opened := getattr(self.detector, 'open', None)) is not None:
            opened()

    def __call__(self, image: np.ndarray, size: int) -> list[np.ndarray]:
        """The faces of an image (H, W, 3) RGB, each (size, size, 3).

        Raises:
            InputError: If there is no face, or several where the policy is ``reject``.
        """
        return [face for face, _ in self.find(image, size)]

    def find(self, image: np.ndarray, size: int) -> list[tuple[np.ndarray, Place]]:
        """The same faces, each with its place in the image.

        Raises:
            InputError: If there is no face, or several where the policy is ``reject``.
        """
        faces, order = self._look(image)
        if self.crops and self._is_crop(image, faces, order):
            return [(fit_square(image, size), _of_crop(image, faces, order))]
        if not order:
            raise InputError(self._none_found(image, faces))
        if self.policy == 'reject' and len(order) > 1:
            raise InputError(f'{len(order)} faces found, one wanted')
        chosen = order if self.policy == 'all' else order[:1]
        return [(_cut_out(image, faces, int(i), size), _place(image, faces, int(i))) for i in chosen]

    def find_all(self, image: np.ndarray, size: int) -> list[tuple[np.ndarray, Place]]:
        """Every face of an image, largest first, whatever the policy; an empty list where there is none.

        No image is taken for a crop: frames of a film are none.
        """
        faces, order = self._look(image)
        return [(_cut_out(image, faces, int(i), size), _place(image, faces, int(i))) for i in order]

    def _look(self, image: np.ndarray) -> tuple[Faces, list[np.intp]]:
        """What the detector finds, and which of it are faces that count, the largest first."""
        faces = look_turned(self.detector, image)
        widths = faces.boxes[:, 2:] - faces.boxes[:, :2]
        single = without_doubles(faces)
        order = [
            i
            for i in np.argsort(-faces.areas(), kind='stable')
            if single[i] and widths[i].max() >= self.min_side and widths[i].min() >= 2
        ]
        return faces, order

    def _none_found(self, image: np.ndarray, faces: Faces) -> str:
        """Why there is no face, in one line."""
        least, (height, width) = f'{self.min_side:g} pixels', image.shape[:2]
        if len(faces):
            return f'no face found, only {len(faces)} smaller than {least}'
        if max(height, width) < self.min_side:
            return f'no face found: the image is {width} x {height}, and a face has {least} or more'
        return 'no face found'

    def _is_crop(self, image: np.ndarray, faces: Faces, order: list[np.intp]) -> bool:
        if is_uncropped(image):
            return False
        side = min(image.shape[:2])
        if not len(faces):
            return self.min_side <= side <= SMALL_SIDE
        if not order or (self.policy != 'largest' and len(order) > 1):
            return False
        return bool(np.sqrt(faces.areas()[order[0]]) >= CROP_SHARE * side)


def is_uncropped(image: np.ndarray) -> bool:
    """Whether an image (H, W, 3) is evidently no face crop: far from square, or larger than crops are.

    Crops as data sets of faces have them are none: LFW's 250 x 250, CelebA's 178 x 218, portraits of 4 : 5.
    """
    short, long = sorted(image.shape[:2])
    return long > MAX_ASPECT * short or short > MAX_SIDE


def face_finder(detector: str | None, policy: str = 'largest') -> FaceFinder | None:
    """With YuNet's file; ``inference.face_detectors.named_finder`` takes more, and this is gone in 0.2."""
    warnings.warn(
        'face_finder is gone in 0.2: mbv1_backbone.inference.face_detectors.named_finder has taken over',
        DeprecationWarning,
        stacklevel=2,
    )
    return FaceFinder(YuNet(detector), policy) if detector else None


def _cut_out(image: np.ndarray, faces: Faces, index: int, size: int) -> np.ndarray:
    """The face, upright; the square about its box where there are no landmarks, or no face's."""
    points = faces.points(index)
    if points is None or roll_and_misfit(points)[1] > MISFIT:
        return crop_box(image, faces.boxes[index], size)
    return align(image, points, size)


def _of_crop(image: np.ndarray, faces: Faces, order: list[np.intp]) -> Place:
    """The place of a crop's face: the image itself, which has no edge that alignment would reach beyond."""
    if not order:
        return Place()
    found = _place(image, faces, int(order[0]))
    quality = found.quality and replace(found.quality, visible=1.0)
    return replace(found, box=None, landmarks=None, quality=quality)


def _place(image: np.ndarray, faces: Faces, index: int) -> Place:
    points = faces.points(index)
    marks = None if points is None else tuple(map(tuple, points.tolist()))
    quality = face_quality(image, faces.boxes[index], points)
    return Place(tuple(faces.boxes[index].tolist()), marks, float(faces.scores[index]), quality)
