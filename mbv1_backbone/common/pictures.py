"""Writing pictures: their names in a folder, and their files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mbv1_backbone.common.files import atomic_file

__all__ = ['picture_names', 'save_png']


def picture_names(paths: Sequence[Path]) -> list[str]:
    """A file name an image: its own, numbered where names repeat."""
    width = len(str(len(paths)))
    repeated = len({path.stem for path in paths}) < len(paths)
    return [
        f'{position:0{width}}_{path.stem}.png' if repeated else f'{path.stem}.png'
        for position, path in enumerate(paths, 1)
    ]


def save_png(image: np.ndarray, path: str | Path) -> None:
    """Write an RGB uint8 image (H, W, 3), atomically; folders are made."""
    with atomic_file(path) as file:
        Image.fromarray(image).save(file, format='PNG')
