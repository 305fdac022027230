"""The choice of an index, its training, and its rows."""

import re

import faiss
import numpy as np
import pytest
from support.crowd import DIM, normalised, people

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval import Gallery, choose_factory, live
from mbv1_backbone.retrieval.factories import usable_factory
from mbv1_backbone.retrieval.index import SearchIndex
from mbv1_backbone.retrieval.index_file import read_index, write_index
from mbv1_backbone.retrieval.store import Store
from mbv1_backbone.retrieval.training import _means, are_uneven
from mbv1_backbone.retrieval.vectors import ArrayVectors
from mbv1_backbone.retrieval.width import Width


@pytest.mark.parametrize('clustered', [True, False])
@pytest.mark.parametrize('count', [3001, 50_000, 79_000, 100_000, 10**6, 10**6 + 1, 3 * 10**6, 10**8])
def test_what_is_chosen_can_be_trained_on_as_many(count, clustered):
    factory = choose_factory(count, 128, clustered=clustered)
    short = 'PQ32x4fs' if count >= 500_000 and clustered else 'PQ64x4fs'
    assert factory.startswith('IVF')
    assert factory.endswith(f'{short},Refine(SQfp16)')
    assert usable_factory(factory, 128, count) == factory
    assert usable_factory(choose_factory(count, 128, 200, clustered), 128, count).endswith(
        f'{short},Refine(SQ8)'
    )
    assert usable_factory(choose_factory(count, 128, 32, clustered), 128, count).endswith(short)


def test_few_people_share_a_list_where_each_has_several_images():
    def lists(count, people):
        return int(re.match(r'IVF(\d+)', choose_factory(count, 128, people=people))[1])

    assert lists(10**6, 50_000) == 16384  # not 4096, of which 268 were looked through for a recall of .99
    assert lists(10**6, 400_000) == lists(10**6, None) == 4096  # two images each: people are no clusters
    assert lists(10**5, 5000) == 2048
    assert lists(10**6, 1000) == 4096
    assert choose_factory(10**6, 128, 16, clustered=False).endswith('PQ32x4fs')  # where no more is allowed


def test_few_are_all_compared_and_codes_fit_their_room():
    assert choose_factory(3000, 128) == 'Flat'
    assert choose_factory(5000, 13).endswith('SQ8,Refine(SQfp16)')  # codes come in pairs of values
    with pytest.raises(InputError, match='31 bytes a vector are too few'):
        choose_factory(10, 128, 31)


@pytest.mark.parametrize('factory', ['IDMap,Flat', 'LSH', 'PCA8,Flat', 'NSG32', 'IVF2000000,Flat'])
def test_an_index_that_a_gallery_cannot_use_is_one_line(factory, tmp_path):
    with pytest.raises(InputError, match=r"index '.*(a gallery uses|is not one of FAISS)"):
        Gallery.create(tmp_path / 'g', DIM, 'm', factory=factory)
    assert not (tmp_path / 'g').exists()


@pytest.mark.parametrize(
    'factory',
    [
        *('Flat', 'HNSW16', 'SQ8', 'IVF64,Flat', 'PCA12,IVF64,Flat', 'IVF64_HNSW16,Flat', 'IVF64,SQ8'),
        *('IVF256,Flat', 'IVF64,PQ8x4fs,Refine(SQfp16)', 'IVF64,PQ8x4fs,RFlat', 'IVF64,PQ8x4fs'),
    ],
)
def test_every_kind_finds_keeps_loses_and_comes_back_from_its_bytes(factory, tmp_path):
    vectors = normalised(people(300, images=20)[0]).astype(np.float32)
    index = SearchIndex.build(factory, vectors[:5000])
    index.add(vectors[5000:])
    widest = Width(index.limits().nprobe, 300, 1000)
    exact = np.argsort(-vectors[::200] @ vectors.T, axis=1)[:, :10]

    def recall(some):
        rows = some.search(vectors[::200], 10, widest)[1]
        return np.mean(
            [len(set(a) & set(b)) / 10 for a, b in zip(rows.tolist(), exact.tolist(), strict=True)]
        )

    assert recall(index) > {'PCA12,IVF64,Flat': 0.5, 'IVF64,PQ8x4fs': 0.3}.get(factory, 0.9)
    gone = exact[0, :3]
    index.remove(gone)
    index.remove(gone)  # once more changes nothing
    assert (index.rows, index.count) == (6000, 5997)
    with open(tmp_path / 'i', 'wb') as file:
        write_index(index, file)
    with open(tmp_path / 'i', 'rb') as file:
        read = read_index(file, factory, 5000, DIM, index.removed)
    for some in (index, read):
        found = some.search(vectors[:1], 50, widest)[1][0]
        assert not set(gone) & set(found)
        assert len(set(found)) == 50
        one, many = some.search(vectors[:1], 5), some.search(vectors[:8], 5)
        np.testing.assert_array_equal(one[1][0], many[1][0])
        every = some.search(vectors[:1], 9000)[1][0]  # more than there are: all of them
        assert set(every) == set(range(6000)) - set(gone)


