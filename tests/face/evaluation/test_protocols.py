"""Files of pairs, gallery and probes, and the figures that come out of the tools."""

import json

import numpy as np
import pytest
from PIL import Image
from support.people import draw_people

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.face.evaluation.metric import check_disjoint
from mbv1_backbone.face.evaluation.protocols import (
    Embeddings,
    Pairs,
    evaluate_gallery,
    evaluate_pairs,
    person_of,
    read_pairs,
)
from mbv1_backbone.face.files import write_embeddings


def unit(*rows):
    return np.array(rows, float)


def test_pairs_of_a_csv_file(tmp_path):
    path = tmp_path / 'p.csv'
    path.write_text('file_a,file_b,same,fold\na.jpg,b.jpg,1,0\na.jpg,c.jpg,0,1\n')
    pairs = read_pairs(path)
    assert pairs.files.tolist() == [['a.jpg', 'b.jpg'], ['a.jpg', 'c.jpg']]
    assert (pairs.same.tolist(), pairs.folds.tolist()) == ([True, False], [0, 1])


def test_lfws_own_format(tmp_path):
    path = tmp_path / 'pairs.txt'
    path.write_text('2\t1\nAnn_Lee\t1\t12\nAnn_Lee\t1\tBo\t3\nCy\t2\t4\nCy\t2\tDi\t1\n')
    pairs = read_pairs(path)
    assert pairs.files[0].tolist() == ['Ann_Lee/Ann_Lee_0001.jpg', 'Ann_Lee/Ann_Lee_0012.jpg']
    assert pairs.files[3].tolist() == ['Cy/Cy_0002.jpg', 'Di/Di_0001.jpg']
    assert (pairs.same.tolist(), pairs.folds.tolist()) == ([True, False] * 2, [0, 0, 1, 1])
    assert pairs.people() == {'Ann_Lee', 'Bo', 'Cy', 'Di'}


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('p.csv', 'file_a,file_b,same\na,b,yes\n', 'line 2: same must be 0 or 1'),
        ('p.csv', 'file_a,file_b\na,b\n', 'there is no same'),
        ('p.csv', 'file_a,file_b,same\n', 'names no pairs'),
        ('p.txt', '10\t300\nA\t1\t2\n', 'says 10 folds of 2 x 300 pairs, and has 1'),
        ('p.txt', 'A\tB\n', "not in the format of LFW's pairs.txt"),
        ('none.csv', None, 'none.csv: not a readable CSV file: No such file or directory$'),
    ],
)
def test_pairs_that_cannot_be_read(tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_pairs(tmp_path / name)


def test_files_are_found_by_path_or_by_a_name_that_only_one_has():
    table = Embeddings(['x/a.jpg', 'y/a.jpg', 'y/b.jpg'], unit([1, 0], [0, 2], [3, 3]))
    assert table.of(['y/a.jpg', 'b.jpg', 'above/y/b.jpg'])[:2].tolist()[0] == [0, 1]
    assert np.allclose(table.of(['b.jpg']), 2**-0.5)
    with pytest.raises(InputError, match=r'no embedding of a\.jpg, nor of 1 more'):
        table.of(['a.jpg', 'c.jpg', 'b.jpg'])


@pytest.mark.parametrize('value', [np.nan, np.inf, 0.0])
def test_embeddings_that_are_none_are_refused(value, tmp_path):
    with pytest.raises(InputError, match='the embedding of b is zero or not finite'):
        Embeddings(['a', 'b'], unit([1, 0], [value, 0]))


def test_verification_of_a_known_case():
    vectors = unit([1, 0], [1, 0.1], [0, 1], [0.1, 1])
    table = Embeddings(['a1', 'a2', 'b1', 'b2'], vectors)
    files = np.array([('a1', 'a2'), ('b1', 'b2'), ('a1', 'b1'), ('a2', 'b2')])
    pairs = Pairs(files, np.array([True, True, False, False]), np.array([0, 1, 0, 1]))
    figures, scores, _ = evaluate_pairs(table, pairs)
    assert scores[2] == pytest.approx(0)
    assert (figures['accuracy'], figures['auc'], figures['eer']) == (1, 1, 0)
    assert figures['tar@far=0.0001'] == 1
    assert figures['warnings'] == [
        '2 impostor pairs are too few for FAR 0.1, 0.01, 0.001, 0.0001: the rate there is that of none'
    ]


def test_identification_of_a_known_case():
    table = Embeddings(list('abcdef'), unit([1, 0], [0, 1], [0.9, 0.1], [0.4, 0.6], [0.8, 0.3], [-1, 0]))
    gallery, probes = {'a': 'A', 'b': 'B'}, {'c': 'A', 'd': 'A'}
    figures = evaluate_gallery(table, gallery, probes, {'e': 'E', 'f': 'F'})
    assert (figures['rank1'], figures['rank5'], figures['map']) == (0.5, 1, 0.75)
    assert figures['dir@fpir=0.1'] == 0.5  # c scores .994, the non-mated probe e .936
    assert figures['warnings'] == ['2 unknown probes are too few for FPIR 0.1, 0.01, 0.001']


@pytest.mark.parametrize(
    ('gallery', 'probes', 'unknown', 'message'),
    [
        ({'a': 'A'}, {'b': 'B'}, None, 'probes: B is not in the gallery'),
        ({'a': 'A'}, {'b': 'A'}, {'c': 'A'}, 'unknown: A is in the gallery'),
        ({'a': 'A'}, {'a': 'A'}, None, 'a is an image of the gallery'),
        ({}, {}, None, 'must each name an image'),
    ],
)
def test_galleries_that_are_none(gallery, probes, unknown, message):
    with pytest.raises(InputError, match=message):
        evaluate_gallery(Embeddings(['a', 'b', 'c'], np.eye(3)), gallery, probes, unknown)


def test_a_person_of_the_training_set_in_a_test_is_an_error():
    check_disjoint({'a', 'b'}, {'c'})
    with pytest.raises(InputError, match='b and 1 more people are in the training set and in the test'):
        check_disjoint({'a', 'b', 'c'}, {'c', 'b', 'd'})


@pytest.mark.parametrize(
    ('file', 'person'),
    [('Ann_Lee_0001.jpg', 'Ann_Lee'), ('Ann_Lee/x.jpg', 'Ann_Lee'), ('in/Ann_Lee/x_1.jpg', 'Ann_Lee')],
)
def test_the_person_of_a_file(file, person):
    assert person_of(file) == person


def test_the_teachers_figures_are_those_on_record(shared, run, tmp_path):
    lfw = shared / 'lfw'
    done = run(
        *('tools/evaluate_faces.py', lfw / 'teacher_dev.npz', '--pairs', lfw / 'dev_pairs.csv'),
        *('--gallery', lfw / 'dev_gallery.csv', '--probes', lfw / 'dev_probes_known.csv'),
        *('--unknown', lfw / 'dev_probes_unknown.csv', '--json', tmp_path / 'f.json'),
        *('--draw', tmp_path / 'drawn', '--images', lfw / 'images'),
    )
    figures = json.loads((tmp_path / 'f.json').read_text())
    assert figures['verification']['accuracy'] == pytest.approx(0.9945, abs=5e-4)
    assert figures['identification']['rank1'] == pytest.approx(0.992, abs=5e-4)
    assert 'accuracy       0.99' in done.stdout
    assert '911 impostor pairs are too few for FAR 0.001, 0.0001' in done.stdout
    for name in ('roc', 'distances', 'mistakes'):
        with Image.open(tmp_path / 'drawn' / f'{name}.png') as picture:
            assert picture.format == 'PNG'
            assert len(picture.convert('RGB').getcolors(1 << 24)) > 20


def test_the_tool_says_what_is_missing(run, tmp_path):
    write_embeddings(tmp_path / 'e.npz', ['a'], np.ones((1, 2)))
    done = run('tools/evaluate_faces.py', tmp_path / 'e.npz', '--gallery', 'g.csv', expect=2)
    assert done.stderr.strip() == 'error: --gallery and --probes go together, and --unknown with them'


def test_a_split_folder_can_be_evaluated(run, tmp_path):
    draw_people(tmp_path, people=26, images=3, size=16)
    done = run('tools/split_people.py', tmp_path, '--held-out', '0.9')
    assert 'people for training' in done.stdout
    files = [
        path.relative_to(tmp_path / 'images').as_posix() for path in (tmp_path / 'images').rglob('*.jpg')
    ]
    write_embeddings(tmp_path / 'e.npz', files, np.random.default_rng(0).normal(size=(len(files), 8)))
    done = run('tools/evaluate_faces.py', tmp_path / 'e.npz', '--pairs', tmp_path / 'dev_pairs.csv')
    assert 'verification' in done.stdout


def test_a_crop_stands_for_its_photograph_whatever_its_ending():
    embeddings = Embeddings(['a/1.png', 'a/2.png', 'b/2.png', 'c.d.png'], np.eye(4))
    assert embeddings.of(['1.jpg', 'c.d.jpg']).argmax(1).tolist() == [0, 3]
    for ambiguous in ('2.jpg', 'c.jpg'):
        with pytest.raises(InputError, match=f'no embedding of {ambiguous}'):
            embeddings.of([ambiguous])


def test_the_same_name_in_another_folder_is_another_file():
    table = Embeddings(['eve/7.png', 'faces/ada/8.png', 'bob/9.jpg.png', 'bob/9.tif.png'], np.eye(4))
    for file in ('ada/7.png', 'ada/7.jpg', 'faces/bob/9.gif', 'x/ada/8.png'):
        with pytest.raises(InputError, match='no embedding of'):
            table.of([file])
    files = ['7.jpg', 'x/eve/7.jpg', 'ada/8.jpg', 'bob/9.jpg', '9.tif']
    assert table.of(files).argmax(1).tolist() == [0, 0, 1, 2, 3]


def test_files_of_two_folders_do_not_share_an_embedding_without_a_folder():
    table = Embeddings(['1.png', '2.png'], np.eye(2))  # of one person's folder
    assert table.of(['ada/1.jpg', '1.jpg', 'x/ada/1.jpg', 'ada/2.jpg']).argmax(1).tolist() == [0, 0, 0, 1]
    for files in (['ada/1.jpg', 'eve/1.jpg'], ['ada/1.jpg', 'ada/2.jpg', 'eve/2.jpg']):
        with pytest.raises(InputError, match=r'one embedding for ada/(.)\.jpg and eve/\1\.jpg'):
            table.of(files)
    pairs = Pairs(np.array([('ada/1.jpg', 'eve/1.jpg')]), np.array([False]), np.array([0]))
    with pytest.raises(InputError, match='one embedding for ada'):
        evaluate_pairs(table, pairs)
