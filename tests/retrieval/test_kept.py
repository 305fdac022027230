"""What is kept for filters: so many bytes, and the longest unused goes first."""

import numpy as np
import pytest
from support.crowd import normalised

from mbv1_backbone.retrieval import Condition, Gallery, filtering, kept
from mbv1_backbone.retrieval.kept import Kept

DIM, COUNT, FILTERS = 16, 2000, 20


def put(into, key, size):
    return into.get(key, lambda: key.upper(), lambda value: size)


def test_the_longest_unused_goes_first(monkeypatch):
    monkeypatch.setattr(kept, 'KEPT_BYTES', 1000)
    some = Kept()
    for key in 'abc':
        assert put(some, key, 300) == key.upper()
    assert some.find('a') == 'A'
    put(some, 'd', 300)
    assert [some.find(key) for key in 'abcd'] == ['A', None, 'C', 'D']
    put(some, 'e', 5000)  # more than there is room for: by itself
    assert [some.find(key) for key in 'acde'] == [None, None, None, 'E']
    put(some, 'f', 300)
    assert [some.find(key) for key in 'ef'] == [None, 'F']
    some.forget('f')
    some.forget('f')
    for key in 'abc':
        put(some, key, 300)
    assert [some.find(key) for key in 'abcf'] == ['A', 'B', 'C', None]
    some.clear()
    assert some.find('a') is None


def test_a_value_outlives_another_thread_that_clears_or_makes_it():
    some = Kept()

    def make():
        some.clear()
        some.get('key', lambda: 4, lambda value: 8)
        return 5

    assert some.get('key', make, lambda value: 8) == some.find('key') == 5
    some.clear()
    assert some.count('key', 3) == 3
    some.count_anew('key')
    assert some.count('key', 2) == 2


@pytest.fixture(scope='module')
def crowd(tmp_path_factory):
    vectors = normalised(np.random.default_rng(0).normal(size=(COUNT, DIM)))
    names = [f'p{i}' for i in range(COUNT)]
    with Gallery.create(tmp_path_factory.mktemp('kept') / 'g', DIM, 'm') as gallery:
        gallery.add(
            vectors, names, names, [f'{i:064x}' for i in range(COUNT)], [{'n': i} for i in range(COUNT)]
        )
        yield gallery, vectors


@pytest.mark.parametrize('room', [1 << 30, 80_000])
def test_filters_in_turn_get_codes_in_the_room_that_there_is(crowd, room, monkeypatch):
    """Copies of 64 bytes an entry, of 1000 to 1019: there is room for one, or all."""
    gallery, vectors = crowd
    gallery._live.kept.clear()
    made = []
    monkeypatch.setattr(kept, 'KEPT_BYTES', room)
    monkeypatch.setattr(filtering, 'KEPT_BYTES', room)
    monkeypatch.setattr(filtering, 'GATHERED', 100)
    monkeypatch.setattr(filtering, '_WORTH_AN_INDEX', 3)
    real = filtering.matching_index
    monkeypatch.setattr(filtering, 'matching_index', lambda *args: made.append(args) or real(*args))
    for _ in range(3):
        for more in range(FILTERS):
            [found] = gallery.search(vectors[:1], 1, metadata=[Condition('n', '<', 1000 + more)])
            assert found.ids.tolist() == [1]
            assert gallery._live.kept._bytes <= room
    assert not made
    for more in range(FILTERS):
        gallery.search(vectors[:1], 1, metadata=[Condition('n', '<', 1000 + more)])
    assert len(made) == FILTERS
    assert gallery._live.kept._bytes <= room
    assert gallery._live.kept.find(('copy', None, repr((Condition('n', '<', 1019),)))) is None
    again = len(made)
    gallery.search(vectors[:1], 1, metadata=[Condition('n', '<', 1000)])
    assert len(made) == again  # where it had to go, it is worth an index only after as much again


def test_a_copy_that_is_too_large_is_not_made(crowd, monkeypatch):
    gallery, vectors = crowd
    gallery._live.kept.clear()
    monkeypatch.setattr(filtering, 'GATHERED', 100)
    exact = gallery.search(vectors[:5], 20, metadata=[Condition('n', '<', 1000)])
    monkeypatch.setattr(filtering, 'KEPT_BYTES', 50_000)
    gallery._live.kept.clear()
    assert gallery.search(vectors[:5], 20, metadata=[Condition('n', '<', 1000)]) == exact
    assert not [key for key in gallery._live.kept._values if key[0] == 'copy']


def test_uses_are_counted_of_the_last_keys_alone():
    some = Kept()
    for key in range(10_000):
        some.count('often', 1)
        some.count(key, 1)
    assert some.count('often', 1) == 10_001
    assert some.count(0, 1) == 1  # forgotten: counts of keys that never come again are not kept for ever
    assert some.count(9_999, 1) == 2
