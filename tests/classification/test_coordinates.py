"""Coordinates as people and cameras write them, and what is wrong with them in one line."""

import logging

import numpy as np
import pytest
from PIL import Image

from mbv1_backbone.classification.coordinates import gps_of, parse_degrees, read_located, swapped
from mbv1_backbone.classification.outlines import is_land, outlines
from mbv1_backbone.common.errors import InputError


def photo(path, gps=None):
    image = Image.new('RGB', (8, 8))
    exif = Image.Exif()
    if gps is not None:
        exif._ifds[0x8825] = gps
        exif[0x8825] = gps
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, exif=exif)
    return path


ZAGREB = {1: 'N', 2: (45.0, 48.0, 54.0), 3: 'E', 4: (15.0, 58.0, 48.0)}


@pytest.mark.parametrize(
    'text',
    [
        'file,latitude,longitude\na.jpg,45.815,15.98\n',
        'longitude,file,latitude\n15.98,a.jpg,45.815\n',
        'filename;lat;lon\na.jpg;45,815;15,98\n',
        'Image\tLAT\tLNG\tnote\na.jpg\t45.815\t15.98\thome\n',
        '\ufeffIMG_ID,AUTHOR,LAT,LON\na.jpg,me,45.815,15.98\n',
        'path,Latitude,Long\r\n"a.jpg", 45.815 , +15.98\r\n',
        'file,gps_latitude,gps_longitude\na.jpg,4.5815e1,15.98\n',
        'name,path,file,lat,lon\nx,other.jpg,a.jpg,45.815,15.98\n',
    ],
)
def test_tables_are_read_as_people_write_them(tmp_path, text):
    (tmp_path / 'a.csv').write_text(text, encoding='utf-8')
    found = read_located(tmp_path / 'a.csv')
    assert found.files == ('a.jpg',)
    assert found.places.tolist() == [[45.815, 15.98]]


@pytest.mark.parametrize(
    ('row', 'says'),
    [
        (
            'a.jpg,91,15',
            r'line 2: latitude must lie in -90..90, got 91 \(are latitude and longitude swapped\?\)',
        ),
        ('a.jpg,-200,15', r'line 2: latitude must lie in -90..90, got -200'),
        ('a.jpg,45,180.5', r'line 2: longitude must lie in -180..180, got 180.5'),
        ('a.jpg,nan,15', r'latitude must lie in -90..90, got nan'),
        ('a.jpg,45,inf', r'longitude must lie in -180..180, got inf'),
        ('a.jpg,,15', 'line 2: latitude is empty'),
        ('a.jpg,45', 'line 2: longitude is empty'),
        (',45,15', 'line 2: file is empty'),
        ('a.jpg,45° 10 N,15', "latitude must be in decimal degrees, got '45° 10 N'"),
        ('a.jpg,4_5,15', "latitude must be in decimal degrees, got '4_5'"),
        ('a.jpg,\uff14\uff15,15', 'latitude must be in decimal degrees'),
        ('a.jpg,45,15\na.jpg,46,15', 'line 3: a.jpg is named twice'),
        ('a.jpg,45,15\n./a.jpg,46,15', 'line 3: a.jpg is named twice'),
        ('b/a.jpg,45,15\nb//c/..\\a.jpg,46,15', 'line 3: b/a.jpg is named twice'),
        ('', 'names no photographs'),
    ],
)
def test_a_wrong_row_is_one_line(tmp_path, row, says):
    (tmp_path / 'a.csv').write_text(f'file,latitude,longitude\n{row}\n', encoding='utf-8')
    with pytest.raises(InputError, match=says) as caught:
        read_located(tmp_path / 'a.csv')
    assert str(tmp_path / 'a.csv') in str(caught.value)
    assert '\n' not in str(caught.value)


def test_a_missing_column_is_named(tmp_path):
    (tmp_path / 'a.csv').write_text('file,lat\na.jpg,45\n')
    with pytest.raises(InputError, match='there is no longitude in its first line'):
        read_located(tmp_path / 'a.csv')


@pytest.mark.parametrize(('text', 'value'), [('-0.5', -0.5), ('90', 90), ('12,5', 12.5), (' 1e1 ', 10)])
def test_degrees(text, value):
    assert parse_degrees(text, 'latitude') == value


