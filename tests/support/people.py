"""A few drawn people: each a pattern of their own, each image a little different."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def draw_people(folder: Path, people: int = 6, images: int = 4, size: int = 64, seed: int = 0) -> Path:
    """Write ``images/PERSON/PERSON_NNNN.jpg`` and lists of two thirds of the people and the rest."""
    rng = np.random.default_rng(seed)
    names = [f'person_{letter}' for letter in 'abcdefghijklmnopqrstuvwxyz'[:people]]
    for name in names:
        pattern = rng.integers(30, 226, (4, 4, 3), dtype=np.uint8)
        place = folder / 'images' / name
        place.mkdir(parents=True)
        for number in range(1, images + 1):
            noisy = np.clip(pattern + rng.normal(0, 12, (4, 4, 3)), 0, 255).astype(np.uint8)
            face = Image.fromarray(noisy).resize((size, size), Image.Resampling.BILINEAR)
            face.save(place / f'{name}_{number:04d}.jpg', quality=95)
    cut = people * 2 // 3
    (folder / 'train_identities.txt').write_text('\n'.join(names[:cut]) + '\n')
    (folder / 'dev_identities.txt').write_text('\n'.join(names[cut:]) + '\n')
    return folder


def write_pairs(folder: Path) -> Path:
    """``dev_pairs.csv``: of the held-out people, pairs of each person and across, in two folds."""
    names = (folder / 'dev_identities.txt').read_text().split()
    rows = ['file_a,file_b,same,fold']
    for index, name in enumerate(names):
        other = names[(index + 1) % len(names)]
        rows.append(f'{name}_0001.jpg,{name}_0002.jpg,1,{index % 2}')
        rows.append(f'{name}_0003.jpg,{other}_0004.jpg,0,{index % 2}')
    path = folder / 'dev_pairs.csv'
    path.write_text('\n'.join(rows) + '\n')
    return path