def test_a_gallery_is_trained_anew_when_a_tenth_is_new(tmp_path):
    with Gallery.create(tmp_path / 'g', DIM, 'm', factory='IVF4,Flat') as gallery:
        gallery.add(*people(5000, 0))
        assert gallery.stats()['trained_for'] == 10_000
        gallery.add(*people(500, 1))
        gallery.optimize()
        assert gallery.stats()['trained_for'] == 10_000
        said = gallery.add(*people(200, 2)).message
        assert said == 'index trained anew for 11400 entries: IVF4,Flat'


def test_people_who_came_after_training_are_found_as_well(tmp_path):
    """Newest entries around centres of their own: the width follows, or the index is trained anew."""
    rng = np.random.default_rng(0)

    def crowd(count, seed):
        vectors, names, files, hashes = people(count, seed, images=10, dim=32, spread=0.6)
        return vectors, names, files, hashes

    with Gallery.create(tmp_path / 'g', 32, 'm') as gallery:
        old = crowd(1000, 0)
        gallery.add(*old)
        trained = gallery.stats()
        for seed in (1, 2, 3):  # 3 % each
            new = crowd(30, seed)
            gallery.add(*new)
        stats = gallery.stats()
        every = normalised(np.concatenate([old[0], *(crowd(30, seed)[0] for seed in (1, 2, 3))]))
        for group in (every[:10_000], every[10_000:]):
            rows = rng.permutation(len(group))[:200]
            truth = np.argsort(-group[rows] @ every.T, axis=1)[:, :10] + 1
            found = gallery.search(group[rows], k=10, threshold=None)
            hits = [len(set(a) & set(b.ids.tolist())) for a, b in zip(truth.tolist(), found, strict=True)]
            assert np.mean(hits) / 10 > 0.975
        assert stats['recall']['newest'] >= 0.99
        assert stats['recall']['entries'] > trained['recall']['entries']


def test_additions_in_bulk_train_once_at_the_end(tmp_path, monkeypatch):
    trained = []
    original = SearchIndex.build.__func__
    monkeypatch.setattr(
        SearchIndex, 'build', classmethod(lambda cls, *a: trained.append(a[0]) or original(cls, *a))
    )
    with Gallery.create(tmp_path / 'g', DIM, 'm') as gallery:
        trained.clear()
        with gallery.bulk():
            for seed in range(10):
                gallery.add(*people(200, seed))
        assert len(trained) <= 2  # with many lists and, for these vectors, with few
        stats = gallery.stats()
        assert stats['trained_for'] == 4000
        assert stats['recall']['lists_at_training'] == stats['search_width']['nprobe']
        assert gallery.search(people(1, 3)[0][:1])[0][0].identity == 'person 3-0'


def test_a_gallery_that_is_filled_in_bulk_is_read_block_by_block(tmp_path, monkeypatch):
    """Not as one change, of all entries at once, since the index was empty."""
    caught_up = []
    since = Store.since
    monkeypatch.setattr(live, '_UNSAVED_LEAST', 500)
    monkeypatch.setattr(Store, 'since', lambda *args: caught_up.append(since(*args)) or caught_up[-1])
    with Gallery.create(tmp_path / 'g', DIM, 'm') as gallery, gallery.bulk():
        gallery.add(*people(400))
    assert not [delta for delta in caught_up if delta is not None and len(delta.entries)]
    with Gallery(tmp_path / 'g') as gallery:
        assert gallery.search(people(400)[0][:1])[0][0].identity == 'person 0-0'
        assert gallery.indexed() == 800


def test_a_single_search_takes_no_other_thread_and_leaves_their_number_as_it_was(monkeypatch):
    index, seen = SearchIndex.build('Flat', np.eye(16, dtype=np.float32)), []
    before = faiss.omp_get_max_threads()
    real = index.faiss.search
    monkeypatch.setattr(
        index.faiss, 'search', lambda *a, **b: seen.append(faiss.omp_get_max_threads()) or real(*a, **b)
    )
    faiss.omp_set_num_threads(2)
    try:
        for count in (1, 2):
            index.search(np.eye(16, dtype=np.float32)[:count], 3)
        assert (seen, faiss.omp_get_max_threads()) == ([1, 2], 2)
    finally:
        faiss.omp_set_num_threads(before)


def test_images_of_a_person_lie_in_one_list():
    """One list holds more of a person where centres are those of people's means than of single images."""
    vectors, names, *_ = people(1500, images=8, dim=128, spread=0.9)
    vectors = normalised(vectors).astype(np.float32)
    exact = np.argsort(-vectors[::60] @ vectors.T, axis=1)[:, :8]
    recalls = []
    for whose in (np.unique(names, return_inverse=True)[1], None):
        source = ArrayVectors(vectors)
        source.people = whose
        found = SearchIndex.build('IVF256,Flat', source).search(vectors[::60], 8, Width(nprobe=1))[1]
        recalls.append(np.mean([len(set(a) & set(b)) / 8 for a, b in zip(exact, found, strict=True)]))
    assert recalls[0] > recalls[1] + 0.1


