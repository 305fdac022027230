"""S2's cells of the earth (https://s2geometry.io/devguide/s2cell_hierarchy), for whole arrays of coordinates.

The sphere is projected onto the six faces of a cube; each face is divided into four, 30 times over, and the
cells are numbered along a Hilbert curve, so that the number of a cell begins with that of the cell around it.
The numbers are those of Google's own library (s2geometry), whose wheels for Python take one point at a time,
and do not exist for Linux on ARM, nor for Windows.
"""

from __future__ import annotations

import re

import numpy as np

__all__ = [
    'MAX_LEVEL',
    'are_cells',
    'cell_ids',
    'cell_outline',
    'from_tokens',
    'levels_of',
    'parents',
    'tokens',
]

MAX_LEVEL = 30
_TOKEN = re.compile('[0-9a-fA-F]{1,16}')
_SIDE = 1 << MAX_LEVEL  # leaf cells along an edge of a face
_SWAP, _INVERT = 1, 2  # bits of the orientation of the Hilbert curve in a cell
# Orientation, then 2 * (bit of i) + (bit of j) -> place along the curve.
_PLACE = np.array([[0, 1, 3, 2], [0, 3, 1, 2], [2, 3, 1, 0], [2, 1, 3, 0]], np.uint64)
_QUARTER = np.array([[0, 1, 3, 2], [0, 2, 3, 1], [3, 2, 0, 1], [3, 1, 0, 2]])  # the other way round
# Place along the curve -> how the orientation changes in there.
_TURN = np.array([_SWAP, 0, 0, _INVERT | _SWAP], np.uint64)


def cell_ids(latitudes: np.ndarray, longitudes: np.ndarray) -> np.ndarray:
    """Numbers of the smallest cells, of about a square centimetre, that points lie in.

    Args:
        latitudes: (N,), degrees.
        longitudes: (N,), degrees.

    Returns:
        uint64 (N,).

    Example:
        >>> cell_ids(np.array([45.178754]), np.array([15.710051]))
        array([5144986811213898723], dtype=uint64)
    """
    face, u, v = _face_uv(latitudes, longitudes)
    i, j = _leaf_steps(u), _leaf_steps(v)
    found = face.astype(np.uint64)
    orientation = found & np.uint64(_SWAP)
    for bit in range(MAX_LEVEL - 1, -1, -1):
        shift = np.uint64(bit)
        quarter = ((i >> shift) & np.uint64(1)) << np.uint64(1) | ((j >> shift) & np.uint64(1))
        place = _PLACE[orientation, quarter]
        found = found << np.uint64(2) | place
        orientation ^= _TURN[place]
    return found << np.uint64(1) | np.uint64(1)


def parents(ids: np.ndarray, level: int) -> np.ndarray:
    """Numbers of the cells of a level, at most their own, that cells lie in.

    Args:
        ids: uint64 (N,).
        level: 0 (a face of the cube) to 30.
    """
    last = np.uint64(1) << np.uint64(2 * (MAX_LEVEL - level))
    return ids & ~(last - np.uint64(1)) & ~last | last


def levels_of(ids: np.ndarray) -> np.ndarray:
    """How often the faces are divided to get to these cells: int64 (N,), 0 to 30."""
    lowest = ids & (~ids + np.uint64(1))
    return MAX_LEVEL - np.log2(lowest.astype(np.float64)).astype(np.int64) // 2


def tokens(ids: np.ndarray) -> tuple[str, ...]:
    """S2's short names of cells: the number in hexadecimal, without the zeros at its end.

    Example:
        >>> tokens(parents(cell_ids(np.array([45.18]), np.array([15.71])), 9))
        ('4766ac',)
    """
    return tuple(f'{cell:016x}'.rstrip('0') or 'X' for cell in ids.tolist())


