"""Metadata that is asked for, against loops over dicts."""

import numpy as np
import pytest
from support.crowd import DIM, people

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval import Condition, Gallery

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
        ({3: 4}, 'whose keys are text'),
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
