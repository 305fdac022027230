"""Drawn photographs of classes: a colour and a pattern each, every photograph a little different."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ('ant', 'bee', 'cat', 'dog')
COLOURS = ((210, 50, 50), (50, 200, 60), (50, 70, 210), (210, 200, 60))


def draw_class(folder: Path, label: int, count: int, seed: int = 0, size: int = 48) -> Path:
    """Write ``COUNT`` photographs of a class into a folder."""
    folder.mkdir(parents=True)
    pattern = np.random.default_rng(label).normal(COLOURS[label], 20, (4, 4, 3))
    rng = np.random.default_rng((seed, label))
    for number in range(count):
        noisy = np.clip(pattern + rng.normal(0, 5, pattern.shape), 0, 255).astype(np.uint8)
        picture = Image.fromarray(noisy).resize((size, size + 8), Image.Resampling.BILINEAR)
        picture.save(folder / f'{number}.jpg', quality=95)
    return folder


def draw_folder(root: Path, classes: int = 3, train: int = 6, test: int = 3) -> Path:
    """Write ``train/CLASS`` and ``test/CLASS``; without ``test`` just ``CLASS``."""
    for label, name in enumerate(NAMES[:classes]):
        draw_class(root / 'train' / name if test else root / name, label, train)
        if test:
            draw_class(root / 'test' / name, label, test, seed=1)
    return root
