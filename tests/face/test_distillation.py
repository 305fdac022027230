"""Teachers that are run once: which pictures they see, and what is kept of their answers."""

import re

import numpy as np
import pytest
from support.people import draw_people

from mbv1_backbone.cli.face_targets import _files
from mbv1_backbone.cli.main import main
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.images import read_image
from mbv1_backbone.face.distillation import (
    DistillationDataset,
    Recipes,
    Targets,
    join_embeddings,
    run_teachers,
)

PIPELINE = [dict(type='LoadRecipe', size=64), dict(type='PackFace')]


@pytest.fixture(scope='module')
def people(tmp_path_factory):
    return draw_people(tmp_path_factory.mktemp('people'))


@pytest.fixture(scope='module')
def files(people):
    return sorted(p.relative_to(people / 'images').as_posix() for p in (people / 'images').rglob('*.jpg'))


def means(faces):
    """A teacher that can be checked by hand: the mean colours of both halves."""
    halves = faces.reshape(len(faces), 64, 2, 32, 3).astype(np.float32)
    return halves.mean((1, 3)).reshape(len(faces), 6)


def test_every_face_as_it_is_and_mirrored_and_blends_of_two_different_ones(files):
    recipes = Recipes.of_files(files, blends=50, seed=3)
    assert len(recipes) == 2 * 24 + 50
    assert recipes.files[:24].tolist() == recipes.files[24:48].tolist() == files
    assert recipes.mirrored[:48].tolist() == [False] * 24 + [True] * 24
    assert (recipes.partners[:48] == '').all()
    assert (recipes.shares[:48] == 0).all()
    assert (recipes.partners[48:] != recipes.files[48:]).all()
    assert ((recipes.shares[48:] >= 0.2) & (recipes.shares[48:] <= 0.8)).all()
    again = Recipes.of_files(files, blends=50, seed=3)
    assert all((vars(again)[name] == values).all() for name, values in vars(recipes).items())


def test_a_picture_is_the_blend_that_its_recipe_says(people, files):
    recipe = Recipes(np.array(files[:1]), np.array(files[9:10]), np.array([0.25]), np.array([True]))
    one, other = (read_image(people / 'images' / name).astype(float) for name in (files[0], files[9]))
    blend = (0.75 * one + 0.25 * other)[:, ::-1]
    assert np.abs(recipe.draw(0, people / 'images', 64) - blend).max() <= 0.5 + 1e-6


def test_blends_of_one_face_are_refused():
    with pytest.raises(InputError, match='at least two faces'):
        Recipes.of_files(['a/b.jpg'], blends=1)


def test_a_cosine_of_joined_embeddings_is_the_mean_of_the_teachers_cosines():
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(30, 5)), 7 * rng.normal(size=(30, 9))

    def cosines(x):
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        return x @ x.T

    mean = (cosines(one) + cosines(two)) / 2
    every = np.ones(30, bool)
    for dims in (None, 14):  # all directions, and all of them turned
        joined = join_embeddings([one, two], every, dims)
        assert joined.dtype == np.float32
        np.testing.assert_allclose(joined @ joined.T, mean, atol=1e-5)
    fewer = join_embeddings([one, two], every, 12)
    assert fewer.shape == (30, 12)
    assert np.abs(fewer @ fewer.T - mean).max() > 1e-3  # so the check above can fail
    with pytest.raises(InputError, match='at most 14'):
        join_embeddings([one, two], every, 15)


def test_main_directions_are_those_of_the_basis():
    rng = np.random.default_rng(0)
    wide = np.concatenate([rng.normal(size=(40, 3)) @ np.eye(3, 8), rng.normal(size=(40, 8))])
    basis = np.arange(80) < 40
    kept = join_embeddings([wide], basis, 3)
    rows = wide[basis] / np.linalg.norm(wide[basis], axis=1, keepdims=True)
    np.testing.assert_allclose(kept[basis] @ kept[basis].T, rows @ rows.T, atol=1e-5)


def test_what_a_teacher_says_lies_beside_the_picture_that_it_saw(people, files, tmp_path):
    recipes = Recipes.of_files(files, blends=10)
    told = []
    targets = run_teachers({'means': means}, recipes, people / 'images', 64, None, 7, told.append)
    assert sum(told) == len(recipes)
    targets.write(tmp_path / 'targets.npz')
    data = DistillationDataset(
        data_root=str(people), targets_file=str(tmp_path / 'targets.npz'), pipeline=PIPELINE
    )
    assert len(data) == len(recipes)
    assert data.identities == tuple(f'person_{c}' for c in 'abcdef')
    for row in (0, 30, len(data) - 1):
        sample = data[row]
        seen = sample['inputs'].flip(0).permute(1, 2, 0)[None].numpy()
        said = means(seen)[0]
        np.testing.assert_allclose(sample['data_samples'].teacher, said / np.linalg.norm(said), atol=1e-3)


