"""Galleries and other engines are compared at equal recall, and their indexes are kept."""

import json

import faiss
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from benchmarks import charts, engines, gallery, gallery_report, other_engines, rivals
from benchmarks.engines import Engine, geometric, recall, tune
from benchmarks.gallery import GalleryEngine, compare
from benchmarks.gallery_costs import build, part_of
from benchmarks.other_engines import RIVALS, FaissLists
from benchmarks.people import made_up, shipped
from mbv1_backbone.common.errors import NotInstalledError
from mbv1_backbone.retrieval import Condition, Gallery
from mbv1_backbone.retrieval.width import OWN_WIDTH


@pytest.fixture(autouse=True, scope='module')
def _one_thread():
    """Engines are tuned with all cores, which other tests use meanwhile."""
    before = faiss.omp_get_max_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines.os, 'cpu_count', lambda: 1)
        patch.setattr(engines, '_SECONDS', 0.02)
        yield
    faiss.omp_set_num_threads(before)


@pytest.fixture(scope='module')
def people():
    return made_up(1200, probes=200)


def _nearest(vectors, probes, k=10):
    return np.argsort(-(probes @ vectors.T), axis=1, kind='stable')[:, :k]


class _Wide(Engine):
    """Finds as many of ten as the setting's first says, and takes as long as its second."""

    name = 'wide'
    ladders = [
        [(found, slow) for found in range(1, best + 1)] for slow, best in ((1, 8), (300, 10), (30, 10))
    ]

    def __init__(self):
        self.asked = []

    def search(self, probes, k, setting):
        self.asked.append(setting)
        sum(range(100 * setting[1] * setting[0]))
        return np.where(np.arange(k) < setting[0], np.arange(k), -1)[None].repeat(len(probes), 0)

    def set_threads(self, count):
        pass


def test_the_cheapest_setting_that_reaches_the_recall_is_taken():
    engine, probes = _Wide(), np.zeros((200, 4), np.float32)
    truth: np.ndarray = np.arange(10)[None].repeat(200, 0)
    found = tune(engine, probes, truth, wanted=0.9)
    assert (found.setting, found.reached) == ((9, 30), True)  # the first ladder ends at .8; 300 is dear
    assert found.curve[found.chosen][1] == pytest.approx(0.9)
    assert [value for _, value in found.curve] == sorted(value for _, value in found.curve)
    beyond = tune(engine, probes, truth + 1, wanted=1.0)
    assert not beyond.reached


def test_recall_counts_those_of_the_nearest_that_are_found_in_any_order():
    truth = np.array([[1, 2], [3, 4]])
    assert recall(np.array([[2, 1], [3, 9]]), truth) == 0.75
    assert recall(np.array([[2], [9]]), truth) == 0.25


def test_a_ladder_goes_from_the_first_to_the_last():
    assert geometric(1) == [1]
    assert geometric(5, factor=1.5) == [1, 2, 3, 5]
    assert geometric(5000, 10)[:3] == [10, 11, 13]
    assert geometric(5000, 10)[-1] == 5000


def _least(name):
    """Recall of the widest search: threads that add at once leave some of usearch's entries out of reach."""
    return 0.96 if name == 'usearch' else 0.995


def _rival(name, people):
    try:
        RIVALS[name].check()
    except NotInstalledError as error:
        pytest.skip(str(error))
    return RIVALS[name](people.vectors.shape[1], len(people.vectors))


@pytest.mark.parametrize('name', RIVALS)
def test_every_engine_finds_the_nearest_with_one_thread_and_two(name, people, tmp_path):
    rival = _rival(name, people)
    assert rivals.built(rival, people.vectors, tmp_path) > 0
    truth = _nearest(people.vectors, people.probes)
    for threads in (1, 2):
        rival.set_threads(threads)
        found = rival.rows(rival.search(people.probes, 10, rival.ladders[0][-1]))
        assert recall(found, truth) > _least(name)
        one = rival.rows(rival.search(people.probes[:1], 10, rival.ladders[0][-1]))
        np.testing.assert_array_equal(one, found[:1])
    rival.set_threads(1)


@pytest.mark.parametrize('name', [name for name in RIVALS if RIVALS[name].kept])
def test_an_index_is_read_where_it_is_kept_and_one_that_was_stopped_goes_on(
    name, people, tmp_path, monkeypatch
):
    monkeypatch.setattr(rivals, '_PART', 400)
    monkeypatch.setattr(rivals, '_SAVED_EVERY', -1.0)
    stopped = _rival(name, people)
    add = stopped.add

    def stop(first, vectors):
        if first == 800:
            raise KeyboardInterrupt
        add(first, vectors)

    monkeypatch.setattr(stopped, 'add', stop)
    with pytest.raises(KeyboardInterrupt):
        rivals.built(stopped, people.vectors, tmp_path)
    stopped.close()
    added = []
    goes_on = _rival(name, people)
    monkeypatch.setattr(
        goes_on, 'add', lambda first, some: (added.append(first), type(goes_on).add(goes_on, first, some))
    )
    first = rivals.built(goes_on, people.vectors, tmp_path)
    assert added == [800]
    goes_on.close()
    read = _rival(name, people)
    assert rivals.built(read, people.vectors, tmp_path) == first
    assert added == [800]
    found = read.search(people.probes, 10, read.ladders[0][-1])
    assert recall(read.rows(found), _nearest(people.vectors, people.probes)) > _least(name)
    assert len(list((tmp_path / read.key).glob('index*'))) == 1


