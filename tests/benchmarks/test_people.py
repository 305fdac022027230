"""The people that galleries are measured with."""

import numpy as np
import pytest

from benchmarks.people import (
    DIM,
    People,
    fit,
    genuine_scores,
    made_up,
    read,
    shipped,
    statistics,
    two_nn,
)
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval import Gallery
from mbv1_backbone.retrieval.export import export


def _sizes(people):
    return np.bincount(people)


@pytest.mark.parametrize('draw', [made_up, shipped().draw], ids=['made up', 'real-like'])
def test_people_are_of_length_one_and_the_same_every_time(draw):
    some, again = draw(400, probes=30), draw(400, probes=30)
    assert (some.vectors.shape, some.probes.shape) == ((400, DIM), (30, DIM))
    assert some.vectors.dtype == some.probes.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(some.vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(some.probes, again.probes)
    assert (np.diff(some.people) >= 0).all()


def test_a_probe_is_most_like_its_own_person():
    some = made_up(2000, probes=100)
    nearest = some.people[np.argmax(some.probes @ some.vectors.T, axis=1)]
    assert (nearest == some.probe_people).all()
    assert not (some.probes @ some.vectors.T > 0.999).any()  # another photograph, not the same


def test_a_third_of_the_real_like_entries_are_of_people_with_1_3_and_20_images():
    sizes = _sizes(shipped().draw(60_000, probes=1).people)
    assert set(sizes) - {1, 3, 20} in ({}, {sizes[-1]}, set())  # the last person may be cut short
    for number in (1, 3, 20):
        assert sizes[sizes == number].sum() == pytest.approx(20_000, abs=50)
    newest = sizes[-len(sizes) // 10 :]
    assert {1, 3, 20} <= set(newest)  # in no order


def test_the_spread_of_genuine_scores_is_real_where_made_up_people_are_all_alike():
    alike, like = statistics(made_up(5000)), statistics(shipped().draw(10_000))
    assert alike['genuine_sd'] < 0.05 < 0.14 < like['genuine_sd']
    assert like['twonn'] < 50 < alike['twonn']
    assert like['impostor_9999'] > alike['impostor_9999'] + 0.05


def test_the_dimension_of_a_sphere_in_five_directions_is_four():
    vectors = np.random.default_rng(0).normal(size=(4000, 5)).astype(np.float32)
    assert two_nn(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)) == pytest.approx(4, abs=0.2)


def test_a_fit_finds_what_embeddings_were_drawn_from():
    true = shipped()
    some = true.draw(24_000, images=(2, 6), probes=1)
    found = fit(some.vectors, some.people)
    for name in ('between', 'within'):
        wanted, got = (getattr(one, name).T @ getattr(one, name) for one in (true, found))
        assert np.linalg.norm(got - wanted) < 0.25 * np.linalg.norm(wanted), name
        assert np.trace(got) == pytest.approx(np.trace(wanted), rel=0.12)
    assert found.spread == pytest.approx(true.spread, abs=0.1)
    again = found.draw(10_000, images=(2, 6), probes=1)
    for one, other in zip(
        *(np.quantile(genuine_scores(p.vectors, p.people), (0.1, 0.5, 0.9)).tolist() for p in (some, again)),
        strict=True,
    ):
        assert one == pytest.approx(other, abs=0.02)


def test_too_few_people_are_refused():
    some = made_up(400)
    with pytest.raises(InputError, match='400 embeddings of 20 people'):
        fit(some.vectors, some.people)


def test_embeddings_are_read_from_files_exports_and_galleries(tmp_path):
    some = made_up(40)
    names = [f'person {who:02}' for who in some.people]
    files = [f'{name}/{number}.jpg' for number, name in enumerate(names)]
    np.savez(tmp_path / 'files.npz', embeddings=some.vectors, files=np.array(files))
    np.savez(tmp_path / 'lfw.npz', embeddings=some.vectors, files=[f'{name}_0001.jpg' for name in names])
    np.savez(tmp_path / 'names.npz', embeddings=some.vectors, identities=np.array(names))
    with Gallery.create(tmp_path / 'gallery', DIM, 'test') as gallery:
        gallery.add(some.vectors, names, files, [f'{i:064x}' for i in range(40)])
        export(gallery, tmp_path / 'export.npz')
    for name in ('files.npz', 'lfw.npz', 'names.npz', 'export.npz', 'gallery'):
        vectors, people = read(tmp_path / name)
        np.testing.assert_allclose(vectors, some.vectors, atol=1e-6)
        assert people.tolist() == names


@pytest.mark.parametrize(
    ('content', 'rule'),
    [
        (None, 'not a gallery'),
        (dict(other=np.ones(3)), 'not a readable export'),
        (dict(embeddings=np.ones((3, 4))), 'not a gallery'),
        (dict(embeddings=np.ones((3, 4)), identities=np.array(['a', 'b'])), r'\(3, 4\) of people \(2,\)'),
        (dict(embeddings=np.zeros((2, 4)), identities=np.array(['a', 'b'])), 'finite and not zero'),
    ],
)
def test_other_files_are_refused(content, rule, tmp_path):
    if content is not None:
        np.savez(tmp_path / 'some.npz', **content)
    with pytest.raises(InputError, match=rule):
        read(tmp_path / 'some.npz')


def test_the_fit_to_real_embeddings_is_harder_than_these_and_nearer_than_people_made_up(shared):
    vectors, names = read(shared / 'lfw_color' / 'teacher_train.npz')
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    people = np.unique(names, return_inverse=True)[1]
    real = statistics(People(vectors, people, vectors[:0], people[:0]))
    like = statistics(fit(vectors, people).draw(len(vectors)))
    alike = statistics(made_up(len(vectors)))
    for name in ('genuine_sd', 'impostor_sd'):
        assert abs(like[name] - real[name]) < abs(alike[name] - real[name])
