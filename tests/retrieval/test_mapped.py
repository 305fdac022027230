"""Large indexes are mapped: searched and changed as if they had been read, while the file stays as it is."""

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from support.crowd import DIM, normalised, people

from mbv1_backbone.common.mapping import map_with_room
from mbv1_backbone.retrieval import Gallery, index_file, saved as saved_files
from mbv1_backbone.retrieval.index import SearchIndex
from mbv1_backbone.retrieval.index_file import read_index, write_index
from mbv1_backbone.retrieval.maintenance import verify
from mbv1_backbone.retrieval.width import Width

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith(('linux', 'darwin')), reason='files are mapped on Linux and macOS'
)
KINDS = [
    *(
        'Flat',
        'SQfp16',
        'HNSW16',
        'HNSW16_SQfp16',
        'SQ8,Refine(SQfp16)',
        'IVF8,Flat',
        'IVF8,SQ8,Refine(Flat)',
    ),
    *('OPQ8_16,IVF8,PQ8x4fs,Refine(SQfp16)', 'IVF8,PQ8x4fs,Refine(SQ8)', 'IVF8_HNSW8,SQ8', 'IVF8,PQ8x4fs'),
]


@pytest.fixture
def mapped(monkeypatch):
    monkeypatch.setattr(index_file, '_MAPPED_LEAST', 1)


def saved(index, path):
    with open(path, 'wb') as file:
        write_index(index, file)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def opened(path, index):
    with open(path, 'rb') as file:
        return read_index(file, index.factory, index.trained_for, DIM, index.removed.copy())


@pytest.mark.parametrize('factory', KINDS)
def test_a_mapped_index_changes_as_one_in_memory_and_its_file_does_not(factory, tmp_path, monkeypatch):
    vectors = normalised(people(110, images=20)[0]).astype(np.float32)
    built = SearchIndex.build(factory, vectors[:2000])
    built.remove(np.arange(0, 40, 2))
    digest = saved(built, tmp_path / 'i')
    read = opened(tmp_path / 'i', built)
    monkeypatch.setattr(index_file, '_MAPPED_LEAST', 1)
    monkeypatch.setattr(index_file, '_room', lambda size: 100 * 4 * DIM)  # for the first of three additions
    view = opened(tmp_path / 'i', built)
    os.unlink(tmp_path / 'i')  # as a writer does that has saved a newer one
    digests = [saved(view, tmp_path / 'again')]
    widest = Width(view.limits().nprobe, 300, 3000)
    for start in (2000, 2050, 2100):
        for some in (read, view):
            some.add(vectors[start : start + 50])
            some.remove(np.array([start - 1500, start + 1]))
        for probes in (vectors[2000:2001], vectors[:2150:100]):
            for a, b in zip(read.search(probes, 20, widest), view.search(probes, 20, widest), strict=True):
                np.testing.assert_array_equal(a, b)
        digests.append(saved(view, tmp_path / 'again'))
        assert digests[-1] == saved(read, tmp_path / 'other')
    assert digests[0] == digest


@pytest.fixture(scope='module')
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp('mapped') / 'g'
    with Gallery.create(folder, DIM, 'm', factory='IVF8,PQ8x4fs,Refine(SQfp16)') as gallery:
        with gallery.bulk():
            gallery.add(*people(1000, 0))
        gallery.save()
    return folder


@pytest.fixture
def path(template, tmp_path, mapped):
    """The index file of a gallery of 2,000 entries in a folder ``g``."""
    shutil.copytree(template, tmp_path / 'g')
    return next((tmp_path / 'g').glob('index-*.faiss'))


def is_view(gallery):
    with gallery._live.current() as standing:
        return not standing.index.matrix.codes.is_owned


def test_a_gallery_maps_its_index_adds_and_removes_and_leaves_the_file_as_it_is(path):
    before = path.read_bytes()
    vectors, names, files, hashes = people(10, 5)
    with Gallery(path.parent) as gallery, Gallery(path.parent) as other:
        assert is_view(gallery)
        assert is_view(other)
        gallery.add(vectors, names, files, hashes)
        gallery.remove(identity='person 0-3')
        gallery.rename('person 0-4', 'somebody')
        for some in (gallery, other):
            assert [found[0].identity for found in some.search(vectors, 1, None)] == names
            assert len(some) == some.indexed() == 2018
            assert is_view(some)
        assert path.read_bytes() == before
        assert verify(other).problems == ()


def test_what_is_mapped_answers_on_while_its_file_is_replaced(path):
    probes = people(1000, 0)[0][::50]
    with Gallery(path.parent) as reader, Gallery(path.parent) as writer:
        with reader.snapshot():
            before = reader.search(probes, 5, None)
            writer.add(*people(30, 7))
            writer.rebuild()
            assert not path.exists()
            assert is_view(writer)  # the new file is mapped as soon as it is there
            after = reader.search(probes, 5, None)
            assert [list(one) for one in after] == [list(one) for one in before]
        assert reader.indexed() == 2060


