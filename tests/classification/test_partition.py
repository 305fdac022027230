"""Cells by where photographs were taken, compared with a slow division of one cell after the other."""

import json

import numpy as np
import pytest

from mbv1_backbone.classification.partition import Partition
from mbv1_backbone.classification.place_head import cells_of, partition_of
from mbv1_backbone.classification.s2_cells import cell_ids, parents
from mbv1_backbone.classification.sphere import great_circle, mean_places
from mbv1_backbone.common.errors import InputError


def clustered(count=3000, seed=0):
    rng = np.random.default_rng(seed)
    middles = np.stack([np.degrees(np.arcsin(rng.uniform(-1, 1, 30))), rng.uniform(-180, 180, 30)], 1)
    places = middles[rng.integers(30, size=count)] + rng.normal(
        0, rng.choice([1e-4, 0.1, 5], (count, 1)), (count, 2)
    )
    return np.stack([places[:, 0].clip(-90, 90), (places[:, 1] + 180) % 360 - 180], 1)


def divided(leaves, most, least, level=0):
    """Slowly: the cells of these leaves, each divided into its own."""
    found = []
    for cell in sorted({int(parents(np.array([leaf], np.uint64), level)[0]) for leaf in leaves}):
        mine = [leaf for leaf in leaves if int(parents(np.array([leaf], np.uint64), level)[0]) == cell]
        if len(mine) > most and level < 30:
            found += divided(mine, most, least, level + 1)
        elif len(mine) >= least:
            found.append((cell, len(mine)))
    return found


@pytest.mark.parametrize(('most', 'least', 'level'), [(50, 5, 0), (20, 20, 0), (100, 1, 4)])
def test_cells_are_those_of_dividing_one_after_the_other(most, least, level):
    places = clustered(600)
    found = Partition.fit(places, most, least, level)
    slow = sorted(divided(cell_ids(*places.T).tolist(), most, least, level))
    assert list(zip(found.ids.tolist(), found.photos.tolist(), strict=True)) == slow
    assert found.left_out == len(places) - sum(count for _, count in slow)


def test_a_photograph_belongs_to_the_cell_around_it():
    places = clustered()
    found = Partition.fit(places, 100, 20)
    others = clustered(seed=1)
    labels = found.assign(others)
    assert (labels >= 0).any()
    assert (labels < 0).any()
    for leaf, label in zip(cell_ids(*others.T)[:80], labels, strict=False):
        around = [
            k
            for k, cell in enumerate(found.ids)
            for level in range(31)
            if parents(leaf[None], level)[0] == cell
        ]
        assert around == ([label] if label >= 0 else [])


def test_many_photographs_of_one_place_are_one_cell():
    places = np.array([[45.0, 15.0]] * 30 + [[10.0, 10.0]] * 5)
    found = Partition.fit(places, max_photos=10, min_photos=5)
    assert sorted(found.photos.tolist()) == [5, 30]
    assert found.prior == pytest.approx([45, 15])


def test_a_cells_place_is_the_mean_of_its_photographs_on_the_sphere():
    places = np.array([[10, 179.9], [10, -179.9], [89, 0], [89, 120], [89, -120]])
    means = mean_places(places, np.array([0, 0, 1, 1, 1]), 2)
    assert abs(means[0, 1]) == pytest.approx(180)
    assert means[0, 0] == pytest.approx(10, abs=1e-3)
    assert means[1, 0] == pytest.approx(90)


def test_great_circles():
    ones = np.array([[0, 0], [90, 0], [48.8566, 2.3522], [0, 179.5]])
    others = np.array([[0, 180], [0, 77], [51.5074, -0.1278], [0, -179.5]])
    # Half and a quarter of the circumference, Paris to London (344 km), a degree at the equator.
    assert great_circle(ones, others) == pytest.approx([20015.1, 10007.5, 343.6, 111.2], abs=0.1)
    assert great_circle(ones, ones) == pytest.approx([0] * 4)


def test_a_file_gives_back_what_was_saved(tmp_path):
    saved = Partition.fit(clustered(), 100, 20)
    saved.save(tmp_path / 'cells.json')
    found = Partition.load(tmp_path / 'cells.json')
    assert found.ids.tolist() == saved.ids.tolist()
    assert found.photos.tolist() == saved.photos.tolist()
    assert found.places == pytest.approx(saved.places, abs=1e-6)
    assert (found.max_photos, found.min_photos, found.left_out) == (100, 20, saved.left_out)
    assert json.loads((tmp_path / 'cells.json').read_text())['format'] == 1


