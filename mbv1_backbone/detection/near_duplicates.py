"""Pictures that are nearly the same, and stand in two parts of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
from PIL import Image

__all__ = ['ALIKE', 'near_duplicates', 'thumbnail']

ALIKE = 0.97  # correlation of thumbnails from which two pictures are nearly the same
_SIDE = 32
_AT_ONCE = 1024


def thumbnail(image: np.ndarray) -> np.ndarray:
    """What pictures are compared by: 32 x 32 grey values, of mean 0 and length 1; 0 of one colour.

    Args:
        image: RGB uint8 (H, W, 3).

    Returns:
        float32 (1024,).
    """
    grey = Image.fromarray(image).convert('L').resize((_SIDE, _SIDE), Image.Resampling.BOX)
    values = np.asarray(grey, dtype=np.float32).ravel()
    values -= values.mean()
    length = float(np.linalg.norm(values))
    return values / length if length > _SIDE else np.zeros_like(values)


def near_duplicates(
    thumbnails: Mapping[str, Mapping[str, np.ndarray]], alike: float = ALIKE
) -> list[tuple[str, str, str, str, float]]:
    """Pairs of pictures of different parts.

    Args:
        thumbnails: By part and name.
        alike: Correlation from which they count, 0..1.

    Returns:
        Part, name, other part, other name, correlation; the most alike first.
    """
    found = []
    for (part, mine), (other, theirs) in combinations(thumbnails.items(), 2):
        names, others = list(mine), list(theirs)
        if not names or not others:
            continue
        right = np.stack([theirs[name] for name in others]).T
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            scores = np.stack([mine[name] for name in some]) @ right
            for row, column in zip(*np.nonzero(scores >= alike), strict=True):
                found.append((part, some[row], other, others[column], float(scores[row, column])))
    return sorted(found, key=lambda pair: -pair[4])
