"""A thread's connection to a gallery's database goes with the thread."""

import os
import sqlite3
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval import Gallery


@pytest.fixture
def gallery(tmp_path):
    vectors = np.eye(4, dtype=np.float32)
    with Gallery.create(tmp_path / 'g', 4, 'm') as made:
        made.add(vectors, list('abcd'), list('abcd'), [f'{i:064x}' for i in range(4)])
        yield made


def in_a_thread(work):
    """What a function gives in a thread, which has ended then."""
    given = []
    thread = threading.Thread(target=lambda: given.append(work()))
    thread.start()
    thread.join()
    return given[0]


@pytest.mark.skipif(sys.platform != 'linux', reason='counts files by /proc')
def test_threads_that_have_ended_leave_no_files_open(gallery):
    in_a_thread(gallery.identities)
    before = len(os.listdir('/proc/self/fd'))
    for _ in range(30):
        assert in_a_thread(gallery.identities) == dict.fromkeys('abcd', 1)
    assert len(os.listdir('/proc/self/fd')) <= before + 2


def test_what_a_thread_has_begun_to_read_another_reads_to_its_end(gallery):
    entries = gallery.entries()

    def begun():
        return next(entries).identity

    assert in_a_thread(begun) == 'a'
    assert [entry.identity for entry in entries] == ['b', 'c', 'd']


def test_a_thread_sees_changes_after_one_that_has_ended(gallery):
    assert in_a_thread(lambda: len(gallery)) == 4
    gallery.remove([1])
    assert in_a_thread(lambda: len(gallery)) == 3


def test_a_gallery_that_is_closed_meanwhile_is_read_to_the_end_of_that(gallery):
    """SQLite ends the process where a thread's connection is closed while it is within it."""
    connections = gallery._store.connections
    with connections.reading() as connection:
        in_a_thread(gallery.close)
        assert connection.execute('SELECT count(*) FROM entries').fetchone() == (4,)
    with pytest.raises(sqlite3.ProgrammingError, match='closed'):
        connection.execute('SELECT 1')
    with pytest.raises(InputError, match='the gallery is closed'):
        len(gallery)


def test_closing_among_threads_that_read_refuses_them(gallery):
    def read():
        try:
            while True:
                gallery._store.stamp()
        except InputError as error:
            return str(error)

    with ThreadPoolExecutor(3) as pool:
        results = [pool.submit(read) for _ in range(3)]
        gallery.close()
        assert all(result.result().endswith('the gallery is closed') for result in results)
