"""Films that are written: whole, in their place, with the times of their frames."""

import importlib.util

import numpy as np
import pytest
from support.films import PASSING, frames

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.video.sources import open_source
from mbv1_backbone.video.writer import FilmWriter


@pytest.fixture(params=['H.264', 'MPEG-4 (mp4v)'])
def codec(request, monkeypatch):
    if request.param == 'H.264':
        pytest.importorskip('av')
    else:
        original = importlib.util.find_spec
        monkeypatch.setattr(
            'mbv1_backbone.video.writer.find_spec', lambda name: None if name == 'av' else original(name)
        )
    return request.param


@pytest.mark.parametrize('size', [(160, 120), (161, 121)])
def test_what_is_written_is_read_back(codec, size, tmp_path):
    film = FilmWriter(tmp_path / 'new' / 'a.mp4', size, 10)
    assert film.codec == codec
    drawn = list(frames(PASSING, 12, size))
    for number, image in enumerate(drawn):
        film.write(image, number / 10)
    assert not film.path.exists()
    film.close()
    film.close()
    assert [path.name for path in film.path.parent.iterdir()] == ['a.mp4']
    found = list(open_source(film.path))
    assert len(found) == 12
    for before, after in zip(drawn, found, strict=True):
        assert np.abs(before.astype(int) - after.image[: size[1], : size[0]]).mean() < 6
    np.testing.assert_allclose([frame.seconds for frame in found], np.arange(12) / 10, atol=1e-3)


def test_frames_keep_their_uneven_times(tmp_path):
    pytest.importorskip('av')
    times = [0.0, 0.1, 0.5, 0.52, 2.0]
    film = FilmWriter(tmp_path / 'a.mp4', (160, 120), 25)
    for image, seconds in zip(frames(PASSING, 5), times, strict=True):
        film.write(image, seconds)
    film.close()
    np.testing.assert_allclose([frame.seconds for frame in open_source(film.path)], times, atol=2e-3)


def test_frames_of_another_size_are_refused(tmp_path):
    film = FilmWriter(tmp_path / 'a.mp4', (160, 120), 25)
    with pytest.raises(InputError, match=r'frames of \(160, 120\), got one of \(120, 160\)'):
        film.write(np.zeros((160, 120, 3), np.uint8), 0)
    film.close()
    assert list(tmp_path.iterdir()) == []


def test_a_film_that_a_full_disk_cut_off_is_told(tmp_path, monkeypatch):
    """OpenCV writes on without a word; what it left is no film."""
    original = importlib.util.find_spec
    monkeypatch.setattr(
        'mbv1_backbone.video.writer.find_spec', lambda name: None if name == 'av' else original(name)
    )
    film = FilmWriter(tmp_path / 'a.mp4', (160, 120), 25)
    for number, image in enumerate(frames(PASSING, 9)):
        film.write(image, number / 25)
    film._encoder.close()
    monkeypatch.setattr(film._encoder, 'close', lambda: film._temporary.write_bytes(b'cut off'))
    with pytest.raises(InputError, match=r'a\.mp4: cannot be written whole; is the disk full\?'):
        film.close()
    assert list(tmp_path.iterdir()) == []


def test_a_film_that_cannot_be_begun_leaves_nothing(tmp_path, codec):
    with pytest.raises(InputError, match='frames of 0 x 5 pixels are none'):
        FilmWriter(tmp_path / 'a.mp4', (0, 5), 25)
    assert list(tmp_path.iterdir()) == []
