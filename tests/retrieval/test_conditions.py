"""Metadata that is asked for, against loops over dicts."""

import enum

import numpy as np
import pytest
from support.crowd import DIM, people

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval import Condition, Gallery
from mbv1_backbone.retrieval.conditions import metadata_json

VALUES = [
    None,
    True,
    False,
    0,
    1,
    1.0,
    -2.5,
    '',
    '1',
    'é',
    'a\0b',
    '😀',
    [1],
    {'a': 1},
    2**53 + 1,
    2**70,
    1e300,
]
KEYS = ['k', 'a"b', "d'e", 'a.b', '', '[0]', '$', 'é', '😀', 'a\\b', 'a\tb', '$.k', 'a\0b']


def made(folder, metadata):
    gallery = Gallery.create(folder, DIM, 'm')
    vectors, names, files, hashes = people(len(metadata), images=1)
    gallery.add(vectors, names, files, hashes, metadata)
    return gallery


def same(a, b):
    return type(a) is type(b) and a == b


@pytest.fixture(scope='module')
def metadata():
    return [{'k': value} for value in VALUES] + [{key: 'x'} for key in KEYS] + [{}]


@pytest.fixture(scope='module')
def gallery(metadata, tmp_path_factory):
    return made(tmp_path_factory.mktemp('conditions') / 'g', metadata)


@pytest.mark.parametrize('value', VALUES, ids=repr)
def test_equal_is_of_one_type(value, gallery, metadata):
    found = [entry.id for entry in gallery.entries(metadata={'k': value})]
    assert found == [i for i, m in enumerate(metadata, 1) if 'k' in m and same(m['k'], value)]
    other = [entry.id for entry in gallery.entries(metadata=[Condition('k', '!=', value)])]
    assert other == [i for i, m in enumerate(metadata, 1) if 'k' in m and not same(m['k'], value)]


@pytest.mark.parametrize('key', KEYS, ids=repr)
def test_any_text_is_a_key(key, gallery, metadata):
    assert [e.id for e in gallery.entries(metadata={key: 'x'})] == [
        i for i, m in enumerate(metadata, 1) if m.get(key) == 'x'
    ]
    there = [i for i, m in enumerate(metadata, 1) if key in m]
    assert [e.id for e in gallery.entries(metadata=[Condition(key, 'exists')])] == there
    missing = [e.id for e in gallery.entries(metadata=[Condition(key, 'missing')])]
    assert missing == sorted(set(range(1, len(metadata) + 1)) - set(there))


@pytest.mark.parametrize(('operator', 'compare'), [('<', np.less), ('<=', np.less_equal), ('>', np.greater)])
@pytest.mark.parametrize('bound', [1, 0.5, 2**53, 'é', ''])
def test_numbers_and_texts_have_an_order(operator, compare, bound, gallery, metadata):
    kinds = (str,) if isinstance(bound, str) else (int, float)
    wanted = [
        i
        for i, m in enumerate(metadata, 1)
        if type(m.get('k')) in kinds and m['k'] != 2**70 and compare(m['k'], bound)
    ]
    assert [e.id for e in gallery.entries(metadata=[Condition('k', operator, bound)])] == wanted


def test_conditions_join_and_searches_take_them(gallery, metadata):
    some = [Condition('k', 'in', [1, '1', None]), Condition('k', '!=', None)]
    found = [e.metadata['k'] for e in gallery.entries(metadata=some)]
    assert found == [1, '1']
    [matches] = gallery.search(np.ones((1, DIM)), k=50, metadata=some)
    assert len(matches) == 2
    assert list(gallery.entries(metadata=[Condition('k', 'in', [])])) == []
    assert list(gallery.entries(metadata={'unheard-of': None})) == []


def test_what_was_replaced_is_not_found_by_what_it_was(tmp_path):
    gallery = made(tmp_path / 'g', [{'n': 1}, {'n': 1}])
    gallery.update(1, {'n': 2})
    gallery.remove([2])
    assert [e.id for e in gallery.entries(metadata={'n': 2})] == [1]
    assert list(gallery.entries(metadata={'n': 1})) == []


