"""Stanford Dogs as its authors give it out, in small: lists, boxes, and what is wrong with them."""

import logging
import os

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from support.classes import draw_class

from mbv1_backbone.classification.folders import read_class_folder
from mbv1_backbone.classification.stanford_dogs import IMAGENET_INDICES, convert_stanford_dogs
from mbv1_backbone.cli.main import main
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.models.imagenet import imagenet_classes

BREEDS = ('n02085620-Chihuahua', 'n02113624-toy_poodle', 'n02116738-African_hunting_dog')
BOX = '<object><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>'


def rows(start, stop):
    return [(f'{breed}/{i}.jpg', label) for label, breed in enumerate(BREEDS, 1) for i in range(start, stop)]


def write_mat(path, entries):
    files = np.empty((len(entries), 1), object)
    files[:, 0] = [name for name, _ in entries]
    savemat(path, dict(file_list=files, labels=np.array([[label] for _, label in entries], np.uint8)))


@pytest.fixture
def dogs(tmp_path):
    root = tmp_path / 'dogs'
    for label, breed in enumerate(BREEDS):
        draw_class(root / 'Images' / breed, label, 5)
        (root / 'Annotation' / breed).mkdir(parents=True)
        for number in range(5):
            boxes = BOX.format(4, 10, 24, 50) + (BOX.format(0, 0, 90, 20) if number == 4 else '')
            (root / 'Annotation' / breed / str(number)).write_text(f'<annotation>{boxes}</annotation>')
    write_mat(root / 'train_list.mat', rows(0, 3))
    write_mat(root / 'test_list.mat', rows(3, 5))
    return root


def test_the_lists_become_folders(dogs, tmp_path):
    assert convert_stanford_dogs(dogs, tmp_path / 'out') == dict(classes=3, train=9, test=6)
    folder = read_class_folder(tmp_path / 'out')
    assert folder.classes == BREEDS
    assert (len(folder.train), len(folder.test)) == (9, 6)
    for photo in (*folder.train, *folder.test):
        assert (
            photo.path.read_bytes() == (dogs / 'Images' / BREEDS[photo.label] / photo.path.name).read_bytes()
        )
    assert {int(photo.path.stem) for photo in folder.test} == {3, 4}
    assert sorted(p.name for p in tmp_path.iterdir()) == ['dogs', 'out']


def test_lists_of_text_in_a_folder_of_their_own_do_as_well(dogs, tmp_path):
    (dogs / 'lists').mkdir()
    for split, entries in (('train', rows(0, 3)), ('test', rows(3, 5))):
        (dogs / f'{split}_list.mat').unlink()
        (dogs / 'lists' / f'{split}_list.txt').write_text('\n'.join(name for name, _ in entries) + '\n')
    assert convert_stanford_dogs(dogs, tmp_path / 'out', link=True)['train'] == 9
    assert os.path.islink(tmp_path / 'out' / 'train' / BREEDS[0] / '0.jpg')


def test_boxes_are_cut_out_each(dogs, tmp_path):
    found = convert_stanford_dogs(dogs, tmp_path / 'out', boxes=True)
    assert found == dict(classes=3, train=9, test=9)
    with Image.open(tmp_path / 'out' / 'train' / BREEDS[1] / '0.jpg') as picture:
        assert picture.size == (20, 40)
    with Image.open(tmp_path / 'out' / 'test' / BREEDS[1] / '4_1.jpg') as picture:
        assert picture.size == (48, 20)  # to the photograph's edge


def test_the_verb_says_what_the_whole_set_has(dogs, tmp_path, capsys):
    assert main(['convert', 'stanford-dogs', str(dogs), '--out-dir', str(tmp_path / 'out')]) == 0
    assert 'the whole set has 120 classes, 12000 train, 8580 test' in capsys.readouterr().out
    assert main(['convert', 'stanford-dogs', str(dogs), '--out-dir', str(tmp_path / 'out')]) == 2
    assert 'is not an empty folder' in capsys.readouterr().err


def damaged(root, kind):
    """Break one thing; what is said of it."""
    if kind == 'no list':
        (root / 'test_list.mat').unlink()
        return 'neither test_list.mat nor test_list.txt'
    if kind == 'no MATLAB file':
        (root / 'test_list.mat').write_bytes(b'MATLAB' * 40)
        return r'test_list\.mat: not a readable MATLAB file'
    if kind == 'other content':
        savemat(root / 'test_list.mat', dict(labels=[1]))
        return 'has no file_list'
    if kind == 'numbers for names':
        savemat(root / 'test_list.mat', dict(file_list=np.ones((2, 1)), labels=[[1], [2], [3]]))
        return '2 files in file_list, but 3 labels'
    if kind == 'missing photograph':
        (root / 'Images' / BREEDS[1] / '3.jpg').unlink()
        return r'1 of 15 photographs of the lists are not there, the first n02113624-toy_poodle/3\.jpg'
    if kind == 'annotation':
        (root / 'Annotation' / BREEDS[0] / '1').write_text('<annotation><object>')
        return 'not a readable annotation'
    if kind == 'no box':
        (root / 'Annotation' / BREEDS[0] / '1').write_text('<annotation/>')
        return 'has no object with a box'
    if kind == 'turned box':
        (root / 'Annotation' / BREEDS[0] / '1').write_text(f'<a>{BOX.format(9, 0, 3, 9)}</a>')
        return 'box 9, 0, 3, 9 is empty or negative'
    assert kind == 'outside'
    (root / 'Annotation' / BREEDS[0] / '1').write_text(f'<a>{BOX.format(60, 0, 70, 9)}</a>')
    return r'a box lies outside of its 48 x 56 photograph'


