"""Errors by group: a count of pairs, and copies that are the face and yet another picture."""

import json
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from mbv1_backbone.cli.main import main
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.face.evaluation.groups import altered, rates_by_group


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize('far', [0.02, 0.1, 0.3])
def test_rates_are_counts_of_pairs(far):
    rng = np.random.default_rng(0)
    centre = {'x': rng.normal(size=8), 'y': np.zeros(8)}  # x's people look alike
    labels = ['x'] * 12 + ['y'] * 20 + ['z']
    faces = unit(np.stack([rng.normal(size=8) + centre.get(label, 0) for label in labels]))
    copies = unit(faces + 0.3 * rng.normal(size=faces.shape))
    found = rates_by_group(faces, copies, labels, far)
    pairs = list(combinations(range(33), 2))
    scores = {(a, b): float(faces[a] @ faces[b]) for a, b in pairs}
    accepted = sum(score >= found.threshold for score in scores.values())
    assert accepted == int(far * len(pairs))
    assert [group.name for group in found.groups] == ['x', 'y', 'z']
    for group in found.groups:
        mine = [i for i, label in enumerate(labels) if label == group.name]
        inside = [scores[pair] >= found.threshold for pair in combinations(mine, 2)]
        assert group.faces == len(mine)
        assert group.fmr == pytest.approx(np.mean(inside)) if inside else np.isnan(group.fmr)
        rejected = [float(faces[i] @ copies[i]) < found.threshold for i in mine]
        assert group.fnmr == pytest.approx(np.mean(rejected))
    assert found.groups[0].fmr > found.groups[1].fmr


@pytest.mark.parametrize('far', [0.01, 0.2, 0.3, 0.5])
@pytest.mark.parametrize('alike', [40, 12, 9])
def test_of_equal_scores_no_more_than_the_rate_are_accepted(far, alike):
    faces = unit(np.random.default_rng(0).normal(size=(40, 8)))
    faces[:alike] = faces[0]  # so many have one embedding
    found = rates_by_group(faces, faces, ['x', 'y'] * 20, far)
    scores = np.concatenate([faces[row + 1 :] @ faces[row] for row in range(39)])
    accepted = [(scores >= value).mean() for value in np.unique(scores)] + [0.0]
    assert found.fmr == max(share for share in accepted if share <= far)
    by_group = sum(group.fmr * 190 for group in found.groups)  # 20 faces each
    assert by_group <= found.fmr * len(scores) + 1e-9


def test_too_few_faces_for_a_rate_are_refused():
    with pytest.raises(InputError, match='3 faces make 3 pairs, too few'):
        rates_by_group(np.eye(3), np.eye(3), ['a'] * 3)


def test_a_copy_is_the_same_face_and_another_picture():
    rng = np.random.default_rng(1)
    coarse = rng.integers(40, 216, (6, 6, 3), dtype=np.uint8)
    face, other = (
        np.asarray(Image.fromarray(part).resize((96, 96), Image.Resampling.BILINEAR))
        for part in (coarse, coarse[::-1])
    )

    def likeness(a, b):
        return np.corrcoef(a.astype(float).ravel(), b.astype(float).ravel())[0, 1]

    copies = [altered(face, rng) for _ in range(20)]
    assert all(copy.shape == face.shape and copy.dtype == np.uint8 for copy in copies)
    assert np.mean([likeness(face, copy) for copy in copies]) > 0.7
    assert np.mean([likeness(other, copy) for copy in copies]) < 0.5
    assert len({copy.tobytes() for copy in copies}) == 20
    again = altered(face, np.random.default_rng(5))
    assert (again == altered(face, np.random.default_rng(5))).all()


@pytest.fixture
def faces(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(12):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        coarse.resize((64, 64), Image.Resampling.BILINEAR).save(tmp_path / f'{number}.png')
    lines = [f'{number}.jpg,{number % 2},{number % 3}' for number in range(12)]
    (tmp_path / 'faces.csv').write_text('\n'.join(['file,Gender,race', *lines]))
    return tmp_path


def test_the_verb_prints_each_column_and_writes_the_figures(faces, capsys):
    out = faces / 'groups.json'
    words = [
        'faces',
        'groups',
        'facenet_mbv1_0.25-112_color',
        str(faces / 'faces.csv'),
        '--root',
        str(faces),
    ]
    assert main([*words, '--by', 'Gender', 'race', '--far', '.1', '--out', str(out)]) == 0
    said = capsys.readouterr().out
    assert said.count('false match rate') == 5
    figures = json.loads(out.read_text())
    assert [group['faces'] for group in figures['Gender']['groups']] == [6, 6]
    assert [group['faces'] for group in figures['race']['groups']] == [4, 4, 4]
    (faces / '7.png').unlink()
    assert main([*words, '--by', 'race', '--out', str(out)]) == 2
    assert '7.jpg: no such file, nor 7.png' in capsys.readouterr().err


@pytest.mark.parametrize('far', [0.0, 1.0])
def test_a_rate_of_none_or_all_is_refused(far):
    faces = unit(np.eye(6))
    with pytest.raises(InputError, match=f'far must lie between 0 and 1, got {far:g}'):
        rates_by_group(faces, faces, ['a'] * 6, far)
