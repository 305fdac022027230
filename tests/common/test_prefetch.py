"""Work done ahead by threads."""

import threading

import pytest

from mbv1_backbone.common.prefetch import batched, map_concurrently, prefetch


@pytest.mark.parametrize('count', [0, 1, 7])
def test_results_come_in_the_order_of_their_items(count):
    assert list(prefetch(lambda x: x * x, range(count), threads=3, max_pending=2)) == [
        x * x for x in range(count)
    ]


def test_later_items_are_worked_on_before_the_first_is_taken():
    both = threading.Barrier(2, timeout=10)
    assert (
        len(list(prefetch(lambda _: both.wait(), range(2), threads=2, max_pending=2))) == 2
    )  # alone each would wait


def test_no_more_items_are_taken_than_may_be_under_way():
    taken = []

    def items():
        for item in range(100):
            taken.append(item)
            yield item

    results = prefetch(str, items(), threads=2, max_pending=3)
    assert next(results) == '0'
    assert len(taken) <= 4
    results.close()
    assert len(taken) <= 4


def test_an_error_is_raised_in_its_turn_and_the_rest_left_undone():
    done = []

    def work(item):
        if item == 2:
            raise ValueError('two')
        done.append(item)
        return item

    results = prefetch(work, range(100), threads=1, max_pending=2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match='two'):
        next(results)
    assert len(done) <= 4


def test_batches_have_their_size_and_the_last_what_is_left():
    assert list(batched(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(batched([], 2)) == []
    with pytest.raises(ValueError, match='batch_size must be at least 1, got 0'):
        list(batched([1], 0))


def test_one_at_a_time_is_the_calling_threads_and_several_are_others():
    here = threading.get_ident()
    assert set(map_concurrently(lambda _: threading.get_ident(), range(4), 1)) == {here}
    assert here not in set(map_concurrently(lambda _: threading.get_ident(), range(4), 2))
    assert list(map_concurrently(str, range(5), 2)) == list('01234')