@pytest.mark.parametrize(
    'kind',
    [
        *('no list', 'no MATLAB file', 'other content', 'numbers for names', 'missing photograph'),
        *('annotation', 'no box', 'turned box', 'outside'),
    ],
)
def test_what_is_damaged_is_refused_and_nothing_is_written(kind, dogs, tmp_path):
    with pytest.raises(InputError, match=damaged(dogs, kind)):
        convert_stanford_dogs(dogs, tmp_path / 'out', boxes=True)
    assert [p.name for p in tmp_path.iterdir()] == ['dogs']


@pytest.mark.parametrize(
    ('entries', 'message'),
    [
        ([*rows(3, 5), rows(0, 1)[0]], r'Chihuahua/0\.jpg is named 2 times'),
        (rows(3, 5)[:4], 'African_hunting_dog is in the train list, not in the test list'),
        ([*rows(3, 5)[:-1], (f'{BREEDS[2]}/4.jpg', 1)], 'has label 1; n02116738-African_hunting_dog has 3'),
        ([('../../x.jpg', 1)], r'names BREED/FILE.jpg, got \.\./\.\./x\.jpg'),
        ([], 'names no photograph'),
    ],
)
def test_lists_that_contradict_are_refused(entries, message, dogs, tmp_path):
    write_mat(dogs / 'test_list.mat', entries)
    with pytest.raises(InputError, match=message):
        convert_stanford_dogs(dogs, tmp_path / 'out')


def test_endless_numbers_are_refused(dogs, tmp_path):
    annotation = dogs / 'Annotation' / BREEDS[0] / '1'
    annotation.write_text(f'<a>{BOX.format(0, 0, "inf", 9)}</a>')
    with pytest.raises(InputError, match='not a readable annotation'):
        convert_stanford_dogs(dogs, tmp_path / 'out', boxes=True)
    savemat(dogs / 'test_list.mat', dict(file_list=np.ones((1, 1)), labels=[[np.inf]]))
    with pytest.raises(InputError, match='labels whole numbers'):
        convert_stanford_dogs(dogs, tmp_path / 'out')


@pytest.mark.parametrize('label', [1.5, 0, -1])
def test_labels_that_are_no_whole_numbers_from_1_are_refused(label, dogs, tmp_path):
    files = np.array([['a/1.jpg']], object)
    savemat(dogs / 'test_list.mat', dict(file_list=files, labels=[[float(label)]]))
    with pytest.raises(InputError, match='labels whole numbers from 1'):
        convert_stanford_dogs(dogs, tmp_path / 'out')


def test_sides_of_boxes_are_numbers_as_others_write_them(dogs, tmp_path):
    (dogs / 'Annotation' / BREEDS[0] / '1').write_text(f'<a>{BOX.format("1_0", 0, 20, 9)}</a>')
    with pytest.raises(InputError, match=r"not a readable annotation: not a number: '1_0'"):
        convert_stanford_dogs(dogs, tmp_path / 'out', boxes=True)


