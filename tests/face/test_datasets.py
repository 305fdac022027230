"""Folders of people, lists, teachers' files, P x K batches; and what is wrong with them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.people import draw_people

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.face import FaceDataset, PKBatchSampler
from mbv1_backbone.face.evaluation.splits import split_people, write_protocol
from mbv1_backbone.face.files import read_embeddings, read_names, scan_people

LOAD = [dict(type='LoadFace', size=32), dict(type='PackFace')]


@pytest.fixture
def people(tmp_path):
    return draw_people(tmp_path)


def test_a_folder_of_people(people):
    data = FaceDataset(data_root=str(people), pipeline=LOAD)
    assert len(data) == 24
    assert data.identities == tuple(f'person_{c}' for c in 'abcdef')
    sample = data[5]
    assert sample['inputs'].shape == (3, 32, 32)
    assert sample['inputs'].dtype == torch.uint8
    assert (sample['data_samples'].label, sample['data_samples'].identity) == (1, 'person_b')
    assert sample['data_samples'].file == 'person_b/person_b_0002.jpg'


def test_a_list_of_people_keeps_only_these_and_numbers_them_anew(people):
    data = FaceDataset(data_root=str(people), identities_file='dev_identities.txt')
    assert data.identities == ('person_e', 'person_f')
    assert data.labels.tolist() == [0] * 4 + [1] * 4


def test_a_csv_file_with_bare_names_or_paths(people):
    (people / 'list.csv').write_text(
        'file,identity\nperson_a_0001.jpg,person_a\nperson_b/person_b_0003.jpg,Frau Ä\n', encoding='utf-8'
    )
    data = FaceDataset(data_root=str(people), ann_file='list.csv', pipeline=LOAD)
    assert data.identities == ('Frau Ä', 'person_a')
    assert [data[i]['data_samples'].label for i in range(2)] == [1, 0]


def test_people_with_few_images_can_be_left_out(people):
    (people / 'images' / 'person_a' / 'person_a_0001.jpg').unlink()
    data = FaceDataset(data_root=str(people), min_images=4)
    assert data.identities == tuple(f'person_{c}' for c in 'bcdef')


def test_each_image_has_its_own_teacher(people):
    names = sorted(path.name for path in people.rglob('*.jpg'))
    np.savez(people / 't.npz', files=names, embeddings=np.arange(1.0, 25)[:, None] * np.ones(3))
    data = FaceDataset(data_root=str(people), teacher_file='t.npz', pipeline=LOAD)
    assert data[6]['data_samples'].teacher.tolist() == [7, 7, 7]
    np.savez(people / 'few.npz', files=names[:-1], embeddings=np.ones((23, 3)))
    with pytest.raises(InputError, match=r'few\.npz: no embedding of person_f/person_f_0004\.jpg'):
        FaceDataset(data_root=str(people), teacher_file='few.npz')


def test_partners_are_other_images(people):
    data = FaceDataset(data_root=str(people), partners=True)
    drawn = {data.get_data_info(0)['partner_path'] for _ in range(40)}
    assert len(drawn) > 5


WRONG = [
    (dict(data_root='nowhere'), 'nowhere/images: no such folder'),
    (dict(identities_file='x.txt'), 'x.txt: not a readable list of names'),
    (dict(identities_file='strangers.txt'), 'strangers.txt: no image of Zoe in .*images, nor of 0 more'),
    (dict(ann_file='twice.csv'), 'twice.csv, line 3: a.jpg is named twice'),
    (dict(ann_file='columns.csv'), 'columns.csv: must have the columns file, identity; there is no identity'),
    (dict(ann_file='empty.csv'), 'empty.csv, line 2: identity is empty'),
    (dict(min_images=9), 'images: no images of people'),
    (
        dict(data_prefix=dict(images='images')),
        "data_prefix must name the folder of the images under 'img', got",
    ),
    (dict(teacher_file='nan.npz'), 'nan.npz: the embedding of a.jpg is zero or not finite'),
    (dict(teacher_file='shape.npz'), 'shape.npz: embeddings must be'),
    (dict(teacher_file='twice.npz'), 'twice.npz: a file is named twice'),
    (dict(teacher_file='text.npz'), 'text.npz: not an .npz file with files, embeddings'),
    (dict(teacher_file='pickle.npz'), 'pickle.npz: not an .npz file'),
]


@pytest.mark.parametrize(('options', 'message'), WRONG)
def test_what_is_wrong_is_said_in_a_line(people, options, message):
    (people / 'strangers.txt').write_text('person_a\nZoe\n')
    (people / 'twice.csv').write_text('file,identity\na.jpg,a\na.jpg,b\n')
    (people / 'columns.csv').write_text('file,person\na.jpg,a\n')
    (people / 'empty.csv').write_text('file,identity\na.jpg,\n')
    np.savez(people / 'nan.npz', files=['a.jpg'], embeddings=np.full((1, 2), np.nan))
    np.savez(people / 'shape.npz', files=['a.jpg'], embeddings=np.ones(2))
    np.savez(people / 'twice.npz', files=['a.jpg', 'a.jpg'], embeddings=np.ones((2, 2)))
    np.savez(people / 'pickle.npz', files=np.array([object()]), embeddings=np.ones((1, 2)))
    (people / 'text.npz').write_text('no archive')
    with pytest.raises(InputError, match=message):
        FaceDataset(**{'data_root': str(people), **options})


def sampler(labels, rank=0, world=1, epoch=0):
    return SimpleNamespace(
        dataset=SimpleNamespace(labels=np.array(labels)), seed=3, epoch=epoch, rank=rank, world_size=world
    )


LABELS = [0] * 5 + [1] * 2 + [2] + [3] * 8 + [4] * 4 + [5] * 3  # person 2 has one image


def test_batches_are_p_people_of_k_images():
    batches = PKBatchSampler(sampler(LABELS), 12, images_per_identity=4)
    assert len(batches) == len(list(batches)) == 2
    for batch in batches:
        labels = [LABELS[i] for i in batch]
        assert len(set(labels)) == 3
        assert all(labels.count(label) == 4 for label in labels)
        assert 2 not in labels
        for label in set(labels):
            chosen = [i for i in batch if LABELS[i] == label]
            assert len(set(chosen)) == 4 or LABELS.count(label) < 4


def test_epochs_differ_and_everyone_comes_as_often():
    seen = [i for epoch in range(30) for b in PKBatchSampler(sampler(LABELS, epoch=epoch), 8) for i in b]
    counts = np.bincount([LABELS[i] for i in seen], minlength=6)
    assert counts[2] == 0
    assert counts[[0, 1, 3, 4, 5]].min() > 0.6 * counts.max()
    first, second = (list(PKBatchSampler(sampler(LABELS, epoch=e), 8)) for e in (0, 1))
    assert first != second


def test_processes_share_one_order():
    whole = list(PKBatchSampler(sampler(LABELS), 8))
    parts = [list(PKBatchSampler(sampler(LABELS, rank=r, world=2), 8)) for r in (0, 1)]
    assert len(parts[0]) == len(parts[1]) == 2
    mixed = [batch for both in zip(*parts, strict=True) for batch in both]
    assert mixed[: len(whole)] == whole


@pytest.mark.parametrize(
    ('batch', 'images', 'message'),
    [(10, 4, 'must be a multiple'), (8, 1, 'at least 2'), (24, 4, r'needs as many .*, there are 5')],
)
def test_batches_that_cannot_be_made(batch, images, message):
    with pytest.raises(ValueError, match=message):
        PKBatchSampler(sampler(LABELS), batch, images)


def test_names_and_embeddings_are_read_back(tmp_path):
    for encoding in ('utf-8', 'utf-8-sig', 'utf-16'):
        (tmp_path / 'n.txt').write_text(' Zoë \n\nB\n', encoding=encoding)
        assert read_names(tmp_path / 'n.txt') == ['Zoë', 'B']
    np.savez(tmp_path / 'e.npz', files=['a', 'b'], embeddings=np.eye(2, dtype=np.float16))
    files, embeddings = read_embeddings(tmp_path / 'e.npz')
    assert (files, embeddings.dtype, embeddings.tolist()) == (['a', 'b'], np.float32, [[1, 0], [0, 1]])


@pytest.mark.parametrize('kind', [complex, str, bool])
def test_embeddings_that_are_no_real_numbers_are_refused(kind, tmp_path):
    np.savez(tmp_path / 'e.npz', files=['a', 'b'], embeddings=np.eye(2).astype(kind))
    with pytest.raises(InputError, match='embeddings must be real numbers, got'):
        read_embeddings(tmp_path / 'e.npz')


def test_names_of_files_in_bytes_are_names(tmp_path):
    np.savez(tmp_path / 'e.npz', files=['é.jpg'.encode(), b'\xff.jpg'], embeddings=np.eye(2))
    assert read_embeddings(tmp_path / 'e.npz')[0] == ['é.jpg', '\udcff.jpg']


def test_nobody_is_on_both_sides_and_nobody_moves_when_others_join():
    people = [f'p{i}' for i in range(300)]
    training, held = split_people(people, 0.2)
    assert not set(training) & set(held)
    assert set(training) | set(held) == set(people)
    assert 40 < len(held) < 80
    again = split_people([*people, *(f'q{i}' for i in range(300))], 0.2)
    assert set(held) <= set(again[1])
    assert split_people(people, 0.2, salt='x')[1] != held


def test_the_protocol_keeps_to_its_people(tmp_path):
    from mbv1_backbone.face.evaluation.protocols import read_gallery, read_pairs

    rng = np.random.default_rng(0)
    files = {f'p{i}/{n}.jpg': f'p{i}' for i in range(120) for n in range(rng.integers(1, 6))}
    training, held = split_people(list(files.values()), 0.4)
    write_protocol(tmp_path, files, training, held)
    pairs = read_pairs(tmp_path / 'dev_pairs.csv')
    assert pairs.people() <= set(held)
    assert pairs.same.mean() == pytest.approx(0.5)
    assert len(set(pairs.folds)) == 10
    for (a, b), same in zip(pairs.files, pairs.same, strict=True):
        assert (files[a] == files[b]) == same
        assert a != b
    folds = {}
    for (a, b), fold in zip(pairs.files, pairs.folds, strict=True):
        for file in (a, b):
            assert folds.setdefault(files[file], fold) == fold
    names = ('gallery', 'probes_known', 'probes_unknown')
    gallery, known, unknown = (read_gallery(tmp_path / f'dev_{name}.csv') for name in names)
    assert set(known.values()) <= set(gallery.values())
    assert not set(unknown.values()) & set(gallery.values())
    assert not set(known) & set(gallery)


def test_too_few_people_to_split(tmp_path):
    with pytest.raises(InputError, match='too few to hold out'):
        split_people(['a'], 0.5)
    with pytest.raises(InputError, match='share must lie between 0 and 1, got 1'):
        split_people(['a', 'b'], 1)
    with pytest.raises(InputError, match='ten folds need 20 people'):
        write_protocol(tmp_path, {'a/1.jpg': 'a'}, ['b'], ['a'])
    with pytest.raises(InputError, match='a is in training and held out'):
        write_protocol(tmp_path, {'a/1.jpg': 'a'}, ['a'], ['a'])
    assert scan_people(tmp_path) == {}


def test_hidden_loose_and_deep_images_are_nobodys_and_counted(tmp_path, caplog):
    """The same in a gallery's sources and in training; a linked person is one."""
    names = ('Ana/1.jpg', 'Ana/2024/3.jpg', 'loose.jpg', '.ipynb_checkpoints/x.jpg', 'Bob/y.heic')
    for name in (*names, 'Bob/1.jfif', '../elsewhere/Cy/1.jpg'):
        (tmp_path / 'people' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'people' / name).touch()
    (tmp_path / 'people' / 'Cy').symlink_to(tmp_path / 'elsewhere' / 'Cy')
    assert scan_people(tmp_path / 'people') == {'Ana/1.jpg': 'Ana', 'Bob/1.jfif': 'Bob', 'Cy/1.jpg': 'Cy'}
    for reason in ('1 loose, in no folder', '1 too deep', '1 hidden', '1 .heic'):
        assert reason in caplog.text
