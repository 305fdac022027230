"""Drawn films of coloured squares whose paths are known, and a network that finds them by colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mbv1_backbone.inference.detections import Detections
from mbv1_backbone.inference.detector import Detector

CLASSES = ('red', 'green', 'blue')
SIZE = (160, 120)  # width and height of a frame
SIDE = 20


@dataclass(frozen=True)
class Square:
    """A square that moves evenly: its class, and where its middle is in the first and in the last frame."""

    label: int
    start: tuple[float, float]
    end: tuple[float, float]

    def box(self, share: float) -> tuple[float, ...]:
        """x1, y1, x2, y2 after a share of the film."""
        x, y = (a + share * (b - a) for a, b in zip(self.start, self.end, strict=True))
        return x - SIDE / 2, y - SIDE / 2, x + SIDE / 2, y + SIDE / 2


PASSING = (  # one goes up, one goes down, one stays
    Square(0, (40, 105), (40, 15)),
    Square(1, (80, 15), (80, 105)),
    Square(2, (130, 30), (130, 30)),
)


def frames(squares: Sequence[Square], count: int, size: tuple[int, int] = SIZE) -> Iterator[np.ndarray]:
    """The film, RGB uint8 frames."""
    for number in range(count):
        image = np.full((size[1], size[0], 3), 30, np.uint8)
        for square in squares:
            x1, y1, x2, y2 = (round(v) for v in square.box(number / max(count - 1, 1)))
            image[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0), square.label] = 230
        yield image


class ColourDetection:
    """Finds connected areas of a class's colour: a ``DetectionNetwork`` without weights."""

    classes = CLASSES
    category_ids = (1, 2, 3)
    backend = 'colours'
    parallel = 1

    def prepare(self, image: np.ndarray, /) -> Any:
        return None

    def detect(self, batch: Sequence[tuple[np.ndarray, Any]], /) -> list[Detections]:
        return [self._found(image) for image, _ in batch]

    def _found(self, image: np.ndarray) -> Detections:
        boxes, labels = [], []
        for label in range(3):
            others = np.delete(image, label, 2).max(2)
            mask = ((image[..., label] > 120) & (others < 110)).astype(np.uint8)
            count, _, stats, _ = cv2.connectedComponentsWithStats(mask)
            for x, y, width, height, area in stats[1:count]:
                if area > 40:
                    boxes.append((x, y, x + width, y + height))
                    labels.append(label)
        scores = np.full(len(boxes), 0.9, np.float32)
        return Detections(np.array(boxes, np.float32).reshape(-1, 4), scores, np.array(labels, np.int64))


def colour_detector() -> Detector:
    return Detector(ColourDetection())


def write_mpeg4(
    path: Path, images: Iterator[np.ndarray], fps: float = 25, size: tuple[int, int] = SIZE
) -> Path:
    """Write a film by OpenCV alone."""
    film = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*'mp4v'), fps, size)
    for image in images:
        film.write(np.ascontiguousarray(image[..., ::-1]))
    film.release()
    return path


def jpeg(image: np.ndarray) -> bytes:
    return cv2.imencode('.jpg', np.ascontiguousarray(image[..., ::-1]))[1].tobytes()
