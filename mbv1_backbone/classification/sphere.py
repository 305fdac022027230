"""Distances and means on the earth, taken as a sphere."""

from __future__ import annotations

import numpy as np

__all__ = ['EARTH_RADIUS', 'great_circle', 'mean_places', 'places_around', 'unit_vectors']

EARTH_RADIUS = 6371.0088  # kilometres: the mean radius of the Earth's ellipsoid (IUGG)


def unit_vectors(places: np.ndarray) -> np.ndarray:
    """Points of the unit sphere, (N, 3), of latitudes and longitudes in degrees, (N, 2)."""
    phi, theta = np.radians(np.asarray(places, np.float64)).T
    return np.stack([np.cos(phi) * np.cos(theta), np.cos(phi) * np.sin(theta), np.sin(phi)], 1)


def great_circle(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Kilometres between places, along the sphere: (N,).

    By the haversine formula, which is exact for near places.

    Args:
        ones: Latitudes and longitudes in degrees, (N, 2).
        others: As many, or one, (1, 2).

    Example:
        >>> great_circle(np.array([[0.0, 0.0]]), np.array([[0.0, 90.0]])).round()
        array([10008.])
    """
    (lat, lon), (other_lat, other_lon) = np.radians(ones).T, np.radians(others).T
    square = (
        np.sin((other_lat - lat) / 2) ** 2
        + np.cos(lat) * np.cos(other_lat) * np.sin((other_lon - lon) / 2) ** 2
    )
    return 2 * EARTH_RADIUS * np.arcsin(np.sqrt(np.clip(square, 0.0, 1.0)))


def mean_places(places: np.ndarray, groups: np.ndarray, count: int) -> np.ndarray:
    """The middle of each group's places on the sphere: means of points in space, put back onto it.

    Means of degrees go wrong beside the poles and where longitude 180 turns into -180.

    Args:
        places: Latitudes and longitudes in degrees, (N, 2).
        groups: Of each place, (N,), 0 to ``count - 1``; none is empty.
        count: Of groups.

    Returns:
        Latitudes and longitudes in degrees, (count, 2).
    """
    sums = np.zeros((count, 3))
    np.add.at(sums, groups, unit_vectors(places))
    return _places_of(sums)


def places_around(place: np.ndarray, distance: float) -> np.ndarray:
    """Places of a square grid around one, which is as fine beside the poles as elsewhere.

    Args:
        place: Latitude and longitude in degrees, (2,).
        distance: How far the grid goes to each side, in degrees of a great circle, few.

    Returns:
        Degrees (289, 2).
    """
    [middle] = unit_vectors(place[None])
    across = np.cross(middle, np.eye(3)[np.abs(middle).argmin()])
    across /= np.linalg.norm(across)
    steps = np.radians(np.linspace(-distance, distance, 17))
    grid = steps[:, None, None] * across + steps[:, None] * np.cross(middle, across)
    return _places_of(middle + grid.reshape(-1, 3))


def _places_of(vectors: np.ndarray) -> np.ndarray:
    """Latitudes and longitudes in degrees, (N, 2), of the directions of vectors, (N, 3)."""
    x, y, z = vectors.T
    return np.degrees(np.stack([np.arctan2(z, np.hypot(x, y)), np.arctan2(y, x)], 1))
