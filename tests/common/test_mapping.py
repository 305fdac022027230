"""Files mapped with room behind them."""

import ctypes
import errno
import mmap
import os
import sys

import numpy as np
import pytest

from mbv1_backbone.common.mapping import map_with_room

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith(('linux', 'darwin')), reason='files are mapped on Linux and macOS'
)
CONTENT = np.random.default_rng(0).integers(0, 256, 3 * mmap.PAGESIZE + 5, np.uint8)


@pytest.fixture
def path(tmp_path):
    CONTENT.tofile(tmp_path / 'f')
    return tmp_path / 'f'


@pytest.mark.parametrize('start', [0, 7, mmap.PAGESIZE, 2 * mmap.PAGESIZE + 9])
@pytest.mark.parametrize('room', [0, 10 * mmap.PAGESIZE])
def test_a_part_of_a_file_is_there_and_can_be_written_to_and_grow_while_the_file_stays(path, start, room):
    length = len(CONTENT) - start
    with open(path, 'rb') as file:
        array = map_with_room(file, start, length, room)
    path.unlink()
    CONTENT.tofile(path)
    np.testing.assert_array_equal(array[:length], CONTENT[start:])
    assert len(array) == length + room
    assert not array[length:].any()
    array[:] = 3
    assert array.sum() == 3 * (length + room)
    np.testing.assert_array_equal(np.fromfile(path, np.uint8), CONTENT)


def test_what_lies_behind_the_part_is_overwritten_in_memory_only(path):
    with open(path, 'rb') as file:
        array = map_with_room(file, 3, 10, 100)
        again = map_with_room(file, 0, len(CONTENT), 0)
    array[10:] = 0
    np.testing.assert_array_equal(array[:10], CONTENT[3:13])
    np.testing.assert_array_equal(again, CONTENT)
    np.testing.assert_array_equal(np.fromfile(path, np.uint8), CONTENT)


@pytest.mark.parametrize(('start', 'length'), [(0, 0), (0, len(CONTENT) + 1), (len(CONTENT), 1)])
def test_no_more_than_there_is_can_be_mapped(path, start, length):
    with open(path, 'rb') as file:
        assert map_with_room(file, start, length, 0) is None


def test_what_the_address_space_has_no_room_for_is_not_mapped(path):
    with open(path, 'rb') as file:
        assert map_with_room(file, 0, len(CONTENT), 1 << 62) is None


def may_reserve_more_than_there_is():
    """Whether memory that is never written to need not be there, as Linux and macOS do by default."""
    try:
        with open('/proc/sys/vm/overcommit_memory') as file:
            return file.read().strip() != '2'
    except OSError:
        return True


@pytest.mark.skipif(not may_reserve_more_than_there_is(), reason='this system reserves all memory at once')
def test_a_file_larger_than_the_memory_is_mapped_too(path):
    terabyte = 1 << 40
    with open(path, 'rb+') as file:
        try:
            os.truncate(path, terabyte)  # sparse: takes no room on the disk
        except OSError as error:
            pytest.skip(f'no file can be so large here: {error}')
        array = map_with_room(file, 3, terabyte - 3, terabyte)
        np.testing.assert_array_equal(array[: len(CONTENT) - 3], CONTENT[3:])
        array[[terabyte // 2, -1]] = 1, 2
        assert (array[terabyte // 2], array[-1], len(array)) == (1, 2, 2 * terabyte - 3)


def test_where_the_file_system_maps_nothing_no_memory_is_taken_from_others(path, monkeypatch):
    """Putting the file in place of memory could fail when that memory is free for others already."""
    mapped = mmap.mmap

    def refusing(descriptor, *args, **kwargs):
        if descriptor >= 0:
            raise OSError(errno.ENODEV, 'no such device')
        return mapped(descriptor, *args, **kwargs)

    def nobody(_):
        raise AssertionError('the file was to be put in place of memory')

    monkeypatch.setattr(mmap, 'mmap', refusing)
    monkeypatch.setattr(ctypes, 'CDLL', nobody)
    with open(path, 'rb') as file:
        assert map_with_room(file, 0, len(CONTENT), 0) is None
