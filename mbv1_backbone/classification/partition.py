"""The earth divided into cells by where photographs were taken: small ones there, large ones elsewhere.

PlaNet (arXiv:1602.05314, section 3): a cell of S2's hierarchy with more than ``max_photos`` is divided; one
with fewer than ``min_photos`` is left out, and so are its photographs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mbv1_backbone.classification.s2_cells import (
    MAX_LEVEL,
    are_cells,
    cell_ids,
    from_tokens,
    levels_of,
    parents,
    tokens,
)
from mbv1_backbone.classification.sphere import mean_places, places_around
from mbv1_backbone.common.errors import DamagedFileError, InputError, one_line
from mbv1_backbone.common.files import write_json
from mbv1_backbone.common.wording import amount

__all__ = ['FORMAT', 'MAX_PHOTOS', 'MIN_PHOTOS', 'Partition']

FORMAT = 1  # of the file
MAX_PHOTOS, MIN_PHOTOS = 10_000, 50  # PlaNet's: 26,263 cells of 91 million photographs
_KIND = 'mbv1 cells'
_COLUMNS = ['S2 token', 'latitude', 'longitude', 'photographs']
_ROUNDED = 1.5e-7  # degrees: a place may lie so far outside of its cell; files round to a third of it
_MOST_PHOTOS = 1 << 32  # of a cell, in a checkpoint
_SETTINGS = ('max_photos', 'min_photos', 'min_level', 'left_out')


@dataclass(frozen=True, eq=False)
class Partition:
    """Cells of the earth, which are the classes of a network that says where a photograph was taken.

    Attributes:
        ids: S2's numbers of the cells, uint64 (C,), ascending; the label of a cell is its place here.
        places: Where the photographs of each were taken on the average, degrees of latitude and longitude,
            float64 (C, 2).
        photos: How many each was made of, int64 (C,).
        max_photos: A cell with more was divided.
        min_photos: A cell with fewer was left out.
        min_level: Division began with S2's cells of this level.
        left_out: Photographs that are in none of the cells.
    """

    ids: np.ndarray
    places: np.ndarray
    photos: np.ndarray
    max_photos: int = MAX_PHOTOS
    min_photos: int = MIN_PHOTOS
    min_level: int = 0
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def names(self) -> tuple[str, ...]:
        """S2's tokens of the cells."""
        return tokens(self.ids)

    @property
    def prior(self) -> np.ndarray:
        """The best prediction without looking at a photograph: the place of the cell with the most, (2,)."""
        return self.places[int(self.photos.argmax())]

    @classmethod
    def fit(
        cls,
        places: np.ndarray,
        max_photos: int = MAX_PHOTOS,
        min_photos: int = MIN_PHOTOS,
        min_level: int = 0,
    ) -> Partition:
        """Divide the earth.

        A cell at the last level, a square centimetre, stays whole however many photographs it has.

        Args:
            places: Of the photographs to train on, degrees of latitude and longitude, (N, 2).
            max_photos: A cell with more is divided (PlaNet 10,000; GeoEstimation 5000, 2000 and 1000).
            min_photos: A cell with fewer is left out (both 50).
            min_level: Of the cells to begin with; 0: the six faces of the cube.

        Raises:
            InputError: If a number is out of its range, or fewer than two cells are left.
        """
        _check_numbers(max_photos, min_photos, min_level)
        pending = np.sort(cell_ids(places[:, 0], places[:, 1]))
        kept: list[np.ndarray] = []
        for level in range(min_level, MAX_LEVEL + 1):
            found, which, counts = np.unique(parents(pending, level), return_inverse=True, return_counts=True)
            done = (counts <= max_photos) | (level == MAX_LEVEL)
            kept.append(found[done & (counts >= min_photos)])
            pending = pending[~done[which]]
            if not len(pending):
                break
        ids = np.sort(np.concatenate(kept))
        if len(ids) < 2:
            raise InputError(
                f'{amount(len(places), "photograph")}: {amount(len(ids), "cell")} of {min_photos} to '
                f'{max_photos}, and a network needs two to choose from: give less for --min-photos, or for '
                '--max-photos'
            )
        labels = _assign(ids, places)
        inside = labels >= 0
        return cls(
            ids,
            mean_places(places[inside], labels[inside], len(ids)),
            np.bincount(labels[inside], minlength=len(ids)),
            *(max_photos, min_photos, min_level),
            left_out=int((~inside).sum()),
        )

    def assign(self, places: np.ndarray) -> np.ndarray:
        """Labels int64 (N,) of places in degrees, (N, 2); -1 for those in no cell."""
        return _assign(self.ids, places)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write as JSON, atomically."""
        cells = [
            [name, round(latitude, 7), round(longitude, 7), photos]
            for name, (latitude, longitude), photos in zip(
                self.names, self.places.tolist(), self.photos.tolist(), strict=True
            )
        ]
        settings = {name: getattr(self, name) for name in _SETTINGS}
        write_json(path, dict(kind=_KIND, format=FORMAT, **settings, columns=_COLUMNS, cells=cells))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Partition:
        """Read a file of ``save``.

        Raises:
            InputError: If it is missing, of another kind or of a later format.
            DamagedFileError: If its cells are no cells, lie in one another or not around their places, or
                have other numbers of photographs than the file says.
        """
        content = _read(Path(path))
        try:
            if content['columns'] != _COLUMNS:
                raise ValueError(f'its columns are {content["columns"]!r:.80}, must be {_COLUMNS}')
            if wrong := next((row for row in content['cells'] if not _is_row(row)), None):
                raise ValueError(f'{wrong!r:.60}: not a token, latitude, longitude and whole number')
            names, latitudes, longitudes, photos = zip(*content['cells'], strict=True)
            ids = from_tokens(list(names))
            places = np.array([latitudes, longitudes], np.float64).T
            counts: np.ndarray = np.array(photos, np.int64)
            numbers = {name: _whole(content[name], name) for name in _SETTINGS}
            _check_numbers(*(numbers[name] for name in _SETTINGS[:3]))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise DamagedFileError(f'{path}: its cells cannot be read: {one_line(error)}') from error
        found = cls(ids, places, counts, **numbers)
        found.check(str(path))
        _check_counts(found, str(path))
        return found

    @classmethod
    def of_classes(
        cls, names: Sequence[str], places: Sequence[Sequence[float]], photos: Sequence[int], subject: str
    ) -> Partition:
        """The cells that an exported network says of itself, checked.

        Args:
            names: S2's tokens.
            places: Latitude and longitude of each, degrees.
            photos: How many photographs each was made of; none where it is not known, which count as one.
            subject: The file, for the message.

        Raises:
            DamagedFileError: If they are no partition.
        """
        counts: np.ndarray = np.array(photos or [1] * len(names), np.int64)
        if not len(names) == len(places) == len(counts):
            raise DamagedFileError(
                f'{subject}: {len(names)} cells, but {len(places)} places'
                + (f' and {len(counts)} numbers of photographs' if photos else '')
            )
        try:
            found = cls(from_tokens(list(names)), np.array(places, np.float64).reshape(-1, 2), counts)
        except (ValueError, TypeError) as error:
            raise DamagedFileError(f'{subject}: its cells cannot be read: {one_line(error)}') from error
        found.check(subject)
        return found

    def check(self, subject: str) -> None:
        """Check that the cells are a partition.

        Args:
            subject: What they were read from, for the message.

        Raises:
            DamagedFileError: If they are none, or the place of one does not lie in it.
        """
        ids, places = self.ids, self.places
        good = np.isfinite(places).all() and (np.abs(places) <= (90.0, 180.0)).all()
        good = good and ((self.photos > 0) & (self.photos < _MOST_PHOTOS)).all()
        good = good and are_cells(ids).all()
        if not good or len(ids) < 2 or (_first_leaves(ids)[1:] <= _last_leaves(ids)[:-1]).any():
            raise DamagedFileError(
                f'{subject}: its cells are fewer than two, not in order, lie in one another or have no place '
                'or number of photographs'
            )
        if strays := _strays(ids, places):
            latitude, longitude = places[strays[0]]
            raise DamagedFileError(
                f'{subject}: the place of cell {self.names[strays[0]]}, {latitude:g} {longitude:g}, does not '
                'lie in it'
            )


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f'{path}: no such file; mbv1 cells makes it of the training photographs')
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f'{path}: not a file of mbv1 cells: {error}') from error
    if not isinstance(content, dict) or content.get('kind') != _KIND:
        raise InputError(f'{path}: not a file of mbv1 cells')
    if content.get('format') != FORMAT:
        raise InputError(f'{path}: format {content.get("format")!r}, this version knows {FORMAT}')
    return content


def _check_counts(found: Partition, path: str) -> None:
    """Refuse a file whose cells are not as large, or as full, as it says that they were made."""
    levels = levels_of(found.ids)
    few = (found.photos < found.min_photos) | (levels < found.min_level)
    wrong = few | ((found.photos > found.max_photos) & (levels < MAX_LEVEL))
    if wrong.any():
        cell = int(wrong.argmax())
        raise DamagedFileError(
            f'{path}: cell {found.names[cell]} of level {levels[cell]} has '
            f'{amount(int(found.photos[cell]), "photograph")}, but min_photos={found.min_photos}, '
            f'max_photos={found.max_photos}, min_level={found.min_level}'
        )


def _strays(ids: np.ndarray, places: np.ndarray) -> list[int]:
    """Which cells' places do not lie in them, nor so near as rounding may have moved them."""
    out = np.flatnonzero(_assign(ids, places) != np.arange(len(ids)))
    return [int(k) for k in out if (_assign(ids, places_around(places[k], _ROUNDED)) != k).all()]


