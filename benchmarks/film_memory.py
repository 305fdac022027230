"""Memory of a long film: frames of moving boxes through tracks, lines, zones and JSON lines.

python -m benchmarks.film_memory --frames 100000
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mbv1_backbone.inference.detections import Detections
from mbv1_backbone.inference.detector import Detector

__all__ = ['resident', 'run']

_SIZE = (96, 64)  # width and height of the frames
_LIFE = 40  # frames after which a box leaves, and another one comes


class Boxes:
    """Finds three boxes that cross the frame, a new one every few frames: a network without weights."""

    classes, category_ids, backend, parallel = ('thing',), (1,), 'none', 1
    fingerprint = settings = ''
    precision = 'fp32'

    def __init__(self) -> None:
        self._frame = 0

    def prepare(self, image: np.ndarray, /) -> Any:
        """Nothing."""
        return None

    def detect(self, batch: Sequence[tuple[np.ndarray, Any]], /) -> list[Detections]:
        """The boxes of the next frames."""
        return [self._next() for _ in batch]

    def _next(self) -> Detections:
        self._frame += 1
        middles = [(2 * ((self._frame + 13 * row) % _LIFE), 12 + 20 * row) for row in range(3)]
        boxes = np.array([(x - 5, y - 5, x + 5, y + 5) for x, y in middles], np.float32)
        return Detections(boxes, np.full(3, 0.9, np.float32), np.zeros(3, np.int64))


def resident() -> float:
    """Memory of this process that is in RAM, in MiB (Linux)."""
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE') / 2**20


def run(count: int, step: int) -> Iterator[tuple[int, float]]:
    """Go through a film.

    Args:
        count: Frames of it.
        step: After so many frames the memory is taken.

    Yields:
        Frames so far, and the memory in MiB.
    """
    images = (np.full((_SIZE[1], _SIZE[0], 3), number % 256, np.uint8) for number in range(count))
    stream = Detector(Boxes()).track(
        images, lines=[(48, 0, 48, 64)], zones=[[(20, 0), (60, 0), (60, 64), (20, 64)]]
    )
    with open(os.devnull, 'w') as lines:
        for seen in stream:
            lines.write(json.dumps(dict(frame=seen.number, tracks=seen.tracks.tolist(), **seen.counts)))
            if (seen.number + 1) % step == 0:
                yield seen.number + 1, resident()


def main() -> None:
    """Print the memory as the film goes on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--frames', type=int, default=100_000)
    given = parser.parse_args()
    begun = time.monotonic()
    for number, size in run(given.frames, max(given.frames // 20, 1)):
        print(f'{number} frames: {size:.1f} MiB, {time.monotonic() - begun:.0f} s', flush=True)


if __name__ == '__main__':
    main()
