"""Searches among some entries find all of them that they should."""

import numpy as np
import pytest
from support.crowd import normalised

from mbv1_backbone.retrieval import Condition, Gallery, building, filtering
from mbv1_backbone.retrieval.maintenance import backup
from mbv1_backbone.retrieval.width import Width

DIM = 32
COUNT = 6000


@pytest.fixture(scope='module')
def crowd(tmp_path_factory):
    """Galleries of several kinds of index, each person with four images far from each other."""
    rng = np.random.default_rng(0)
    centres = np.repeat(rng.normal(size=(COUNT // 4, DIM)), 4, axis=0)
    vectors = normalised(centres + 0.9 * rng.normal(size=centres.shape)).astype(np.float32)
    names = [f'p{i // 4}' for i in range(COUNT)]
    metadata = [{'team': i // 4 % 100, 'half': i % 2} for i in range(COUNT)]
    galleries = {}
    for factory in (None, 'HNSW16,Flat', 'IVF64,Flat'):
        gallery = Gallery.create(tmp_path_factory.mktemp('filters') / 'g', DIM, 'm', factory=factory)
        hashes = [f'{i:064x}' for i in range(COUNT)]
        gallery.add(vectors, names, names, hashes, metadata)
        galleries[factory] = gallery
    probes = normalised(centres[::40] + 0.9 * rng.normal(size=centres[::40].shape)).astype(np.float32)
    return galleries, vectors, probes


def truth(vectors, probe, rows, k):
    return {int(row) + 1 for row in rows[np.argsort(-vectors[rows] @ probe)[:k]]}


@pytest.mark.parametrize('factory', [None, 'HNSW16,Flat', 'IVF64,Flat'])
def test_all_images_of_a_person_are_found(crowd, factory):
    galleries, _, probes = crowd
    for number, probe in enumerate(probes):
        [matches] = galleries[factory].search(probe[None], k=9, identity=f'p{(number * 7) % (COUNT // 4)}')
        assert len(matches) == 4  # also people who are not alike


@pytest.mark.parametrize('factory', [None, 'HNSW16,Flat', 'IVF64,Flat'])
def test_few_are_compared_one_by_one(crowd, factory):
    galleries, vectors, probes = crowd
    teams = np.arange(COUNT) // 4 % 100
    for number, probe in enumerate(probes[:50]):
        [matches] = galleries[factory].search(probe[None], k=10, metadata={'team': number})
        exact = truth(vectors, probe, np.flatnonzero(teams == number), 10)
        assert len(exact & set(matches.ids.tolist())) >= 9  # half precision may swap the last


@pytest.mark.parametrize('factory', [None, 'HNSW16,Flat', 'IVF64,Flat'])
@pytest.mark.parametrize('share', [0.5, 0.1])
def test_many_are_searched_widely_enough(crowd, factory, share, monkeypatch):
    monkeypatch.setattr(filtering, 'GATHERED', 100)
    galleries, vectors, probes = crowd
    gallery, teams = galleries[factory], np.arange(COUNT) // 4 % 100
    rows = np.flatnonzero(teams < 100 * share)
    some = [Condition('team', '<', int(100 * share))]
    gallery.add(
        np.ones((1, DIM)), ['x'], ['x'], [f'{10**6 + int(share * 10):064x}']
    )  # what was kept is old now
    found = gallery.search(probes, k=10, metadata=some)
    hits = [
        len(truth(vectors, probe, rows, 10) & set(matches.ids.tolist()))
        for probe, matches in zip(probes, found, strict=True)
    ]
    assert np.mean(hits) / 10 > 0.97
    assert all(len(matches) == 10 for matches in found)
    assert all(match.id in set((rows + 1).tolist()) for match in found[0])
    [every] = gallery.search(probes[:1], k=10_000, metadata=some)
    assert len(every) == len(rows)


def test_widths_of_filtered_searches_are_kept_with_the_index(crowd, monkeypatch, tmp_path):
    """Half of the images of people leave strangers among the nearest, who take more lists and candidates."""
    monkeypatch.setattr(building, 'GATHERED', 1000)
    gallery = crowd[0][None]
    backup(gallery, tmp_path / 'copy')
    with Gallery(tmp_path / 'copy') as copied:
        copied.search(np.ones((1, DIM)))
        parameters = copied._live._standing.index.parameters
        assert sorted(parameters.filtered) == [0.2, 0.5]
        half = parameters.filled(Width(), 10, COUNT, 0.5)
        assert (half.nprobe, half.candidates) >= (parameters.own.nprobe, parameters.own.candidates)
        assert parameters.filled(Width(), 10, COUNT, 0.3) == parameters.filled(Width(), 10, COUNT, 0.2)
        assert parameters.filled(Width(candidates=77), 10, COUNT, 0.3).candidates == 77
        less = [parameters.filled(Width(), 10, COUNT, share).nprobe for share in (0.2, 0.199, 0.1)]
        assert less[0] <= less[1] <= less[2]  # in proportion to the least that was measured
        kept = dict(parameters.filtered)
    with Gallery(tmp_path / 'copy') as opened:
        opened.search(np.ones((1, DIM)))
        assert opened._live._standing.index.parameters.filtered == kept


def test_a_filter_sees_what_has_changed(tmp_path):
    with Gallery.create(tmp_path / 'g', DIM, 'm') as gallery:
        ids = gallery.add(np.eye(DIM)[:4], list('aabb'), list('abcd'), [f'{i:064x}' for i in range(4)]).ids
        assert [len(m) for m in gallery.search(np.ones((1, DIM)), identity='a')] == [2]
        gallery.remove(ids[:1])
        gallery.update(ids[2], {'n': 1})
        assert [len(m) for m in gallery.search(np.ones((1, DIM)), identity='a')] == [1]
        assert gallery.search(np.ones((1, DIM)), metadata={'n': 1})[0].ids.tolist() == [ids[2]]
        gallery.update(ids[2], {})
        assert gallery.search(np.ones((1, DIM)), metadata={'n': 1}) == [[]]


def test_a_graph_gives_all_that_were_asked_for(crowd):
    galleries, _, probes = crowd
    [matches] = galleries['HNSW16,Flat'].search(probes[:1], k=COUNT + 100, threshold=None)
    assert len(matches) == len(galleries['HNSW16,Flat'])


def test_a_graph_passes_over_an_entry_that_came_and_went(crowd, monkeypatch):
    gallery = crowd[0]['HNSW16,Flat']
    reader = Gallery(gallery.folder)
    reader.search(np.ones((1, DIM)))
    standing = reader._live._standing
    ids = gallery.add(np.ones((1, DIM)), ['q'], ['q'], ['f' * 64]).ids
    gallery.remove(ids)
    reader.search(np.ones((1, DIM)))
    assert reader._live._standing is standing  # not built anew
