"""One walk through folders: what is read, and what is skipped for which reason."""

import os
from unittest.mock import MagicMock

import pytest

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.folders import find_images, walk_images


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_files_folders_and_globs_are_found(tmp_path):
    touch(tmp_path, 'a.jpg', 'b.PNG', 'notes.txt', 'deep/c.jpeg', '[odd].jpg')

    def names(*patterns):
        return [path.name for path in find_images([tmp_path / p for p in patterns])]

    assert names('.') == ['[odd].jpg', 'a.jpg', 'b.PNG', 'c.jpeg']
    assert names('*.jpg') == ['[odd].jpg', 'a.jpg']
    assert names('[odd].jpg') == ['[odd].jpg']
    assert names('b.PNG', 'a.jpg', 'b.PNG') == ['b.PNG', 'a.jpg']
    assert names('**/*.jpeg') == names('**/*.jp*eg') == ['c.jpeg']
    assert names('*') == ['[odd].jpg', 'a.jpg', 'b.PNG', 'c.jpeg']
    assert names('notes.txt') == ['notes.txt']  # whoever names a file means it
    for nothing in ('missing', 'missing*', 'note*.txt'):
        with pytest.raises(InputError, match=f'no image at .*{nothing[:4]}'):
            names(nothing)


def test_every_suffix_of_a_jpeg_is_read(tmp_path):
    touch(tmp_path, 'a.jfif', 'b.jpe', 'c.JPG', 'd.pnm')
    assert [path.name for path in walk_images(tmp_path)] == ['a.jfif', 'b.jpe', 'c.JPG', 'd.pnm']


def test_what_is_skipped_is_counted_by_reason(tmp_path):
    touch(tmp_path, 'a.jpg', 'x.HEIC', 'y.heic', 'z.avif', 'notes.txt', '.hidden.jpg', '.thumbnails/b.jpg')
    touch(tmp_path, os.fsdecode(b'\xff.jpg'))
    (tmp_path / 'broken.jpg').symlink_to(tmp_path / 'gone.jpg')
    os.mkfifo(tmp_path / 'pipe.jpg')
    for found in (walk_images(tmp_path), find_images([tmp_path])):
        assert [path.name for path in found] == ['a.jpg']
        assert found.skipped == {
            '.heic': 2,
            '.avif': 1,
            'hidden': 2,
            'files of other kinds': 1,
            'names that are no valid text': 1,
            'broken links': 1,
            'not regular files': 1,
        }
        assert found.summary().startswith('skipped: 2 ')
    assert walk_images(tmp_path / '.thumbnails').summary() == ''
    (tmp_path / 'a.jpg').unlink()
    with pytest.raises(InputError, match=r'no image at .*2 \.heic'):
        find_images([tmp_path])


def test_linked_folders_are_followed_once(tmp_path):
    touch(tmp_path, 'here/a.jpg', 'there/b.jpg')
    (tmp_path / 'here' / 'link').symlink_to(tmp_path / 'there')
    (tmp_path / 'here' / 'again').symlink_to(tmp_path / 'there')
    (tmp_path / 'there' / 'circle').symlink_to(tmp_path / 'here')
    found = walk_images(tmp_path / 'here')
    assert [path.name for path in found] == ['b.jpg', 'a.jpg'] or [path.name for path in found] == [
        'a.jpg',
        'b.jpg',
    ]
    assert found.skipped == {'folders linked twice': 2}


def test_a_folder_bears_its_own_name_however_links_to_it_are_called(tmp_path, monkeypatch):
    """Whatever order the file system lists names in: names of people come of it."""
    touch(tmp_path, 'people/m/Bob/1.jpg', 'people/Ann/2.jpg')
    (tmp_path / 'people' / 'a').symlink_to(tmp_path / 'people' / 'm' / 'Bob')
    (tmp_path / 'people' / 'Zed').symlink_to(tmp_path / 'people' / 'Ann')
    touch(tmp_path, 'away/3.jpg')
    for link in ('y', 'x'):
        (tmp_path / 'people' / link).symlink_to(tmp_path / 'away')
    listing = os.scandir

    for backwards in (False, True):

        def listed(path, backwards=backwards):
            found = MagicMock()
            found.__next__.side_effect = sorted(
                listing(path), key=lambda entry: entry.name, reverse=backwards
            )
            return found

        monkeypatch.setattr(os, 'scandir', listed)
        found = walk_images(tmp_path / 'people')
        monkeypatch.undo()
        names = [str(path.relative_to(tmp_path / 'people')) for path in found]
        assert names == ['Ann/2.jpg', 'm/Bob/1.jpg', 'x/3.jpg']
        assert found.skipped == {'folders linked twice': 3}
