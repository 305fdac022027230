"""Outlines of the countries, and what is land: Natural Earth's at 1:110 million, in the public domain.

They lie in this package, for no package on PyPI that is kept up holds them: geodatasets, cartopy and
regionmask fetch them, and geopandas gave its own up.
"""

from __future__ import annotations

import functools
import json
from importlib.resources import files

import numpy as np
from PIL import Image, ImageDraw

__all__ = ['is_land', 'outlines']

_CELLS = 4  # of the land mask, a degree


@functools.cache
def outlines() -> tuple[np.ndarray, ...]:
    """Closed lines around the countries: longitudes and latitudes in degrees, (N, 2) each."""
    content = files('mbv1_backbone.classification') / 'data' / 'natural_earth_110m.json'
    rings = json.loads(content.read_text(encoding='utf-8'))['outlines']
    return tuple(np.array(ring, np.float64).reshape(-1, 2) for ring in rings)


def is_land(places: np.ndarray) -> np.ndarray:
    """Whether places lie on land, to about 30 km; islands smaller than that are not all there.

    Args:
        places: Latitudes and longitudes in degrees, (N, 2).

    Returns:
        bool (N,).
    """
    rows = np.clip((90 - places[:, 0]) * _CELLS, 0, 180 * _CELLS - 1).astype(np.int64)
    columns = np.clip((places[:, 1] + 180) * _CELLS, 0, 360 * _CELLS - 1).astype(np.int64)
    return _land()[rows, columns]


@functools.cache
def _land() -> np.ndarray:
    picture = Image.new('1', (360 * _CELLS, 180 * _CELLS))
    draw = ImageDraw.Draw(picture)
    for ring in outlines():
        points = (ring * (1, -1) + (180, 90)) * _CELLS
        draw.polygon([tuple(point) for point in points.tolist()], fill=1, outline=1)
    return np.asarray(picture)