def test_a_box_that_is_cut_to_its_photograph_is_said(dogs, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        convert_stanford_dogs(dogs, tmp_path / 'out', boxes=True)
    assert '3 boxes reach beyond their photographs, and are cut to them' in caplog.text
    assert f'{BREEDS[0]}/4.jpg' in caplog.text


def test_pictures_that_would_have_one_name_are_refused(dogs, tmp_path):
    """One was written over the other, and both were counted."""
    breed = BREEDS[0]
    os.rename(dogs / 'Images' / breed / '3.jpg', dogs / 'Images' / breed / '4_1.jpg')
    os.rename(dogs / 'Annotation' / breed / '3', dogs / 'Annotation' / breed / '4_1')
    entries = [(name.replace(f'{breed}/3.jpg', f'{breed}/4_1.jpg'), label) for name, label in rows(3, 5)]
    write_mat(dogs / 'test_list.mat', entries)
    message = rf'{breed}/4_1.jpg and {breed}/4.jpg would both be written as test/{breed}/4_1.jpg'
    with pytest.raises(InputError, match=message):
        convert_stanford_dogs(dogs, tmp_path / 'out', boxes=True)
    assert convert_stanford_dogs(dogs, tmp_path / 'out')['test'] == 6


def test_a_link_to_an_empty_folder_is_filled(dogs, tmp_path):
    (tmp_path / 'disk').mkdir()
    (tmp_path / 'out').symlink_to('disk')
    convert_stanford_dogs(dogs, tmp_path / 'out')
    assert (tmp_path / 'disk' / 'train' / BREEDS[0] / '0.jpg').is_file()


def test_boxes_are_no_links(dogs, tmp_path):
    with pytest.raises(InputError, match='cannot be links'):
        convert_stanford_dogs(dogs, tmp_path / 'out', boxes=True, link=True)


SIZE = '<size><width>{}</width><height>{}</height></size>'


def quarters(path, turn=None):
    """A photograph of 40 x 80 whose upper left 20 x 40 is red; EXIF may show it turned by 90 degrees."""
    pixels = np.full((80, 40, 3), (0, 0, 255), np.uint8)
    pixels[:40, :20] = (255, 0, 0)
    exif = Image.Exif()
    if turn:
        exif[0x0112] = turn
    Image.fromarray(pixels).save(path, quality=95, exif=exif)


@pytest.mark.parametrize(
    ('turn', 'size', 'box', 'shape'),
    [
        (6, (40, 80), (0, 0, 20, 40), (40, 20)),  # drawn on the stored pixels
        (6, (80, 40), (40, 0, 80, 20), (20, 40)),  # drawn on what EXIF shows
        (6, None, (40, 0, 80, 20), (20, 40)),
        (None, (80, 160), (0, 0, 40, 80), (40, 20)),  # drawn on twice the size
        (6, (80, 160), (0, 0, 40, 80), (40, 20)),
        (None, (0, 0), (0, 0, 20, 40), (40, 20)),  # a size that is none
    ],
)
def test_boxes_are_cut_where_they_were_drawn(turn, size, box, shape, dogs, tmp_path, caplog):
    quarters(dogs / 'Images' / BREEDS[0] / '1.jpg', turn)
    stated = SIZE.format(*size) if size else ''
    (dogs / 'Annotation' / BREEDS[0] / '1').write_text(f'<a>{stated}{BOX.format(*box)}</a>')
    with caplog.at_level(logging.WARNING):
        convert_stanford_dogs(dogs, tmp_path / 'out', boxes=True)
    with Image.open(tmp_path / 'out' / 'train' / BREEDS[0] / '1.jpg') as image:
        found = np.asarray(image).astype(int)
    assert found.shape[:2] == shape
    assert (found.mean((0, 1)) - (255, 0, 0)).__abs__().max() < 12
    scaled = size == (80, 160)
    assert ('1 boxes are of photographs in another size, and are scaled' in caplog.text) == scaled


def test_an_annotation_of_another_photograph_is_refused(dogs, tmp_path):
    (dogs / 'Annotation' / BREEDS[0] / '1').write_text(
        f'<a>{SIZE.format(500, 333)}{BOX.format(1, 1, 9, 9)}</a>'
    )
    with pytest.raises(
        InputError, match='is of a photograph of 500 x 333, and this one is of 48 x 56, another'
    ):
        convert_stanford_dogs(dogs, tmp_path / 'out', boxes=True)


@pytest.mark.parametrize('boxes', [False, True])
def test_what_is_no_photograph_is_found_before_anything_is_written(boxes, dogs, tmp_path, monkeypatch):
    monkeypatch.setattr('mbv1_backbone.classification.stanford_dogs._write', None)
    (dogs / 'Images' / BREEDS[2] / '4.jpg').write_bytes(b'no image')
    with pytest.raises(InputError, match=r'4\.jpg: cannot be decoded'):
        convert_stanford_dogs(dogs, tmp_path / 'out', boxes=boxes)


def test_two_breeds_with_one_label_are_refused(dogs, tmp_path):
    for split, numbers in (('train', (0, 3)), ('test', (3, 5))):
        write_mat(dogs / f'{split}_list.mat', [(name, min(label, 2)) for name, label in rows(*numbers)])
    with pytest.raises(InputError, match=r'toy_poodle and .*African_hunting_dog both have label 2'):
        convert_stanford_dogs(dogs, tmp_path / 'out')


def test_nothing_is_written_among_the_photographs(dogs):
    with pytest.raises(InputError, match='among the photographs'):
        convert_stanford_dogs(dogs, dogs / 'Images' / 'new')


@pytest.mark.parametrize('link', [False, True])
def test_a_photograph_in_both_lists_is_refused_or_said(link, dogs, tmp_path, caplog):
    first, again = (dogs / 'Images' / BREEDS[0] / name for name in ('0.jpg', '4.jpg'))
    content = first.read_bytes()
    again.unlink()
    if link:
        again.symlink_to('0.jpg')
        with pytest.raises(InputError, match='one file by a link'):
            convert_stanford_dogs(dogs, tmp_path / 'out')
        return
    again.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        convert_stanford_dogs(dogs, tmp_path / 'out')
    assert 'byte by byte, in another part or class: 1; the first: ' in caplog.text


def test_the_breeds_among_imagenets_classes():
    names = [imagenet_classes()[index] for index in IMAGENET_INDICES]
    assert len(set(IMAGENET_INDICES)) == 120
    assert (names[0], names[-1]) == ('Chihuahua', 'African hunting dog')
    assert {'dingo', 'dhole', 'toy poodle', 'Siberian husky'} <= set(names)
    assert 'dalmatian' not in names