def test_swapped_columns_are_suspected(tmp_path, caplog):
    # Towns of Chile: the other way round they lie in the Antarctic Ocean.
    towns = [(-33.4, -70.6), (-36.8, -72.5), (-29.9, -71.0), (-38.7, -72.6), (-23.6, -70.0)]
    (tmp_path / 'good.csv').write_text(
        'file,lat,lon\n' + ''.join(f'{k}.jpg,{a},{b}\n' for k, (a, b) in enumerate(towns))
    )
    (tmp_path / 'bad.csv').write_text(
        'file,lat,lon\n' + ''.join(f'{k}.jpg,{b},{a}\n' for k, (a, b) in enumerate(towns))
    )
    with caplog.at_level(logging.WARNING):
        read_located(tmp_path / 'good.csv')
        assert not caplog.text
        read_located(tmp_path / 'bad.csv')
    assert 'latitude and longitude look swapped' in caplog.text
    assert not swapped(np.zeros((0, 2)), is_land)


def test_null_island_is_said(tmp_path, caplog):
    (tmp_path / 'a.csv').write_text('file,lat,lon\na.jpg,0,0\nb.jpg,45,15\n')
    with caplog.at_level(logging.WARNING):
        read_located(tmp_path / 'a.csv')
    assert 'at latitude 0, longitude 0, which often stands for unknown: 1 photograph\n' in caplog.text


@pytest.mark.parametrize(
    ('gps', 'place'),
    [
        (ZAGREB, (45.815, 15.98)),
        ({**ZAGREB, 1: 'S', 3: 'W'}, (-45.815, -15.98)),
        ({**ZAGREB, 2: (45.815, 0.0, 0.0)}, (45.815, 15.98)),
        ({**ZAGREB, 2: (95.0, 0.0, 0.0)}, None),
        ({**ZAGREB, 2: (50.0, 70.0, 0.0)}, None),
        ({**ZAGREB, 2: (50.0, 10.0, 61.0)}, None),
        ({**ZAGREB, 2: (10.0, 60.0, 0.0)}, (11.0, 15.98)),
        ({**ZAGREB, 1: 'X'}, None),
        ({2: (45.0, 48.0, 54.0), 4: (15.0, 58.0, 48.0)}, None),
        ({1: 'N', 3: 'E'}, None),
        (None, None),
    ],
)
def test_gps_values_of_cameras(tmp_path, gps, place):
    found = gps_of(photo(tmp_path / 'a.jpg', gps))
    assert found is None if place is None else found == pytest.approx(place, abs=1e-6)


def test_damaged_files_have_no_gps_values_and_missing_ones_are_refused(tmp_path):
    (tmp_path / 'a.jpg').write_bytes(b'\xff\xd8\xff\xe1\x00\x10Exif\0\0MM')
    assert gps_of(tmp_path / 'a.jpg') is None
    with pytest.raises(InputError, match='no such file'):
        gps_of(tmp_path / 'b.jpg')


def test_a_folder_of_photographs_is_read_by_their_gps_values(tmp_path, caplog):
    photo(tmp_path / 'trip' / 'a.jpg', ZAGREB)
    photo(tmp_path / 'b.jpg')
    with caplog.at_level(logging.WARNING):
        found = read_located(tmp_path)
    assert found.files == ('trip/a.jpg',)
    assert found.places == pytest.approx(np.array([[45.815, 15.98]]))
    assert '1 photograph of 2 left out, without GPS values' in caplog.text
    (tmp_path / 'trip' / 'a.jpg').unlink()
    with pytest.raises(InputError, match='none of 1 photographs has GPS values'):
        read_located(tmp_path)


@pytest.mark.parametrize(
    ('place', 'land'),
    [((48.9, 2.3), True), ((-25, 134), True), ((0, -30), False), ((-80, 0), True), ((89.9, 0), False)],
)
def test_land_and_sea(place, land):
    assert is_land(np.array([place], np.float64)).tolist() == [land]


def test_outlines_are_closed():
    assert len(outlines()) == 288
    assert all((ring[0] == ring[-1]).all() for ring in outlines())