@pytest.mark.parametrize(
    ('wrong', 'complaint'),
    [
        ('x', 'must be a dict or a list of conditions'),
        ([('k', '=', 1)], 'must be asked for by conditions'),
        ([Condition('k', '~', 1)], 'an operator is one of'),
        ([Condition('k', '<', None)], 'only numbers and text have an order'),
        ([Condition('k', '<', True)], 'only numbers and text have an order'),
        ([Condition('k', 'in', 'ab')], 'a list of values is needed'),
        ({3: 4}, 'key of a condition must be text, got 3'),
        ([Condition(['a'], 'exists')], 'key of a condition must be text'),
        ([Condition('k', 'exists', False)], 'it takes no value, got False; exists and missing are the two'),
        ([Condition('k', 'missing', 0)], 'it takes no value, got 0'),
        (np.array([1, 2]), 'must be a dict or a list of conditions'),
        ({'a': {1, 2}}, 'what JSON can hold'),
        ({'a': float('nan')}, 'what JSON can hold'),
        ({'\ud800': 1}, 'what JSON can hold'),
    ],
)
def test_a_wrong_condition_is_one_line(wrong, complaint, gallery):
    with pytest.raises(InputError, match=complaint):
        gallery.search(np.ones((1, DIM)), metadata=wrong)
    with pytest.raises(InputError, match=complaint):
        list(gallery.entries(metadata=wrong))


class Year(enum.IntEnum):
    FIRST = 1


class Team(str, enum.Enum):
    RED = '1'


@pytest.mark.parametrize(
    ('given', 'plain'),
    [
        (np.str_('1'), '1'),
        (np.float64(1), 1.0),
        (np.float32(-2.5), -2.5),
        (np.int64(1), 1),
        (np.bool_(True), True),
        (Year.FIRST, 1),
        (Team.RED, '1'),
    ],
    ids=repr,
)
def test_a_value_is_what_it_holds(given, plain, gallery):
    """Of NumPy's and the like: they matched nothing with =, and everything with !=."""
    for operator in ('=', '!='):
        found, wanted = (
            [e.id for e in gallery.entries(metadata=[Condition('k', operator, v)])] for v in (given, plain)
        )
        assert found == wanted
    among, equal = ({'k': [given]}, {'k': [plain]}), (Condition('k', 'in', [given]), {'k': plain})
    assert [e.id for e in gallery.entries(metadata=[equal[0]])] == [
        e.id for e in gallery.entries(metadata=equal[1])
    ]
    assert metadata_json(among[0]) == metadata_json(among[1])


def test_order_with_a_number_of_numpys(gallery):
    found = [[e.id for e in gallery.entries(metadata=[Condition('k', '<', v)])] for v in (np.float32(1), 1.0)]
    assert found[0] == found[1] != []


def test_one_of_very_many_values(gallery):
    """SQLite took a thousand for a damaged database."""
    many = [*range(2, 3000), '1', 1.0]
    found = {repr(e.metadata['k']) for e in gallery.entries(metadata=[Condition('k', 'in', many)])}
    assert found == {"'1'", '1.0'}
    with pytest.raises(InputError, match='at most 500 conditions'):
        list(gallery.entries(metadata=[Condition('k', 'exists')] * 501))


@pytest.mark.parametrize('found', [{}, {'threshold': float('nan')}, {'threshold': 'x'}, {'threshold': None}])
def test_a_calibration_without_a_threshold_is_refused(found, tmp_path):
    gallery = made(tmp_path / 'g', [{}])
    with pytest.raises(InputError, match='threshold'):
        gallery.set_calibration(found)
    assert len(gallery.search(np.eye(1, DIM))[0]) == 1


@pytest.mark.parametrize('threshold', [5, -1.5, float('nan'), float('inf')])
def test_a_threshold_that_no_score_can_have_is_refused(threshold, gallery):
    with pytest.raises(InputError, match=r'threshold must lie in -1\.\.1'):
        gallery.search(np.eye(1, DIM), threshold=threshold)


def test_probes_that_numpy_cannot_read_are_refused(gallery):
    for probes in ([[1.0] * DIM, [1.0]], _Unreadable()):
        with pytest.raises(InputError, match='probes must be numbers in rows of one length'):
            gallery.search(probes)


class _Unreadable:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