@pytest.mark.parametrize('largest', [50, 4000])
def test_people_of_whom_one_has_most_images_make_no_lists(largest):
    sizes = np.array([largest] + [5] * 999)
    source = ArrayVectors(np.eye(16, dtype=np.float32)[np.zeros(sizes.sum(), int)])
    source.people = np.repeat(np.arange(1000), sizes)
    assert (_means(source, 100) is None) == (largest == 4000)


def test_centres_with_codes_find_the_lists_that_all_centres_find():
    vectors = normalised(people(800, images=10, dim=128, spread=0.6)[0]).astype(np.float32)
    exact = np.argsort(-vectors[::80] @ vectors.T, axis=1)[:, :10]
    index = SearchIndex.build('IVF128(PQ64x4fs,RFlat),Flat', vectors)
    found = index.search(vectors[::80], 10, Width(nprobe=8))[1]
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact, found, strict=True)]) > 0.97
    every = index.search(vectors[:5], 8000)[1]  # all lists are looked through
    assert all(len(set(row)) == 8000 for row in every.tolist())


def uneven(count, dim, seed=0):
    """Vectors that vary most in few directions, which are no axes."""
    rng = np.random.default_rng(seed)
    turned = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    return normalised((rng.normal(size=(count, dim)) * 0.93 ** np.arange(dim)) @ turned).astype(np.float32)


def test_codes_of_uneven_vectors_are_better_of_rotated_ones():
    vectors = uneven(5000, 64)
    exact = np.argsort(-vectors[::50] @ vectors.T, axis=1)[:, :10]
    recalls = []
    for rotation in ('OPQ32_64,', ''):
        index = SearchIndex.build(f'{rotation}IVF8,PQ32x4fs,Refine(SQfp16)', vectors)
        scores, found = index.search(vectors[::50], 10, Width(nprobe=8, candidates=20))
        recalls.append(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact, found, strict=True)]))
        assert np.abs(scores[:, 0] - 1).max() < 2e-3
    assert recalls[0] > recalls[1] + 0.02
    assert are_uneven(ArrayVectors(vectors))
    assert not are_uneven(ArrayVectors(normalised(np.random.default_rng(0).normal(size=(5000, 64)))))


def test_a_gallery_rotates_uneven_vectors_and_comes_back(tmp_path):
    vectors = uneven(3500, 32)
    names = [str(i) for i in range(len(vectors))]
    with Gallery.create(tmp_path / 'g', 32, 'm') as gallery:
        gallery.add(vectors, names, names, [f'{i:064x}' for i in range(len(vectors))])
        assert gallery.stats()['factory'].startswith('OPQ16_32,IVF')
        gallery.remove([1])
        before = gallery.search(vectors[:50], k=5)
    with Gallery(tmp_path / 'g') as gallery:
        assert gallery.search(vectors[:50], k=5) == before
        assert [match.id for match in gallery.search(vectors[1:2], k=1)[0]] == [2]
        assert 1 not in gallery.search(vectors[:1], k=50)[0].ids


@pytest.mark.parametrize(
    'factory', ['IVF32,PQ16x4fs,Refine(SQfp16)', 'OPQ16_32,IVF32,PQ16x4fs', 'IVF32,PQ16x4fs']
)
def test_one_query_is_answered_as_among_many_also_after_changes(factory):
    vectors = uneven(4000, 32)
    index = SearchIndex.build(factory, vectors[:3000])
    index.add(vectors[3000:])
    index.remove(np.arange(0, 4000, 7))
    width = Width(nprobe=6, candidates=60)
    _, many = index.search(vectors[::40], 10, width)
    alone = np.concatenate([index.search(probe[None], 10, width)[1] for probe in vectors[::40]])
    alike = [len(set(a) & set(b)) / 10 for a, b in zip(many, alone, strict=True)]
    assert np.mean(alike) > (0.98 if 'Refine' in factory else 0.9)  # codes alone have ties
    assert not np.isin(alone, np.arange(0, 4000, 7)).any()


def test_scores_of_later_entries_are_right_in_short_codes(tmp_path):
    """Values beyond the range that a scalar quantiser was trained for."""
    rng = np.random.default_rng(0)
    vectors = normalised(rng.normal(size=(2000, 128)))
    names = [str(i) for i in range(2000)]
    hashes = [f'{i:064x}' for i in range(2000)]
    with Gallery.create(tmp_path / 'g', 128, 'm', factory='SQ8') as gallery:
        for part in (slice(39), slice(39, 78), slice(78, 1000), slice(1000, 2000)):
            gallery.add(vectors[part], names[part], names[part], hashes[part])
        assert gallery.stats()['factory'] == 'SQ8'
        scores = np.array([row.scores[0] for row in gallery.search(vectors, k=1)])
        assert scores.min() > 0.99
