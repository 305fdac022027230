"""Folders of classes: which photographs train, which test, and what is refused."""

import shutil
from collections import Counter

import pytest
from support.classes import draw_class, draw_folder

from mbv1_backbone.classification.duplicates import same_bytes
from mbv1_backbone.classification.folders import read_class_folder, without_unreadable
from mbv1_backbone.common.errors import InputError


def test_train_and_test_are_read_as_they_are(tmp_path):
    folder = read_class_folder(draw_folder(tmp_path / 'a'))
    assert folder.classes == ('ant', 'bee', 'cat')
    assert (len(folder.train), len(folder.test)) == (18, 9)
    assert all(photo.path.parent.name == folder.classes[photo.label] for photo in folder.train)
    assert all(photo.path.parts[-3] == 'test' for photo in folder.test)
    assert '3 classes, 18 photographs to train on (6 to 6 a class), 9 to test' in folder.summary()


def test_val_stands_in_for_test(tmp_path):
    root = draw_folder(tmp_path / 'a')
    (root / 'test').rename(root / 'val')
    assert {photo.path.parts[-3] for photo in read_class_folder(root).test} == {'val'}


@pytest.mark.parametrize('below', ['', 'train'])
def test_without_a_folder_to_test_with_a_share_of_each_class_is_held_out(below, tmp_path):
    draw_folder(tmp_path / below if below else tmp_path, train=8, test=0)
    folder = read_class_folder(tmp_path, share=0.25)
    assert Counter(photo.label for photo in folder.test) == {0: 2, 1: 2, 2: 2}
    assert not set(folder.train) & set(folder.test)
    assert len(folder.train) + len(folder.test) == 24
    assert 'held out by seed 0' in folder.division
    assert read_class_folder(tmp_path, share=0.25).test == folder.test
    assert read_class_folder(tmp_path, share=0.25, seed=1).test != folder.test


def test_of_two_photographs_one_is_held_out(tmp_path):
    folder = read_class_folder(draw_folder(tmp_path, classes=2, train=2, test=0), share=0.01)
    assert (len(folder.train), len(folder.test)) == (2, 2)


def test_files_beside_the_classes_are_counted_not_taken(tmp_path):
    root = draw_folder(tmp_path, classes=2)
    (root / 'train' / 'ant' / '0.jpg').rename(root / 'train' / 'loose.jpg')
    (root / 'train' / 'ant' / 'notes.txt').touch()
    folder = read_class_folder(root)
    assert len(folder.train) == 11
    assert folder.skipped == {'that lie in no class': 1, 'files of other kinds': 1}
    assert '1 that lie in no class' in folder.summary()


@pytest.mark.parametrize(
    ('classes', 'train', 'test', 'share', 'message'),
    [
        (0, 0, 0, 0.25, 'no classes; photographs must lie in CLASS/'),
        (1, 4, 0, 0.25, 'one class, ant; photographs must lie'),
        (2, 1, 0, 0.25, 'one image in ant, bee; a class needs two'),
        (2, 4, 0, 1.0, 'the share that is held out must lie between 0 and 1, got 1'),
        (2, 4, 0, 0.0, 'the share that is held out must lie between 0 and 1, got 0'),
    ],
)
def test_what_cannot_be_learned_from_is_refused(classes, train, test, share, message, tmp_path):
    draw_folder(tmp_path, classes, train, test)
    with pytest.raises(InputError, match=message):
        read_class_folder(tmp_path, share)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match='none: no such folder'):
        read_class_folder(tmp_path / 'none')


@pytest.mark.parametrize(
    ('gone', 'message'),
    [('test', 'bee is in train/, not in test/'), ('train', 'bee is in test/, not in train/')],
)
def test_a_class_that_one_part_lacks_is_refused(gone, message, tmp_path):
    root = draw_folder(tmp_path)
    (root / gone / 'bee').rename(tmp_path.parent / f'{tmp_path.name} {gone}')
    with pytest.raises(InputError, match=message):
        read_class_folder(root)


def test_a_share_beside_a_folder_to_test_with_is_refused(tmp_path):
    with pytest.raises(InputError, match='has test/ to test with; no share of train/ is held out'):
        read_class_folder(draw_folder(tmp_path), share=0.25)


def test_a_folder_to_test_with_alone_is_refused(tmp_path):
    (draw_folder(tmp_path) / 'train').rename(tmp_path / 'val')
    with pytest.raises(InputError, match='has test/ and no train/'):
        read_class_folder(tmp_path)


def test_an_empty_class_is_refused(tmp_path):
    root = draw_folder(tmp_path)
    (root / 'train' / 'eel').mkdir()
    with pytest.raises(InputError, match='no image in eel'):
        read_class_folder(root)


def test_what_cannot_be_decoded_is_left_out_and_told(tmp_path):
    root = draw_folder(tmp_path)
    (root / 'train' / 'bee' / '1.jpg').write_bytes(b'no image')
    (root / 'test' / 'ant' / '0.jpg').write_bytes(b'')
    seen = []
    folder, reasons = without_unreadable(read_class_folder(root), lambda: seen.append(1))
    assert (len(folder.train), len(folder.test), len(seen)) == (17, 8, 27)
    assert [reason.partition(':')[0].rpartition('/')[2] for reason in reasons] == ['1.jpg', '0.jpg']


