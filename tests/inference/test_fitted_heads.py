"""Heads fitted to teachers: a network learns its own embeddings back, and bad input is one line."""

import numpy as np
import pytest
from support.people import draw_people

from mbv1_backbone.cli.main import main
from mbv1_backbone.face.distillation import Recipes, Targets
from mbv1_backbone.inference.loading import load

NETWORK = 'facenet_mbv1_0.25-112_color'


@pytest.fixture(scope='module')
def taught(tmp_path_factory):
    """Folder of faces, and a file of what a network says of them: 24 faces, mirrored, and 400 blends."""
    folder = draw_people(tmp_path_factory.mktemp('people'), size=112)
    files = sorted(p.relative_to(folder / 'images').as_posix() for p in (folder / 'images').rglob('*.jpg'))
    recipes = Recipes.of_files(files, blends=400)
    pictures = [recipes.draw(row, folder / 'images', 112) for row in range(len(recipes))]
    teacher = load(NETWORK, kind='embedder', backend='torch', precision='fp32', finder=None)
    said = teacher.embed(pictures, batch_size=32).vectors
    Targets(recipes, said, (NETWORK,)).write(folder / 'targets.npz')
    return folder, pictures, said


def fit(folder, out, *options):
    words = ['faces', 'fit', NETWORK, str(folder / 'targets.npz'), '--crops', str(folder / 'images')]
    return main([*words, '--out', str(out), *options])


@pytest.mark.parametrize('size', [(), ('--size', '112')])
def test_a_network_learns_its_own_embeddings_back(taught, tmp_path, capsys, size):
    folder, pictures, said = taught
    out = tmp_path / 'w.safetensors'
    assert fit(folder, out, '--half', *size) == 0
    assert f'128 values fitted to {NETWORK} on 448 pictures, 0.5' in capsys.readouterr().out
    student = load(out, kind='embedder', backend='torch', precision='fp32', finder=None)
    assert (student.input_size, student.dims) == (112, 128)
    found = student.embed(pictures, batch_size=32).vectors
    assert (found * said).sum(1).mean() > 0.98
    assert (found[1:] * said[:-1]).sum(1).mean() < 0.95  # of other pictures: so that any map will not do


def test_a_part_of_the_pictures_is_drawn_by_the_seed(taught, tmp_path):
    folder, pictures, _ = taught
    vectors = []
    for number, seed in enumerate((1, 1, 2)):
        out = tmp_path / f'{number}.safetensors'
        assert fit(folder, out, '--pictures', '300', '--seed', str(seed)) == 0
        student = load(out, kind='embedder', backend='torch', precision='fp32', finder=None)
        vectors.append(student.embed(pictures[:4]).vectors)
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert np.abs(vectors[0] - vectors[2]).max() > 1e-4


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (('--pictures', '100'), '100 pictures are too few for 256 features'),
        (('--size', '8'), 'at least 32'),
    ],
)
def test_what_cannot_be_fitted_is_one_line(taught, tmp_path, capsys, options, words):
    out = tmp_path / 'w.safetensors'
    assert fit(taught[0], out, *options) == 2
    assert words in capsys.readouterr().err
    assert not out.exists()


def test_only_embedders_have_such_a_head(taught, tmp_path, capsys):
    folder, out = taught[0], tmp_path / 'w.safetensors'
    words = ['faces', 'fit', 'ssd_mbv1_0.75_tf_bccd', str(folder / 'targets.npz')]
    assert main([*words, '--crops', str(folder / 'images'), '--out', str(out)]) == 2
    assert 'not an embedder, but a detector' in capsys.readouterr().err
    assert main([*words, '--crops', str(folder / 'nobody'), '--out', str(out)]) == 2
    assert 'nobody: no such folder' in capsys.readouterr().err
