"""What is done with all entries holds few of them at a time."""

import tracemalloc

import numpy as np
import pytest

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval import Gallery, calibrate, calibration, export as exports, training, vectors
from mbv1_backbone.retrieval.building import build_index

COUNT, DIM = 6000, 256
VECTORS = 4 * COUNT * DIM  # bytes


@pytest.fixture(scope='module')
def gallery(tmp_path_factory):
    folder = tmp_path_factory.mktemp('memory') / 'g'
    names = [f'person {i // 10}' for i in range(COUNT)]
    hashes = [f'{i:064x}' for i in range(COUNT)]
    with Gallery.create(folder, DIM, 'm', factory='IVF8,PQ32x4fs,Refine(SQfp16)') as opened:
        opened.add(np.random.default_rng(0).normal(size=(COUNT, DIM)), names, names, hashes)
        yield opened


def peak_of(work):
    """The most bytes that Python and NumPy held while ``work`` ran, beside what was there before."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_an_index_is_made_of_entries_that_are_never_all_in_memory(gallery, monkeypatch):
    """FAISS's own memory, which the index is, is not counted."""
    monkeypatch.setattr(training, '_TRAINING_LEAST', 400)
    monkeypatch.setattr(vectors, 'BLOCK', 400)
    assert peak_of(lambda: build_index(gallery._store, None)) < 0.75 * VECTORS


def test_entries_that_an_index_has_not_seen_are_never_all_in_memory(tmp_path, monkeypatch):
    """As where the process that added them died before it made one, or another one looks on."""
    monkeypatch.setattr(training, '_TRAINING_LEAST', 400)
    monkeypatch.setattr(vectors, 'BLOCK', 400)
    some = np.random.default_rng(0).normal(size=(COUNT, DIM))
    names = [f'{i}' for i in range(COUNT)]
    kind = dict(factory='IVF8,PQ32x4fs,Refine(SQfp16)')
    with Gallery.create(tmp_path / 'g', DIM, 'm', **kind) as filled, filled.bulk():
        filled.add(some, names, names, [f'{i:064x}' for i in range(COUNT)])
        with Gallery(tmp_path / 'g', read_only=True) as other:
            assert peak_of(lambda: other.search(some[:1], 1)) < 0.75 * VECTORS
            assert [row[0].identity for row in other.search(some[::1000], 1)] == names[::1000]


def test_an_export_and_an_import_hold_a_piece_at_a_time(gallery, tmp_path, monkeypatch):
    monkeypatch.setattr(exports, '_PIECE', 100)
    file = tmp_path / 'g.npz'
    assert peak_of(lambda: exports.export(gallery, file)) < 0.75 * VECTORS
    assert peak_of(lambda: sum(1 for _ in exports.read_entries(file))) < 0.75 * VECTORS


def test_an_import_that_fails_at_its_last_piece_leaves_nothing(gallery, tmp_path):
    file = tmp_path / 'g.npz'
    exports.export(gallery, file)
    with np.load(file) as content:
        pieces = dict(content)
    pieces['vectors_5'][-1] = np.nan
    np.savez(file, **pieces)
    with Gallery.create(tmp_path / 'h', DIM, 'm') as other:
        with pytest.raises(InputError):
            exports.import_file(other, file)
        assert (len(other), other.identities()) == (0, {})


@pytest.mark.parametrize('given', [None, np.eye(DIM)])
def test_a_threshold_is_computed_of_entries_that_are_never_all_in_memory(gallery, monkeypatch, given):
    monkeypatch.setattr(calibration, '_BLOCK', 400)
    assert peak_of(lambda: calibrate(gallery, 0.1, given, sample=200)) < 0.75 * VECTORS
