"""Photographs and where they were taken: CSV files as people write them, and the GPS values of cameras."""

from __future__ import annotations

import logging
import math
import os
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mbv1_backbone.classification.outlines import is_land
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import shown
from mbv1_backbone.common.images import FORMATS, find_images
from mbv1_backbone.common.tables import parse_number, read_table
from mbv1_backbone.common.wording import amount

__all__ = ['COLUMNS', 'LocatedPhotos', 'gps_of', 'parse_degrees', 'read_located', 'swapped']

COLUMNS = ('file', 'latitude', 'longitude')
LIMITS = dict(latitude=90.0, longitude=180.0)
_ALIASES = {
    **dict.fromkeys(
        ('filename', 'file_name', 'image', 'img', 'img_path', 'image_path', 'img_id', 'path', 'photo'), 'file'
    ),
    **dict.fromkeys(('lat', 'lat_deg', 'latitude_deg', 'gps_latitude', 'gpslatitude'), 'latitude'),
    **dict.fromkeys(
        ('lon', 'lng', 'long', 'lon_deg', 'longitude_deg', 'gps_longitude', 'gpslongitude'), 'longitude'
    ),
}
_GPS = 0x8825  # EXIF's directory of positions, and in it:
_LATITUDE, _LONGITUDE = (1, 2, b'NS'), (3, 4, b'EW')  # tags of hemisphere and degrees (EXIF 2.32, 4.6.6)
_LOG = logging.getLogger('mbv1_backbone')


@dataclass(frozen=True, eq=False)
class LocatedPhotos:
    """Photographs with their places.

    Attributes:
        source: The CSV file or the folder that they were read from.
        files: Paths, relative to the folder of the images.
        places: Latitudes and longitudes in degrees, float64 (N, 2).
    """

    source: Path
    files: tuple[str, ...]
    places: np.ndarray

    def __len__(self) -> int:
        return len(self.files)


def read_located(
    source: str | os.PathLike[str], drawn: str | os.PathLike[str] | None = None
) -> LocatedPhotos:
    """Photographs and their places, of a CSV file or of a folder whose photographs have GPS values.

    A CSV file has the columns ``file``, ``latitude`` and ``longitude``, in decimal degrees, or others of
    their usual names: ``filename``, ``image``, ``path``; ``lat``; ``lon``, ``lng``, ``long``. Of a folder,
    photographs without GPS values are left out; the log says how many.

    Args:
        source: The file, or the folder.
        drawn: A map of cells, which is no photograph where it lies in the folder.

    Raises:
        InputError: If there are none, a value is missing, no number or out of range, or a file is named
            twice.
    """
    source = Path(source)
    found = _of_folder(source, drawn) if source.is_dir() else _of_table(source)
    if swapped(found.places, is_land):
        _LOG.warning(
            '%s: latitude and longitude look swapped: most of these places lie in the sea, and would lie on '
            'land the other way round',
            source,
        )
    if nowhere := int((found.places == 0).all(1).sum()):
        _LOG.warning(
            '%s: at latitude 0, longitude 0, which often stands for unknown: %s',
            source,
            amount(nowhere, 'photograph'),
        )
    return found


def swapped(places: np.ndarray, plausible: Any) -> bool:
    """Whether latitude and longitude have probably taken each other's place.

    Args:
        places: Latitudes and longitudes in degrees, (N, 2).
        plausible: A function of places that says of each whether a photograph may come from there, bool (N,).
    """
    turned = places[:, ::-1]
    if not len(places) or (np.abs(turned[:, 0]) > LIMITS['latitude']).any():
        return False
    return bool(plausible(places).mean() < 0.5 and plausible(turned).mean() > 0.9)