def test_numpy_compares_in_parts_that_memory_holds(people, tmp_path, monkeypatch):
    monkeypatch.setattr(other_engines, '_SCORES', 7 * 1200)
    rival = _rival('numpy', people)
    rivals.built(rival, people.vectors, tmp_path)
    found = rival.search(people.probes, 10, None)
    np.testing.assert_array_equal(found[:, 0], _nearest(people.vectors, people.probes, 1)[:, 0])
    assert recall(found, _nearest(people.vectors, people.probes)) > 0.999


@pytest.mark.parametrize('rotation', ['', 'OPQ64_128,'])
def test_the_same_lists_without_the_gallery(tmp_path, rotation):
    some = made_up(3200, probes=100)
    lists = FaissLists(128, 3200)
    lists.factory = f'{rotation}IVF16,PQ64x4fs,Refine(SQfp16)'
    rivals.built(lists, some.vectors, tmp_path)
    assert lists.ladders[0][-1] == (16, 30)
    found = lists.search(some.probes, 10, lists.ladders[-1][-1])
    assert recall(found, _nearest(some.vectors, some.probes)) > 0.99


def test_entries_have_the_ids_1_2_3_and_a_number_to_filter_by(people, tmp_path):
    build(tmp_path / 'gallery', people.vectors, people.people, late=120)
    parts = part_of(np.arange(1200))
    assert 0 <= parts.min() < 50 < 950 < parts.max() < 1000
    with Gallery(tmp_path / 'gallery') as opened:
        engine = GalleryEngine(opened)
        truth = _nearest(people.vectors, people.probes)
        assert recall(engine.rows(engine.search(people.probes, 10, OWN_WIDTH)), truth) > 0.999
        records = GalleryEngine(opened, records=True)
        np.testing.assert_array_equal(
            records.rows(records.search(people.probes, 10, OWN_WIDTH)),
            engine.rows(engine.search(people.probes, 10, OWN_WIDTH)),
        )
        some = GalleryEngine(opened, [Condition('part', '<', 100.0)])
        match = np.flatnonzero(parts < 100)
        truth = match[_nearest(people.vectors[match], people.probes)]
        assert recall(some.rows(some.search(people.probes, 10, OWN_WIDTH)), truth) > 0.999


@pytest.fixture(scope='module')
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp('compared')
    notices = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RIVALS['usearch'], 'module', 'no_such_module')
        done = compare(
            shipped().draw(1500, probes=400),
            folder / 'gallery',
            folder / 'cache',
            ['numpy', 'faiss', 'hnsw16', 'usearch'],
            rounds=1,
            notice=notices.append,
        )
    assert not (folder / 'gallery').exists()
    return done | dict(kind='real-like', people={}, notices=notices)


def test_all_are_compared_at_a_recall_and_one_that_is_not_installed_is_left_out(found):
    assert found['notices'] == ['usearch is left out: pip install usearch']
    ways = found['engines']
    ours = {'gallery', 'gallery, its own width', 'gallery, records read'}
    assert set(ways) == ours | {'NumPy, all compared', 'FAISS HNSW16'}  # lists only above 3,000
    for one in ways.values():
        assert one['recall'] >= 0.99
        assert one['recall_newest'] > 0.97
        assert set(one['recall_by_images']) <= {1, 3, 20}
        for name in ('batch_cpu_1', 'single_cpu_1', 'batch_wall_2', 'single_wall_2'):
            assert one[name] > 0
    assert ways['FAISS HNSW16']['build_s'] > 0
    assert 500 < found['gallery']['resident'] < 20_000
    assert {name: one['recall'] for name, one in found['filters'].items() if name != 'all'} == {
        '50 %': 1,
        '10 %': 1,
        '1 %': 1,
    }
    assert json.loads(json.dumps(found['engines']['gallery']['setting'])) == {}


def test_a_table_and_a_chart_say_what_was_found(found, tmp_path):
    text = gallery_report.table(found)
    for word in ('FAISS HNSW16', 'among 50 %', 'bytes of memory an entry', '1.00x'):
        assert word in text
    panels = gallery_report.panels([found, found | dict(kind='made-up')])
    assert list(panels) == ['real-like people, 1,500 entries', 'made-up people, 1,500 entries']
    with Image.open(charts.recall_curves(panels, 'Title', tmp_path / 'curves.png')) as picture:
        assert picture.width > picture.height > 300


def test_results_of_other_people_and_sizes_are_kept(tmp_path):
    path, machine = tmp_path / 'gallery.json', dict(processor='this')
    assert gallery_report.known(path, machine) == []
    results = [dict(kind='made-up', entries=100, old=1), dict(kind='real-like', entries=10)]
    path.write_text(json.dumps(dict(machine=machine, results=results)))
    old = gallery_report.known(path, machine)
    new = gallery_report.added(old, dict(kind='made-up', entries=100))
    assert new == [results[1], dict(kind='made-up', entries=100)]
    assert gallery_report.known(path, dict(processor='another')) == []
    path.write_text('[')
    assert gallery_report.known(path, machine) == []


def test_a_chart_that_cannot_be_drawn_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / 'bars.png'
    charts.bars({'one': {'ours': 1.0}}, 'ms', 'Bars', path)
    before = path.read_bytes()

    def full(self, file, **options):
        (file.write if hasattr(file, 'write') else path.write_bytes)(b'half')
        raise OSError('No space left on device')

    monkeypatch.setattr(Figure, 'savefig', full)
    with pytest.raises(OSError, match='No space'):
        charts.bars({'one': {'ours': 2.0}}, 'ms', 'Bars', path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ['bars.png']


def test_a_gallery_is_named_by_what_it_holds(people):
    names = {
        gallery._fingerprint(some) for some in (people.vectors, people.vectors[:1100], people.vectors + 1e-3)
    }
    assert len(names) == 3