def exchange_places(cells):
    cells[0][1:3], cells[1][1:3] = cells[1][1:3], cells[0][1:3]


def test_a_place_on_the_edge_of_its_cell_is_read_though_it_is_rounded(tmp_path):
    """Cells of a square centimetre, to which files round: some places lie in the next one."""
    places = np.random.default_rng(0).uniform(-1, 1, (400, 2)) * (90, 180)
    places[:2] = [90 - 1e-9, 45], [-90 + 1e-9, 179.99999999]
    ids = cell_ids(*places.T)
    order = ids.argsort()
    saved = Partition(ids[order], places[order], np.full(400, 60))
    saved.save(tmp_path / 'cells.json')
    rounded = np.array([row[1:3] for row in json.loads((tmp_path / 'cells.json').read_text())['cells']])
    assert (saved.assign(rounded) != np.arange(400)).sum() > 100
    assert Partition.load(tmp_path / 'cells.json').ids.tolist() == saved.ids.tolist()
    assert len(partition_of(cells_of(Partition.load(tmp_path / 'cells.json')))) == 400


@pytest.mark.parametrize(
    ('change', 'says'),
    [
        (lambda content: content.update(format=2), 'format 2, this version knows 1'),
        (lambda content: content.update(kind='x'), 'not a file of mbv1 cells'),
        (lambda content: content['cells'].reverse(), 'not in order'),
        (lambda content: content['cells'].__delitem__(slice(1, None)), 'fewer than two'),
        (lambda content: content['cells'].insert(0, ['1', 0, 0, 9]), 'lie in one another'),
        (lambda content: content['cells'][0].__setitem__(0, 'zz'), 'cannot be read'),
        (lambda content: content['cells'][0].__setitem__(1, 91), 'no place'),
        (lambda content: content['cells'][0].pop(), 'cannot be read'),
        (lambda content: content.pop('min_level'), 'cannot be read'),
        (lambda content: content['cells'][0].__setitem__(1, -content['cells'][0][1]), 'does not lie in it'),
        (lambda content: exchange_places(content['cells']), 'does not lie in it'),
        (
            lambda content: content['columns'].__setitem__(slice(1, 3), ['longitude', 'latitude']),
            'columns are',
        ),
        (lambda content: content.pop('columns'), 'cannot be read'),
        (lambda content: content['cells'][0].__setitem__(3, 2**33), 'number of photographs'),
        (lambda content: content['cells'][0].__setitem__(3, 19), 'has 19 photographs, but min_photos=20'),
        (
            lambda content: content['cells'][0].__setitem__(3, 101),
            'has 101 photographs, but .*max_photos=100',
        ),
        (lambda content: content.update(min_level=29), 'min_level=29'),
    ],
)
def test_a_file_that_is_not_one_is_refused(tmp_path, change, says):
    path = tmp_path / 'cells.json'
    Partition.fit(clustered(), 100, 20).save(path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=says) as caught:
        Partition.load(path)
    assert '\n' not in str(caught.value)


def test_no_file_and_no_json_are_refused(tmp_path):
    with pytest.raises(InputError, match='no such file; mbv1 cells makes it'):
        Partition.load(tmp_path / 'cells.json')
    for content in (b'\xff\x00', b'[' * 100_000):
        (tmp_path / 'cells.json').write_bytes(content)
        with pytest.raises(InputError, match='not a file of mbv1 cells'):
            Partition.load(tmp_path / 'cells.json')


@pytest.mark.parametrize(
    ('count', 'numbers', 'says'),
    [
        (1, (10, 1, 0), '^1 photograph: 1 cell of 1 to 10, and'),
        (300, (1000, 500, 0), '300 photographs: 0 cells of 500 to 1000'),
        (300, (5, 6, 0), r'min_photos must lie in 1..max_photos, got 6 with max_photos=5'),
        (300, (5, 5, 31), r'min_level must lie in 0..30, got 31'),
    ],
)
def test_too_few_photographs_and_wrong_numbers_are_refused(count, numbers, says):
    with pytest.raises(InputError, match=says):
        Partition.fit(clustered(count), *numbers)