def test_a_class_of_which_nothing_can_be_decoded_is_refused(tmp_path):
    root = draw_folder(tmp_path, test=1)
    (root / 'test' / 'cat' / '0.jpg').write_bytes(b'no image')
    with pytest.raises(InputError, match=r'no readable photograph to test with of cat; .*0\.jpg'):
        without_unreadable(read_class_folder(root))


def test_folders_of_a_class_belong_to_it(tmp_path):
    root = draw_folder(tmp_path, test=0)
    draw_class(root / 'ant' / 'red' / 'small', 3, 2)
    labels = [photo.label for part in ('train', 'test') for photo in getattr(read_class_folder(root), part)]
    assert Counter(labels) == {0: 8, 1: 6, 2: 6}


@pytest.mark.parametrize('link', ['test', 'test/bee/again.jpg', 'train/bee/ant.jpg', 'train/ant/again.jpg'])
def test_a_photograph_is_not_trained_on_and_tested_with_by_a_link(link, tmp_path):
    root = draw_folder(tmp_path, classes=2)
    if link == 'test':
        shutil.rmtree(root / 'test')
        (root / 'test').symlink_to('train')
    else:
        (root / link).symlink_to(root / 'train' / 'ant' / '0.jpg')
    with pytest.raises(InputError, match=r'one file by a link: take one of them away'):
        read_class_folder(root)


def test_of_a_folder_without_a_test_no_photograph_is_there_twice(tmp_path):
    root = draw_folder(tmp_path, classes=2, test=0)
    (root / 'ant' / 'again.jpg').symlink_to('0.jpg')
    with pytest.raises(InputError, match=r'ant/again\.jpg is .*ant/0\.jpg, one file by a link'):
        read_class_folder(root)


def test_the_same_bytes_in_both_parts_or_in_two_classes_are_said(tmp_path):
    root = draw_folder(tmp_path, classes=2)
    assert same_bytes(read_class_folder(root).parts) == ''
    first = root / 'train' / 'ant' / '0.jpg'
    shutil.copy(first, root / 'train' / 'ant' / 'again.jpg')  # the same class, the same part: no harm
    assert same_bytes(read_class_folder(root).parts) == ''
    shutil.copy(first, root / 'test' / 'ant' / 'seen.jpg')
    shutil.copy(first, root / 'train' / 'bee' / 'other.jpg')
    said = same_bytes(read_class_folder(root).parts)
    assert said.startswith(
        'photographs that are there a second time, byte by byte, in another part or class: 2;'
    )
    assert 'bee/other.jpg, as ' in said


@pytest.mark.parametrize(
    ('folder', 'test'), [('validation', 3), ('Test', 0), ('val', 3), ('eel', 3)], ids=lambda value: str(value)
)
def test_folders_that_are_not_looked_at_are_said(folder, test, tmp_path):
    draw_folder(tmp_path, classes=2, test=3)
    if not test:
        shutil.rmtree(tmp_path / 'test')
    draw_class(tmp_path / folder / 'ant', 0, 1)
    assert f'; not looked at: {folder}/' in read_class_folder(tmp_path).summary()


def test_parts_by_other_names_are_no_classes(tmp_path):
    for name in ('Train', 'Test'):
        draw_class(tmp_path / name, 0, 3)
    with pytest.raises(InputError, match='Train/ and Test/ would be classes; what is to train on must lie'):
        read_class_folder(tmp_path)
    (tmp_path / 'Test').rename(tmp_path / 'Bus')  # a class of vehicles
    assert read_class_folder(tmp_path).classes == ('Bus', 'Train')


def test_a_class_that_is_a_link_to_another_is_said_to_be_one(tmp_path):
    draw_folder(tmp_path, classes=2, test=0)
    (tmp_path / 'wasp').symlink_to('bee')
    with pytest.raises(InputError, match=r'wasp is a link to .*/bee; take it away'):
        read_class_folder(tmp_path)


@pytest.mark.parametrize(
    ('name', 'says'), [('a\nb', 'has control characters'), ('{{$HOME:x}}', 'has {{ in its name')]
)
def test_names_that_no_config_holds_are_refused(name, says, tmp_path):
    """They were trained, and then said in two lines, or as the user's home."""
    draw_folder(tmp_path, classes=2, test=0)
    draw_class(tmp_path / name, 2, 4)
    with pytest.raises(InputError, match=says):
        read_class_folder(tmp_path)


@pytest.mark.parametrize(('share', 'said'), [(1e-9, '1e-07%'), (0.999, '99.9%'), (0.07, '7%')])
def test_shares_are_said_as_they_are(share, said, tmp_path):
    draw_folder(tmp_path, classes=2, test=0)
    assert read_class_folder(tmp_path, share).division == f'{said} of each class, held out by seed 0'
