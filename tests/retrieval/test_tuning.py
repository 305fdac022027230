"""How widely to search is measured, not guessed."""

import faiss
import numpy as np
import pytest
from support.crowd import normalised

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval import Gallery, tune
from mbv1_backbone.retrieval.index import SearchIndex
from mbv1_backbone.retrieval.recall import RecallProbe, _least
from mbv1_backbone.retrieval.vectors import ArrayVectors
from mbv1_backbone.retrieval.width import Width

DIM = 16


def made(folder, factory, count=3000):
    rng = np.random.default_rng(0)
    vectors = normalised(rng.normal(size=(count, DIM)))
    gallery = Gallery.create(folder, DIM, 'm', factory=factory)
    names = [f'p{i}' for i in range(count)]
    gallery.add(vectors, names, names, [f'{i:064x}' for i in range(count)])
    gallery.rebuild()
    return gallery, vectors


def measured(gallery, vectors, k, **options):
    exact = faiss.IndexFlatIP(DIM)
    exact.add(vectors)
    rows = np.random.default_rng(5).choice(len(vectors), 300, replace=False)
    _, truth = exact.search(vectors[rows], k + 1)
    found = gallery.search(vectors[rows], k + 1, None, **options)
    names = [{match.identity for match in row} for row in found]
    return np.mean([len({f'p{i}' for i in t} & n) / (k + 1) for t, n in zip(truth, names, strict=True)])


@pytest.mark.parametrize(('factory', 'option'), [('IVF32,Flat', 'nprobe'), ('HNSW8', 'ef_search')])
def test_the_recall_is_reached_and_no_wider_than_it_must(factory, option, tmp_path):
    gallery, vectors = made(tmp_path / 'g', factory)
    widths = {}
    for recall in (0.7, 0.95, 0.99):
        found = tune(gallery, recall)
        assert list(found) == [option]
        widths[recall] = found[option]
        assert measured(gallery, vectors, 10, **found) > recall - 0.03
    assert widths[0.7] < widths[0.99]
    assert measured(gallery, vectors, 10, **{option: max(1, widths[0.95] // 3)}) < 0.95


def test_it_is_stored_and_measured_anew_when_a_tenth_is_new(tmp_path):
    gallery, _ = made(tmp_path / 'g', 'IVF16,Flat', 700)
    first = tune(gallery, 0.9, k=5)
    assert gallery.tuning['entries'] == 700
    gallery.set_tuning({**gallery.tuning, 'width': dict(nprobe=16)})
    assert tune(gallery, 0.9, k=5) == dict(nprobe=16)  # what is stored
    assert tune(gallery, 0.9, k=6) != dict(nprobe=16)  # another question
    gallery.set_tuning({**gallery.tuning, 'k': 5, 'width': dict(nprobe=16), 'entries': 630})
    assert tune(gallery, 0.9, k=5) == first


def test_an_exact_index_needs_none_and_short_codes_cannot(tmp_path):
    gallery, _ = made(tmp_path / 'flat', 'Flat', 20)
    assert tune(gallery, 0.99) == {}
    with pytest.raises(InputError, match=r'recall must lie in 0\.\.1 and above 0, got 1.5'):
        tune(gallery, 1.5)
    gallery, _ = made(tmp_path / 'pq', 'IVF4,PQ2x4fs', 700)
    with pytest.raises(InputError, match=r'recall 0\.99 is out of reach of index IVF4,PQ2x4fs'):
        tune(gallery, 0.99)


def test_where_codes_cannot_reach_it_the_search_is_no_wider_than_helps():
    rng = np.random.default_rng(0)
    people = normalised(rng.normal(size=(200, DIM))).repeat(15, axis=0)
    vectors = normalised(people + 0.1 * rng.normal(size=people.shape)).astype(np.float32)
    index = SearchIndex.build('IVF64,PQ8x4fs', vectors)
    probe = RecallProbe(index, 10, 200, ArrayVectors(vectors))
    tuned = probe.narrowest(0.99)
    assert not tuned.reached
    assert min(tuned.recall, tuned.newest) >= min(probe.measure(Width(nprobe=64))) - 0.003
    assert tuned.width.nprobe <= 32


@pytest.mark.parametrize(
    ('recall_of', 'least', 'most_asked'),
    [
        (lambda width: min(0.9, 0.5 + 0.1 * np.log2(width)), 128, 128),  # comes to a level at 16
        (lambda width: min(1.0, 0.05 * np.log2(width)), None, 10**6),  # goes on rising
        (lambda width: float(width >= 64), 64, 64),  # nothing, then all
    ],
)
def test_widths_that_find_no_more_are_not_tried(recall_of, least, most_asked):
    asked = []
    found = _least(lambda width: asked.append(width) or recall_of(width), 0.95, 10**6, may_level=True)
    assert max(asked) <= most_asked
    assert found == least if least else recall_of(found) >= 0.95


def test_short_codes_are_tuned_by_candidates_alone(tmp_path):
    """The fewest are several times k: as many are compared however few are asked for."""
    gallery, vectors = made(tmp_path / 'g', 'SQ4,Refine(SQfp16)')
    found = tune(gallery, 0.99)
    assert found['candidates'] > 22
    assert measured(gallery, vectors, 10, **found) > 0.96