def test_files_that_are_no_targets_are_one_line(people, files, tmp_path):
    recipes = Recipes.of_files(files)
    path = tmp_path / 'targets.npz'
    good = Targets(recipes, np.ones((len(recipes), 4), np.float32), ('x',))
    good.write(path)
    content = dict(np.load(path))
    kinds = {
        'version 9, this release reads 1': dict(version=np.int64(9)),
        'as long as embeddings': dict(embeddings=content['embeddings'][1:]),
        'not finite': dict(embeddings=np.full_like(content['embeddings'], np.nan)),
    }
    for rule, wrong in kinds.items():
        np.savez(path, **{**content, **wrong})
        with pytest.raises(InputError, match=rule):
            Targets.read(path)
    np.savez(
        path, **{**content, 'files': np.where(content['files'] == files[3], 'a/b.jpg', content['files'])}
    )
    with pytest.raises(InputError, match=r'a/b\.jpg is not in'):
        DistillationDataset(data_root=str(people), targets_file=str(path), pipeline=PIPELINE)


def test_targets_without_the_development_people(people, tmp_path, capsys):
    arguments = [
        'faces',
        'targets',
        str(people / 'images'),
        '--leave-out',
        str(people / 'dev_identities.txt'),
    ]
    arguments += [
        '--teacher',
        'facenet_mbv1_0.25-112_color',
        '1.1',
        '.02',
        '--blends',
        '5',
        '--dims',
        '128',
    ]
    out = tmp_path / 'targets.npz'
    assert main([*arguments, '--out', str(out), '--dims', '129']) == 2
    assert 'dims must be at most 128' in capsys.readouterr().err
    assert not out.exists()
    assert main([*arguments, '--out', str(out)]) == 0
    assert '37 pictures of 16 faces, 128 dimensions' in capsys.readouterr().out
    targets = Targets.read(out)
    assert targets.teachers == ('facenet_mbv1_0.25-112_color',)
    assert not any('person_e' in name or 'person_f' in name for name in targets.recipes.files)
    np.testing.assert_allclose(np.linalg.norm(targets.embeddings, axis=1), 1, atol=1e-3)


@pytest.mark.parametrize(
    ('words', 'rule'),
    [
        (['x.param', 'wide'], 'MODEL .ZOOM .DOWN..'),
        (['x.param', '1', '2', '3'], 'MODEL .ZOOM .DOWN..'),
        (['x.param', '90'], 'ZOOM must be'),
        (['x.param'], 'x.param: no such file'),
    ],
)
def test_teachers_that_cannot_be_asked_are_one_line(people, tmp_path, capsys, words, rule):
    out = tmp_path / 'a.npz'
    assert main(['faces', 'targets', str(people / 'images'), '--teacher', *words, '--out', str(out)]) == 2
    assert re.search(rule, capsys.readouterr().err)
    assert not out.exists()


def test_a_teacher_has_a_name_for_each_view_and_none_is_asked_twice(people, tmp_path, capsys):
    out, name = tmp_path / 'a.npz', 'facenet_mbv1_0.25-112_color'
    arguments = ['faces', 'targets', str(people / 'images'), '--out', str(out), '--teacher', name]
    assert main([*arguments, '1.1', '--teacher', name, '1.1']) == 2
    assert f'{name} 1.1 is given twice' in capsys.readouterr().err
    assert main([*arguments, '--teacher', name, '1.2', '.02', '--dims', '200']) == 0
    assert Targets.read(out).teachers == (name, f'{name} 1.2 .02')


def test_people_are_left_out_at_any_depth(tmp_path):
    people = draw_people(tmp_path / 'people')
    inner = people / 'images' / 'person_e' / 'summer'
    inner.mkdir()
    source = next((people / 'images' / 'person_e').glob('*.*'))
    (inner / source.name).write_bytes(source.read_bytes())
    names = tmp_path / 'names.txt'
    names.write_text('person_e\n')
    kept = _files(people / 'images', str(names))
    assert kept
    assert not any('person_e' in name for name in kept)


def test_a_teacher_that_says_nothing_is_told_at_once(people, files):
    def blind(faces):
        return np.zeros((len(faces), 8))

    with pytest.raises(InputError, match=f'blind: its embedding of {files[0]} is zero'):
        run_teachers({'blind': blind}, Recipes.of_files(files), people / 'images', 32, 8)


def test_people_of_inner_folders_are_people_of_the_training_set(tmp_path):
    people = draw_people(tmp_path / 'people')
    images = people / 'images'
    (images / 'person_a').rename(images / 'summer')
    (images / 'person_a').mkdir()
    (images / 'summer').rename(images / 'person_a' / 'summer')
    files = sorted(p.relative_to(images).as_posix() for p in images.rglob('*.jpg'))
    recipes = Recipes.of_files(files)
    Targets(recipes, np.ones((len(recipes), 4), np.float32), ('x',)).write(tmp_path / 'targets.npz')
    data = DistillationDataset(data_root=str(people), targets_file=str(tmp_path / 'targets.npz'))
    assert {'person_a', 'person_b'} <= set(data.identities)
