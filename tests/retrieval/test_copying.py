"""Galleries copied from a folder to a server and back: equal at the end, whatever cut it short."""

import numpy as np
import pytest
from support.crowd import DIM, people
from support.gallery_kinds import KINDS, Kind

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval import Correction, create_gallery, open_gallery
from mbv1_backbone.retrieval.copying import copy

VECTORS, NAMES, FILES, HASHES = people(350, images=2)
METADATA = [{'i': i, 'x"y': [i, None, 0.1 * i, f'ü{i}']} if i % 3 else {} for i in range(700)]


@pytest.fixture(scope='module')
def full(tmp_path_factory):
    """A gallery in a folder, whose embeddings are as they come, and not rounded."""
    folder = tmp_path_factory.mktemp('copying') / 'full'
    with create_gallery(folder, DIM, 'm', {'size': 112}, made_with={'model': 'mine'}) as gallery:
        boxes = [(i, 0, i + 10, 10) if i % 2 else None for i in range(700)]
        points = [((0.1, 2.0), (1 / 3, i)) if i % 5 else None for i in range(700)]
        scores = [0.9 if i % 7 else None for i in range(700)]
        gallery.add(VECTORS, NAMES, FILES, HASHES, METADATA, boxes, points, scores, scores)
        gallery.set_calibration({'threshold': 0.3, 'fpir': 0.01})
    return str(folder)


@pytest.fixture(params=KINDS, scope='module')
def kind(request, tmp_path_factory):
    yield from Kind.opened(request.param, tmp_path_factory.mktemp(request.param))


def contents(place):
    with open_gallery(place) as gallery:
        pairs = {
            (e.sha256, e.box): ({**vars(e), 'id': 0}, vector.tobytes())
            for e, vector in gallery.entries_with_vectors()
        }
        return pairs, gallery.calibration, gallery.made_with, gallery.model_identity


def copied(source, target, **more):
    with open_gallery(source) as one, open_gallery(target) as other:
        return copy(one, other, **more)


def made(kind, source):
    with open_gallery(source) as one:
        identity = one.model_identity
        with kind.made(DIM, identity['model'], identity['preprocessing'], one.made_with) as gallery:
            return gallery.place


def test_there_and_back_all_is_equal_to_the_bit(full, kind, tmp_path):
    there = made(kind, full)
    steps = []
    assert copied(full, there, progress=steps.append) == (700, 700)
    assert sum(steps) == 1400
    assert contents(there) == contents(full)
    back = str(tmp_path / 'back')
    with open_gallery(there) as one:
        create_gallery(back, DIM, 'm', one.model_identity['preprocessing'], made_with=one.made_with).close()
    assert copied(there, back) == (700, 700)
    assert contents(back) == contents(full)
    assert copied(full, there) == (700, 0)


def test_what_is_another_s_or_differs_is_named(full, kind):
    there = made(kind, full)
    with open_gallery(there) as gallery:
        gallery.add(VECTORS[:1], ['Eve'], ['else.jpg'], ['f' * 64])
        [stranger] = gallery.ids()
    with pytest.raises(InputError, match=r'has 701 entries, .* 700: those that are too many'):
        copied(full, there)
    with pytest.raises(InputError, match=r'has 701 entries, .* only 700: copy makes one that is equal'):
        copied(full, there)
    with open_gallery(there) as gallery:
        gallery.remove([stranger])
        entry = gallery.faces([HASHES[4]])[HASHES[4]][0]
        gallery.update(entry.id, {'i': True})
    with pytest.raises(InputError, match=r'its metadata is .*True.*; remove it there, and copy again'):
        copied(full, there)
    with open_gallery(there) as gallery:
        gallery.remove([entry.id])
        gallery.rename(NAMES[0], 'Eve')
    with pytest.raises(InputError, match=f"its identity is 'Eve', not '{NAMES[0]}'"):
        copied(full, there)
    with open_gallery(there) as gallery:
        gallery.rename('Eve', NAMES[0])
    assert copied(full, there) == (700, 0)
    with open_gallery(full) as one, kind.made(DIM, 'other', {'size': 112}) as other:
        with pytest.raises(InputError, match=r"has model 'm', gallery .* has 'other'"):
            copy(one, other)
        assert len(other) == 0


def test_an_embedding_that_differs_is_found(full, kind):
    there = made(kind, full)
    with open_gallery(full) as one, open_gallery(there) as other:
        pairs = [(entry, vector + 1e-3 * (entry.id == 9)) for entry, vector in one.entries_with_vectors()]
        other.add_entries(pairs)
        with pytest.raises(InputError, match='its embedding is another'):
            copy(one, other)


def test_what_was_said_of_faces_comes_with_a_folder(full, tmp_path, monkeypatch):
    said = [Correction(HASHES[0], None, 'Eve', False, 1.0)]
    with open_gallery(full) as one, create_gallery(tmp_path / 'g', DIM, 'm', {'size': 112}) as other:
        monkeypatch.setattr(one, 'corrections', lambda: said)
        copy(one, other)
        assert other.corrections() == said
        assert np.array_equal(next(other.entries_with_vectors())[1], next(one.entries_with_vectors())[1])
