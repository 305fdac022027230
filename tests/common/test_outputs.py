"""Outputs are checked before the work; the check leaves nothing behind."""

import errno
import os
import tempfile
from types import SimpleNamespace

import pytest

from mbv1_backbone.common.errors import InputError, NoSpaceError
from mbv1_backbone.common.outputs import check_apart, check_output_file, check_output_folder


@pytest.fixture
def place(tmp_path):
    """A folder with a file, a folder of one file, and a link to nothing."""
    (tmp_path / 'file').write_text('kept')
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'folder' / 'x.png').write_text('kept')
    (tmp_path / 'link').symlink_to('nothing')
    return tmp_path


@pytest.mark.parametrize('name', ['new.json', 'a/b/new.json', 'file', 'folder/x.png', 'link'])
def test_a_file_that_can_be_written(place, name):
    before = sorted(place.rglob('*'))
    assert check_output_file(place / name) == place / name
    assert sorted(place.rglob('*')) == before
    assert (place / 'file').read_text() == 'kept'


@pytest.mark.parametrize(
    ('name', 'reason'),
    [
        ('folder', 'is a folder, not a file'),
        ('.', 'is a folder, not a file'),
        ('file/new.json', 'file is a file, not a folder'),
        ('file/a/new.json', 'file is a file, not a folder'),
        ('link/new.json', 'link is a link to what does not exist'),
        (f'{"x" * 300}.json', 'File name too long'),
        ('/dev/null', 'is not a regular file'),
        ('/proc/new.json', 'cannot write in /proc'),
        ('/proc/a/b/new.json', 'cannot write in /proc'),
    ],
)
def test_a_file_that_cannot(place, name, reason):
    with pytest.raises(InputError, match=rf'--out .*{name[:30]}.*{reason}'):
        check_output_file(place / name, name='--out')


def test_a_suffix():
    assert check_output_file('a.npz', ('.json', '.npz')).name == 'a.npz'
    with pytest.raises(InputError, match=r'^--out must end in \.json or \.npz, got a\.csv$'):
        check_output_file('a.csv', ('.json', '.npz'), '--out')


@pytest.mark.parametrize('name', ['new', 'a/b', 'folder', '.'])
def test_a_folder_that_can_be_written(place, name):
    before = sorted(place.rglob('*'))
    assert check_output_folder(place / name, ['y.png', 'deep/y.png']) == place / name
    assert sorted(place.rglob('*')) == before


@pytest.mark.parametrize(
    ('name', 'options', 'reason'),
    [
        ('file', {}, 'file is a file, not a folder'),
        ('file/new', {}, 'file is a file, not a folder'),
        ('link', {}, 'is a link to what does not exist'),
        ('/proc/new', {}, 'cannot write in /proc'),
        ('.', dict(files=['folder']), 'folder: is a folder, not a file'),
        ('.', dict(files=['file/x']), 'file is a file, not a folder'),
        ('folder', dict(empty=True), 'is not an empty folder'),
    ],
)
def test_a_folder_that_cannot(place, name, options, reason):
    with pytest.raises(InputError, match=f'--out-dir .*{reason}'):
        check_output_folder(place / name, name='--out-dir', **options)


@pytest.mark.parametrize('fields', [dict(f_bavail=0), dict(f_favail=0)])
def test_a_full_disk(place, monkeypatch, fields):
    room = SimpleNamespace(**{**dict(f_blocks=9, f_bavail=9, f_files=9, f_favail=9), **fields})
    monkeypatch.setattr(os, 'statvfs', lambda path: room)
    for check in (check_output_file, check_output_folder):
        with pytest.raises(NoSpaceError, match='is full'):
            check(place / 'new')


@pytest.mark.parametrize(('number', 'kind'), [(errno.EROFS, InputError), (errno.EDQUOT, NoSpaceError)])
def test_what_the_system_refuses(place, monkeypatch, number, kind):
    def refuse(**_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, 'TemporaryFile', refuse)
    with pytest.raises(kind, match=os.strerror(number)):
        check_output_file(place / 'new')


def test_an_empty_name_is_not_the_working_folder(tmp_path, monkeypatch):
    """As of a variable that is not set: ``--out-dir "$OUT"``."""
    monkeypatch.chdir(tmp_path)
    for check in (check_output_file, check_output_folder):
        with pytest.raises(InputError, match=r'^--out is empty$'):
            check('', name='--out')


@pytest.fixture
def photo(tmp_path):
    (tmp_path / 'photos').mkdir()
    (tmp_path / 'photos' / 'a.png').write_bytes(b'a')
    (tmp_path / 'link.png').symlink_to('photos/a.png')
    return tmp_path / 'photos' / 'a.png'


@pytest.mark.parametrize(
    'given', ['photos/a.png', './photos/../photos/a.png', 'link.png', 'photos', '.', 'p*/*']
)
def test_what_is_read_is_not_written_over(given, photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for out in (photo, 'link.png'):
        with pytest.raises(InputError, match=r'^--out .*a?\.png: is also read .*would be overwritten$'):
            check_apart(out, ['nothing', 'a\0b', given], '--out')


def test_other_files_may_be_written_beside_what_is_read(photo, tmp_path):
    (tmp_path / 'photos' / 'figures.json').write_text('{}')
    for name in ('new.png', 'photos/new.png', 'photos/figures.json'):
        check_apart(tmp_path / name, [str(tmp_path / 'photos'), 'nothing'], '--out')


def test_pictures_are_not_written_over_those_that_are_read(photo, tmp_path):
    with pytest.raises(InputError, match=r'^--out-dir .*a\.png: is also read'):
        check_output_folder(photo.parent, ['a.png'], name='--out-dir', read=[tmp_path / 'link.png'])
    check_output_folder(photo.parent, ['b.png'], name='--out-dir', read=[photo])