_ANSWERING = """
import sys
import numpy as np
from support.crowd import people
from mbv1_backbone.retrieval import Gallery, index_file
index_file._MAPPED_LEAST = 1
probes = people(1000, 0)[0][::50]
with Gallery(sys.argv[1], read_only=True) as gallery:
    for _ in sys.stdin:
        names = [matches[0].identity for matches in gallery.search(probes, 1, None)]
        with gallery._live.current() as standing:
            mapped = not standing.index.matrix.codes.is_owned
        print(names == people(1000, 0)[1][::50], mapped, gallery.indexed(), flush=True)
"""


def test_another_process_answers_while_the_index_is_written_and_its_file_goes(path, monkeypatch):
    reader = subprocess.Popen(
        [sys.executable, '-c', _ANSWERING, str(path.parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])),
    )
    answers = []

    def ask():
        reader.stdin.write('\n')
        reader.stdin.flush()
        answers.append(reader.stdout.readline().split())

    def half_written(index, file):
        ask()
        digest = write_index(index, file)
        ask()
        return digest

    monkeypatch.setattr(saved_files, 'write_index', half_written)
    with reader, Gallery(path.parent) as writer:
        ask()
        writer.add(*people(30, 7))
        writer.rebuild()
        assert not path.exists()
        ask()
        reader.stdin.close()
    assert answers == [['True', 'True', count] for count in ('2000', '2060', '2060', '2060')]
    assert reader.returncode == 0


@contextmanager
def read_without_a_gap(gallery):
    """Read a gallery in three threads, so that at every moment somebody does."""
    stop, entered = threading.Event(), threading.Semaphore(0)
    turns = [threading.Event() for _ in range(3)]

    def read(mine, next_one):
        while not stop.is_set():
            with gallery._live.current():
                entered.release()
                next_one.set()  # another one comes before this one goes
                mine.wait(0.05)
                mine.clear()

    threads = [threading.Thread(target=read, args=(turns[place], turns[place - 1])) for place in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(6):
        entered.acquire()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize('change', ['save', 'rebuild'])
def test_reading_without_a_gap_does_not_keep_an_index_from_being_saved_or_made_anew(change, path):
    with Gallery(path.parent) as gallery:
        gallery.rename('person 0-4', 'somebody')
        with gallery._live.current() as before:
            pass
        thread = threading.Thread(target=getattr(gallery, change))
        with read_without_a_gap(gallery):
            thread.start()
            thread.join(30)
            ended = not thread.is_alive()
        thread.join()
        assert ended
        with gallery._live.current() as standing:
            assert standing is not before


def test_what_this_system_cannot_map_is_not_read_again_after_saving(path, monkeypatch):
    monkeypatch.setattr(index_file, 'CAN_MAP', False)
    with Gallery(path.parent) as gallery:
        with gallery._live.current() as before:
            pass
        gallery.save()
        with gallery._live.current() as standing:
            assert standing is before


def test_what_is_mapped_after_saving_knows_its_threshold_and_is_left_while_it_is_read(path):
    probes = people(1000, 0)[0][::50]
    with Gallery(path.parent) as gallery:
        gallery.set_calibration({'threshold': 0.97})
        gallery.rebuild()
        found = gallery.search(probes, 5)
        assert all(match.score >= 0.97 for matches in found for match in matches)
        assert max(len(matches) for matches in found) < 5
        with gallery._live.snapshot() as standing:
            gallery.save()
            with gallery._live.current() as current:
                assert current is standing


def test_a_file_cut_short_is_not_mapped_but_made_anew(path):
    os.truncate(path, path.stat().st_size // 2)
    with Gallery(path.parent, read_only=True) as gallery:
        assert gallery.index_problems() == [
            f'{path}: missing, or not the file that was saved; repair makes it anew'
        ]
        assert gallery.indexed() == 2000
    with open(path, 'rb') as file:
        assert map_with_room(file, 0, path.stat().st_size + 1, 0) is None


def test_where_nothing_can_be_mapped_the_file_is_read(path, monkeypatch):
    monkeypatch.setattr(index_file, 'map_with_room', lambda *_: None)
    with Gallery(path.parent) as gallery:
        assert not is_view(gallery)
        assert gallery.indexed() == 2000


def anonymous():
    with open('/proc/self/status') as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith('RssAnon'))


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='memory is read from /proc')
def test_a_large_index_takes_no_memory_of_the_process(tmp_path):
    values = np.random.default_rng(0).integers(0, 255, 16 << 20, np.uint8).astype(np.float32)
    index = SearchIndex.build('Flat', values.reshape(-1, DIM))
    saved(index, tmp_path / 'i')
    probe = np.ones((1, DIM), np.float32)
    expected = index.search(probe, 3)
    del values
    before = anonymous()
    view = opened(tmp_path / 'i', index)
    found = view.search(probe, 3)  # compares with all
    assert anonymous() - before < 8 << 20 < (tmp_path / 'i').stat().st_size // 7
    np.testing.assert_array_equal(found[1], expected[1])
