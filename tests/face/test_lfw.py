"""LFW from a folder, and from where scikit-learn keeps it."""

import numpy as np
import pytest
from PIL import Image

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.face.evaluation.protocols import read_pairs
from mbv1_backbone.face.lfw import cut_lfw, fetch_lfw


def photograph(path, middle=200):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.zeros((250, 250, 3), np.uint8)
    image[45:205, 45:205] = middle
    Image.fromarray(image).save(path, quality=95)


def test_the_middle_is_cut_out_and_the_pairs_come_along(tmp_path):
    home = tmp_path / 'home' / 'lfw_funneled'
    photograph(home / 'Ann_Lee' / 'Ann_Lee_0001.jpg')
    photograph(home / 'Bo' / 'Bo_0002.jpg')
    (home.parent / 'pairs.txt').write_text('1\t1\nAnn_Lee\t1\t2\nAnn_Lee\t1\tBo\t2\n')
    assert cut_lfw(home, tmp_path / 'out') == 2
    with Image.open(tmp_path / 'out' / 'images' / 'Bo' / 'Bo_0002.jpg') as image:
        assert image.size == (160, 160)
        assert np.array(image).min() > 180
    assert len(read_pairs(tmp_path / 'out' / 'pairs.txt').same) == 2
    with pytest.raises(InputError, match='is not an empty folder'):
        cut_lfw(home, tmp_path / 'out')


def test_what_has_no_people(tmp_path):
    with pytest.raises(InputError, match='no images of people'):
        cut_lfw(tmp_path, tmp_path / 'out')
    with pytest.raises(InputError, match='no such folder'):
        cut_lfw(tmp_path / 'none', tmp_path / 'out')


def test_scikit_learns_copy_is_not_fetched_again(tmp_path):
    home = tmp_path / 'lfw_home'
    for number in range(1, 202):
        photograph(home / 'lfw_funneled' / 'Ann' / f'Ann_{number:04d}.jpg')
    for name in ('pairs.txt', 'pairsDevTrain.txt', 'pairsDevTest.txt'):
        (home / name).write_text('')
    assert fetch_lfw(tmp_path) == home / 'lfw_funneled'
