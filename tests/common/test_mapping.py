"""Files mapped with room behind them."""

import mmap
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
