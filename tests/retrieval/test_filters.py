"""Searches among some entries find all of them that they should."""

import numpy as np
import pytest
from support.crowd import normalised

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval import Condition, Gallery, building, filtering
from mbv1_backbone.retrieval.index import SearchIndex
from mbv1_backbone.retrieval.maintenance import backup
from mbv1_backbone.retrieval.matching_index import MatchingIndex
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


@pytest.fixture
def indexed(monkeypatch):
    """Filters of more than 100 entries get an index of their own at once; a list of those that were made."""
    made = []

    class Counted(MatchingIndex):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(filtering, 'GATHERED', 100)
    monkeypatch.setattr(filtering, '_WORTH_AN_INDEX', 0)
    monkeypatch.setattr(building, 'MatchingIndex', Counted)
    return made


def hits(vectors, rows, probes, found, k=10):
    pairs = zip(probes, found, strict=True)
    return np.array(
        [len(truth(vectors, one, rows, k) & set(matches.ids.tolist())) / k for one, matches in pairs]
    )


@pytest.mark.parametrize(
    ('factory', 'where'),
    [
        (None, Condition('half', '=', 1)),
        (None, Condition('team', '<', 50)),
        ('PCAR24,IVF32,PQ12x4fs,Refine(SQfp16)', Condition('half', '=', 1)),
        ('HNSW16,Flat', Condition('team', '<', 50)),
    ],
)
def test_entries_that_match_have_an_index_of_their_own(crowd, indexed, tmp_path, factory, where):
    """Half of each person's images, or half of the people: the others' probes find only strangers."""
    galleries, vectors, probes = crowd
    backup(galleries[None], tmp_path / 'copy')
    numbers = np.arange(COUNT)
    rows = np.flatnonzero(numbers % 2 == 1 if where.key == 'half' else numbers // 4 % 100 < 50)
    with Gallery(tmp_path / 'copy') as gallery:
        if factory is not None:
            gallery.rebuild(factory)
        some = [where]
        assert hits(vectors, rows, probes, gallery.search(probes, k=10, metadata=some)).mean() > 0.97
        for probe in probes[:5]:
            gallery.search(probe[None], k=3, metadata=some)
        [every] = gallery.search(probes[:1], k=10_000, threshold=None, metadata=some)
        assert sorted(every.ids.tolist()) == (rows + 1).tolist()
        [made] = indexed
        assert made.parameters.own.candidates
        assert made.rows.tolist() == rows.tolist()
        gallery.remove([int(rows[0]) + 1])
        found = gallery.search(vectors[rows[:1]], k=10, metadata=some)[0].ids.tolist()
        assert rows[0] + 1 not in found
        assert len(indexed) == 2


def test_an_index_of_their_own_is_made_when_it_pays(crowd, indexed, monkeypatch):
    monkeypatch.setattr(filtering, '_WORTH_AN_INDEX', 250)
    galleries, vectors, probes = crowd
    rows = np.flatnonzero(np.arange(COUNT) // 4 % 100 < 40)
    some = [Condition('team', '<', 40)]
    exact = galleries[None].search(probes, k=10, metadata=some)  # 150 probes
    assert hits(vectors, rows, probes, exact).mean() > 0.995  # half precision may swap the last
    assert not indexed
    galleries[None].search(probes, k=10, metadata=some, candidates=50)  # a width is one of the whole index
    assert not indexed
    galleries[None].search(probes, k=10, metadata=some)
    assert len(indexed) == 1


@pytest.mark.parametrize('dim', [15, 16])
def test_codes_of_what_matches_give_its_rows(dim):
    vectors = normalised(np.random.default_rng(0).normal(size=(2000, dim))).astype(np.float32)
    index = SearchIndex.build('IVF4,SQ8,Refine(SQfp16)', vectors)
    rows = np.arange(1, 2000, 2)
    made = MatchingIndex(index, rows)
    scores, found = made.search(vectors[:50], 5, Width(candidates=100))
    exact_scores, exact = made.compare_all(vectors[:50], 5)
    assert (found == exact).mean() > 0.98
    np.testing.assert_allclose(scores[found == exact], exact_scores[found == exact], atol=1e-6)
    assert (exact % 2 == 1).all()
    assert exact[1::2, 0].tolist() == list(range(1, 50, 2))


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


@pytest.fixture(scope='module')
def alike(tmp_path_factory):
    """4000 entries of 200 people whose 20 images are much alike, and an image more of each of them."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(200, DIM))
    vectors = normalised(np.repeat(centres, 20, axis=0) + 0.5 * rng.normal(size=(4000, DIM)))
    probes = normalised(centres + 0.5 * rng.normal(size=centres.shape)).astype(np.float32)
    metadata = [{'kept': i % 20 > 0, 'all': 1, 'place': i} for i in range(4000)]
    names, hashes = [f'p{i // 20}' for i in range(4000)], [f'{i:064x}' for i in range(4000)]
    with Gallery.create(tmp_path_factory.mktemp('alike') / 'g', DIM, 'm') as gallery:
        gallery.add(vectors, names, names, hashes, metadata)
        yield gallery, vectors.astype(np.float32), probes


def test_the_single_nearest_is_found_with_codes(alike, indexed):
    """Candidates are stored as many as were compared when .99 of ten were found."""
    gallery, vectors, probes = alike
    rows = np.flatnonzero(np.arange(4000) % 20 < 10)
    some = [Condition('place', 'in', rows.tolist())]
    assert hits(vectors, rows, probes, gallery.search(probes, 1, metadata=some), 1).mean() > 0.95
    strangers = normalised(np.random.default_rng(9).normal(size=(200, DIM))).astype(np.float32)
    assert hits(vectors, rows, strangers, gallery.search(strangers, 10, metadata=some)).mean() > 0.98
    [made] = indexed
    assert made.parameters.own.candidates >= 150
    assert made.filled(Width(), 100).candidates == 10 * made.parameters.own.candidates


def test_the_single_nearest_is_found_by_a_refined_index(alike, tmp_path):
    gallery, vectors, probes = alike
    backup(gallery, tmp_path / 'copy')
    with Gallery(tmp_path / 'copy') as copy:
        copy.rebuild('SQ4,Refine(SQfp16)')
        assert hits(vectors, np.arange(4000), probes, copy.search(probes, 1), 1).mean() > 0.95
        assert copy.stats()['search_width']['candidates'] >= 22


def test_what_nearly_all_match_is_searched_as_all_are(alike, indexed):
    gallery, vectors, probes = alike
    plain = gallery.search(probes, 10)
    assert gallery.search(probes, 10, metadata={'all': 1}) == plain
    rows = np.flatnonzero(np.arange(4000) % 20 > 0)
    found = gallery.search(probes, 10, None, metadata={'kept': True})
    assert hits(vectors, rows, probes, found).mean() > 0.95
    assert all(len(matches) == 10 and not (matches.ids % 20 == 1).any() for matches in found)
    assert not indexed


def test_many_of_those_that_match_are_compared_with_all(alike, indexed):
    gallery, vectors, probes = alike
    rows = np.arange(2000)
    found = gallery.search(probes[:20], 300, None, metadata=[Condition('place', '<', 2000)])
    assert hits(vectors, rows, probes[:20], found, 300).mean() > 0.995
    assert not indexed


def test_codes_give_as_many_as_were_asked_for():
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(4000, DIM))
    vectors[2000:] = vectors[2000]
    vectors = normalised(vectors).astype(np.float32)
    made = MatchingIndex(SearchIndex.build('SQfp16', vectors), np.arange(1, 4000))
    for probe in (vectors[2000], vectors[5], -vectors[2000]):
        for k in (100, 1000, 3999):
            [rows] = made.search(probe[None], k)[1]
            assert len(set(rows.tolist()) - {-1, 0}) == k


def test_scores_at_the_ends_reach_the_threshold(tmp_path):
    vectors = normalised(np.random.default_rng(4).normal(size=(300, DIM)))
    names = [f'p{i}' for i in range(300)]
    with Gallery.create(tmp_path / 'g', DIM, 'm') as gallery:
        gallery.add(vectors, names, names, [f'{i:064x}' for i in range(300)])
        assert {len(matches) for matches in gallery.search(-vectors, 300, -1.0)} == {300}
        for matches in gallery.search(vectors, 1, 1.0):
            assert all(match.score >= 1.0 for match in matches)


@pytest.mark.parametrize('metadata', ['', 0, False, b''])
def test_what_is_no_condition_is_refused(alike, metadata):
    gallery, _, probes = alike
    for ask in (lambda **where: gallery.search(probes, **where), gallery.entries):
        with pytest.raises(InputError, match='metadata must be a dict or a list of conditions'):
            ask(metadata=metadata)
    assert gallery.search(probes[:2], 3, metadata={}) == gallery.search(probes[:2], 3, metadata=[])


@pytest.mark.parametrize('factory', ['PQ16x4', 'PQ8', 'PQ16x4,Refine(Flat)', 'HNSW16_PQ8'])
def test_an_index_that_could_not_pass_over_removed_entries_is_refused(tmp_path, factory):
    with pytest.raises(InputError, match=r'PQ .*with IVF'):
        Gallery.create(tmp_path / 'g', DIM, 'm', factory=factory)
    assert not (tmp_path / 'g').exists()
