"""The choice of an index, and its training."""

import numpy as np
import pytest
from support.crowd import DIM, normalised, people

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval import Gallery, choose_factory
from mbv1_backbone.retrieval.index import SearchIndex, usable_factory


@pytest.mark.parametrize('count', [50_001, 79_000, 100_000, 10**6, 10**6 + 1, 2 * 10**6, 3 * 10**6, 10**8])
def test_what_is_chosen_can_be_trained_on_as_many(count):
    factory = choose_factory(count, 128)
    assert factory.startswith('IVF')
    assert usable_factory(factory, 128, count) == factory
    assert usable_factory(choose_factory(count, 128, 140), 128, count).endswith('SQ8')
    assert usable_factory(choose_factory(count, 128, 32), 128, count).endswith('PQ64x4fs')


def test_few_are_all_compared_and_codes_fit_their_room():
    assert choose_factory(50_000, 128) == 'Flat'
    with pytest.raises(InputError, match='31 bytes a vector are too few'):
        choose_factory(10, 128, 31)


@pytest.mark.parametrize('factory', ['IVF256,Flat', 'PCA12,IVF256,Flat', 'IVF256_HNSW16,Flat', 'IVF256,SQ8'])
def test_many_lists_are_trained_and_searched(factory):
    """Centres found in two steps; widest, the search finds what a loop finds."""
    vectors = normalised(people(600, images=20)[0]).astype(np.float32)
    index = SearchIndex.build(factory, np.arange(len(vectors)), vectors)
    assert (index.factory, index.count, index.breadth()) == (factory, 12_000, ('nprobe', 256))
    ids = index.search(vectors[::400], 10, nprobe=256)[1]
    exact = np.argsort(-vectors[::400] @ vectors.T, axis=1)[:, :10]
    hits = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(ids.tolist(), exact.tolist(), strict=True)])
    assert hits > {'IVF256,Flat': 0.999, 'PCA12,IVF256,Flat': 0.5}.get(factory, 0.9)
    one, many = index.search(vectors[:1], 5), index.search(vectors[:8], 5)
    np.testing.assert_array_equal(one[1][0], many[1][0])
    index.remove(ids[0, :3])
    assert not set(ids[0, :3]) & set(index.search(vectors[:1], 50, nprobe=256)[1][0])


def test_a_gallery_that_has_grown_is_trained_anew_when_it_settles(tmp_path):
    with Gallery.create(tmp_path / 'g', DIM, 'm', factory='IVF4,Flat') as gallery:
        gallery.add(*people(100, 0))
        gallery.add(*people(80, 1))
        assert gallery.stats()['trained_for'] == 200
        gallery.settle()
        assert gallery.stats()['trained_for'] == 360
        gallery.add(*people(10, 2))
        gallery.settle()
        assert gallery.stats()['trained_for'] == 360
        said = gallery.add(*people(300, 3)).message
        assert said == 'index trained anew for 980 entries: IVF4,Flat'