def from_tokens(names: list[str]) -> np.ndarray:
    """The numbers, uint64 (N,), of S2's short names.

    Raises:
        ValueError: If one is no cell's.
    """
    if other := next((name for name in names if not _TOKEN.fullmatch(name)), None):
        raise ValueError(f'not the token of an S2 cell: {other!r:.40}')
    ids: np.ndarray = np.array([int(name.ljust(16, '0'), 16) for name in names], np.uint64)
    if wrong := [name for name, good in zip(names, are_cells(ids), strict=True) if not good]:
        raise ValueError(f'not the token of an S2 cell: {wrong[0]!r:.40}')
    return ids


def are_cells(ids: np.ndarray) -> np.ndarray:
    """Whether numbers, uint64 (N,), are cells': of one of six faces, their last bit at a level's place."""
    even = (np.uint64(0x5555555555555555) & ids & (~ids + np.uint64(1))).astype(bool)
    return even & (ids >> np.uint64(61) < 6)


def cell_outline(cell: int, points: int = 8) -> np.ndarray:
    """The edge of a cell, which runs along great circles, anticlockwise.

    Args:
        cell: Its number.
        points: On each of the four sides.

    Returns:
        Latitudes and longitudes in degrees, (4 * points, 2).
    """
    level = int(levels_of(np.array([cell], np.uint64))[0])
    face = cell >> 61
    orientation, i, j = face & _SWAP, 0, 0
    for step in range(level):
        place = cell >> (2 * (MAX_LEVEL - step) - 1) & 3
        quarter = int(_QUARTER[orientation, place])
        i, j = i << 1 | quarter >> 1, j << 1 | quarter & 1
        orientation ^= int(_TURN[place])
    low_u, high_u, low_v, high_v = (_curved(k / (1 << level)) for k in (i, i + 1, j, j + 1))
    share = np.arange(points) / points
    ones = np.ones(points)
    u = np.concatenate(
        [
            low_u + share * (high_u - low_u),
            high_u * ones,
            high_u - share * (high_u - low_u),
            low_u * ones,
        ]
    )
    v = np.concatenate(
        [
            low_v * ones,
            low_v + share * (high_v - low_v),
            high_v * ones,
            high_v - share * (high_v - low_v),
        ]
    )
    x, y, z = _xyz(face, u, v)
    return np.stack([np.degrees(np.arctan2(z, np.hypot(x, y))), np.degrees(np.arctan2(y, x))], 1)


def _face_uv(latitudes: np.ndarray, longitudes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which face of the cube points lie on, and where: in -1..1 each way."""
    phi, theta = np.radians(np.asarray(latitudes, np.float64)), np.radians(np.asarray(longitudes, np.float64))
    xyz = np.stack([np.cos(phi) * np.cos(theta), np.cos(phi) * np.sin(theta), np.sin(phi)])
    size = np.abs(xyz)
    axis = np.where(size[0] > size[1], np.where(size[0] > size[2], 0, 2), np.where(size[1] > size[2], 1, 2))
    main = np.take_along_axis(xyz, axis[None], 0)[0]
    face = np.where(main < 0, axis + 3, axis)
    x, y, z = xyz
    faces = [face == k for k in range(6)]
    u = np.select(faces, [y, -x, -x, z, z, -y]) / main
    v = np.select(faces, [z, z, -y, y, -x, -x]) / main
    return face, u, v


def _xyz(face: int, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points in space of places on a face."""
    one = np.ones_like(u)
    return (
        (one, u, v),
        (-u, one, v),
        (-u, -v, one),
        (-one, -v, -u),
        (v, -one, -u),
        (v, u, -one),
    )[face]


def _leaf_steps(uv: np.ndarray) -> np.ndarray:
    """How many leaf cells lie before a place along an edge, by S2's quadratic projection."""
    root = 0.5 * np.sqrt(1 + 3 * np.abs(uv))
    share = np.where(uv >= 0, root, 1 - root)
    return np.clip(np.floor(_SIDE * share), 0, _SIDE - 1).astype(np.uint64)


def _curved(share: float) -> float:
    """The quadratic projection the other way: a share 0..1 of an edge as a place in -1..1."""
    if share >= 0.5:
        return (4 * share * share - 1) / 3
    return (1 - 4 * (1 - share) * (1 - share)) / 3