def parse_degrees(text: str, name: str) -> float:
    """A latitude or a longitude.

    Args:
        text: Decimal degrees; a comma may stand for the point.
        name: ``'latitude'`` or ``'longitude'``.

    Raises:
        InputError: If it is no number, not finite or out of range; the message does not name the file.
    """
    try:
        value = parse_number(text.replace(',', '.') if text.count(',') == 1 and '.' not in text else text)
    except ValueError:
        raise InputError(f'{name} must be in decimal degrees, got {text!r:.40}') from None
    limit = LIMITS[name]
    if not abs(value) <= limit:  # nor is NaN
        hint = ''
        if name == 'latitude' and limit < abs(value) <= LIMITS['longitude']:
            hint = ' (are latitude and longitude swapped?)'
        raise InputError(f'{name} must lie in -{limit:g}..{limit:g}, got {text}{hint}')
    return value


def gps_of(path: str | os.PathLike[str]) -> tuple[float, float] | None:
    """Latitude and longitude, in degrees, that a camera wrote into a photograph; None where there are none.

    Values that are damaged or out of range count as none.

    Raises:
        InputError: If the file is missing or no regular file.
    """
    if not Path(path).is_file():
        raise InputError(f'image {shown(path)}: no such file')
    try:
        with Image.open(path, formats=FORMATS) as image:
            values = image.getexif().get_ifd(_GPS)
        place = _degrees(values, *_LATITUDE), _degrees(values, *_LONGITUDE)
    except Exception:  # of Pillow's parsers of EXIF, which raise any kind over damaged blocks
        return None
    good = all(abs(value) <= limit for value, limit in zip(place, LIMITS.values(), strict=True))
    return place if good else None


def _degrees(values: Mapping[int, Any], side: int, tag: int, letters: bytes) -> float:
    """Degrees, minutes and seconds with their hemisphere, in degrees; NaN where they are missing or wrong."""
    parts, letter = values.get(tag), values.get(side)
    if not parts or not letter:
        return math.nan
    letter = letter.encode() if isinstance(letter, str) else bytes(letter)
    if letter[:1].upper() not in (letters[:1], letters[1:]):
        return math.nan
    whole, *sixtieths = map(float, parts)
    if whole < 0 or len(sixtieths) > 2 or not all(0 <= part <= 60 for part in sixtieths):
        return math.nan
    degrees = sum(part / 60**power for power, part in enumerate((whole, *sixtieths)))
    return -degrees if letter[:1].upper() == letters[1:] else degrees


def _is_same(path: Path, other: str | os.PathLike[str]) -> bool:
    return os.path.exists(other) and path.samefile(other)


def _of_table(path: Path) -> LocatedPhotos:
    table = read_table(path, COLUMNS, _ALIASES)
    for number, problem in table.problems.items():
        raise InputError(f'{path}, line {number}: {problem}')
    places: dict[str, tuple[float, float]] = {}
    for number, row in table.rows.items():
        file = posixpath.normpath(row['file'].replace('\\', '/'))  # as Windows writes them
        if file in places:
            raise InputError(f'{path}, line {number}: {shown(file)} is named twice')
        try:
            latitude, longitude = (parse_degrees(row[name], name) for name in LIMITS)
        except InputError as error:
            raise InputError(f'{path}, line {number}: {error}') from None
        places[file] = latitude, longitude
    if not places:
        raise InputError(f'{path}: names no photographs')
    return LocatedPhotos(path, tuple(places), np.array(list(places.values()), np.float64))


def _of_folder(folder: Path, drawn: str | os.PathLike[str] | None) -> LocatedPhotos:
    found = {path: gps_of(path) for path in find_images([folder])}
    maps = [path for path, place in found.items() if drawn and not place and _is_same(path, drawn)]
    for path in maps:
        del found[path]
    located = {path.relative_to(folder).as_posix(): place for path, place in found.items() if place}
    if not located:
        raise InputError(
            f'{folder}: none of {len(found)} photographs has GPS values; give a CSV file of '
            f'{", ".join(COLUMNS)}'
        )
    if len(located) < len(found):
        _LOG.warning(
            '%s: %s of %d left out, without GPS values',
            *(folder, amount(len(found) - len(located), 'photograph'), len(found)),
        )
    return LocatedPhotos(folder, tuple(located), np.array(list(located.values()), np.float64))