def _is_row(row: Any) -> bool:
    """Whether JSON says a cell: a text, two numbers, a whole one."""
    return (
        isinstance(row, list)
        and [type(value) for value in row[:1]] == [str]
        and all(type(value) in (int, float) for value in row[1:3])
        and [type(value) for value in row[3:]] == [int]
    )


def _whole(value: Any, name: str) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f'{name} must be a whole number, got {value!r:.40}')
    return value


def _check_numbers(max_photos: int, min_photos: int, min_level: int) -> None:
    if not 1 <= min_photos <= max_photos:
        raise InputError(
            f'min_photos must lie in 1..max_photos, got {min_photos} with max_photos={max_photos}'
        )
    if not 0 <= min_level <= MAX_LEVEL:
        raise InputError(f'min_level must lie in 0..{MAX_LEVEL}, got {min_level}')


def _assign(ids: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The place among ascending cells of the one that each point lies in, -1 where there is none."""
    leaves = cell_ids(places[:, 0], places[:, 1])
    found = np.searchsorted(_last_leaves(ids), leaves)  # the first cell that does not end before the point
    inside = found < len(ids)
    found = np.minimum(found, len(ids) - 1)
    return np.where(inside & (_first_leaves(ids)[found] <= leaves), found, -1)


def _half(ids: np.ndarray) -> np.ndarray:
    """How far the numbers of a cell's leaves go from its own to either side."""
    return (ids & (~ids + np.uint64(1))) - np.uint64(1)


def _first_leaves(ids: np.ndarray) -> np.ndarray:
    return ids - _half(ids)


def _last_leaves(ids: np.ndarray) -> np.ndarray:
    return ids + _half(ids)
