"""Average linkage among neighbours, beside scikit-learn's over all pairs."""

import numpy as np
import pytest
from sklearn.cluster import AgglomerativeClustering

from mbv1_backbone.retrieval.linkage import average_linkage


def drawn(count, dim=16, people=12, seed=0):
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(people, dim))
    vectors = centres[generator.integers(0, people, count)] + 0.8 * generator.normal(size=(count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def reaching(vectors, threshold):
    return np.argwhere(np.triu(vectors @ vectors.T >= threshold, 1))


def partition(labels):
    return {tuple(np.flatnonzero(np.asarray(labels) == label).tolist()) for label in set(np.array(labels))}


@pytest.mark.parametrize('threshold', [-0.2, 0.1, 0.3, 0.5, 0.8, 1.0])
@pytest.mark.parametrize('seed', [0, 1])
def test_it_is_average_linkage_of_all_pairs(threshold, seed):
    vectors = drawn(150, seed=seed)
    found = average_linkage(vectors, reaching(vectors, threshold), threshold)
    wide = AgglomerativeClustering(
        n_clusters=None, metric='precomputed', linkage='average', distance_threshold=1 - threshold
    )
    theirs = wide.fit_predict(np.maximum(0, 1 - vectors.astype(np.float64) @ vectors.T))
    assert partition(found) == partition(theirs)
    assert found[0] == 0
    assert (np.diff(np.unique(found, return_index=True)[1]) > 0).all()  # numbered by first members


@pytest.mark.parametrize('count', [0, 1])
def test_few_vectors(count):
    found = average_linkage(drawn(count), np.empty((0, 2)), 0.5)
    assert found.tolist() == [0] * count


def test_what_shares_a_key_stays_apart_for_good():
    vectors = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], np.float32)
    pairs = reaching(vectors, 0.5)
    assert partition(average_linkage(vectors, pairs, 0.5)) == {(0, 1, 2), (3,)}
    found = average_linkage(vectors, pairs, 0.5, keys=[['a'], [], ['a'], []])
    assert partition(found) == {(0, 1), (2,), (3,)}  # 1 was with 0 first, and 2 cannot follow


def test_sets_stay_apart_whatever_they_are_in():
    vectors = drawn(60, people=1)
    pairs = reaching(vectors, -1)
    apart = [([3], [40]), ([40], [7]), ([12], [12])]
    assert len(partition(average_linkage(vectors, pairs, -1))) == 1
    labels = average_linkage(vectors, pairs, -1, apart=apart)
    assert labels[3] != labels[40] != labels[7]
    assert len(set(labels)) == 2
    one, other = range(0, 30, 3), range(1, 30, 3)
    labels = average_linkage(vectors, pairs, -1, apart=[(one, other)])
    assert set(labels[one]).isdisjoint(labels[other])
    assert len(set(labels)) == 2


def test_clusters_to_begin_with_stay_together_and_count_all_their_vectors():
    vectors = np.array([[1, 0], [0, 1], [1, 0], [0.6, 0.8]], np.float32)
    found = average_linkage(
        vectors, reaching(vectors, 0.7), 0.7, start=np.array([5, 5, 2, 9]), keys=['k'] * 4
    )
    assert partition(found) == {(0, 1), (2,), (3,)}
    without = average_linkage(vectors, reaching(vectors, 0.65), 0.65, start=np.array([5, 5, 2, 9]))
    # the last one has a mean of .7 with the first two, .6 with the third; the three have .47 with it
    assert partition(without) == {(0, 1, 3), (2,)}


def test_missing_pairs_leave_parts_and_order_does_not_matter():
    vectors = drawn(80)
    pairs = reaching(vectors, 0.4)
    generator = np.random.default_rng(3)
    shuffled = generator.permuted(pairs, axis=0)[:, ::-1]
    assert (
        average_linkage(vectors, generator.permutation(pairs), 0.4) == average_linkage(vectors, pairs, 0.4)
    ).all()
    assert average_linkage(vectors, shuffled[:0], 0.4).tolist() == list(range(80))
