"""The gallery's verbs, against lists and loops."""

import ast
from pathlib import Path

import numpy as np
import pytest
from support.crowd import DIM, normalised, people

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval import Gallery


@pytest.fixture
def gallery(tmp_path):
    with Gallery.create(tmp_path / 'g', DIM, 'model-1') as opened:
        yield opened


@pytest.mark.parametrize('factory', [None, 'HNSW16', 'IVF4,Flat', 'SQ8'])
def test_a_search_gives_the_nearest_as_a_loop_finds_them(tmp_path, factory):
    vectors, names, files, hashes = people(600 if factory == 'SQ8' else 200)
    with Gallery.create(tmp_path / 'g', DIM, 'm', factory=factory) as gallery:
        added = gallery.add(vectors, names, files, hashes)
        assert gallery.stats()['factory'] == (factory or 'Flat')
        probes = np.random.default_rng(9).normal(size=(7, DIM))
        found = gallery.search(probes, k=5)
        cosines = normalised(probes) @ normalised(vectors).T
        for row, matches in zip(cosines, found, strict=True):
            best = np.argsort(-row)[:5]
            if factory != 'SQ8':
                assert [m.id for m in matches] == [added.ids[i] for i in best]
                assert [m.file for m in matches] == [files[i] for i in best]
            np.testing.assert_allclose([m.score for m in matches], row[best], atol=2e-2 if factory else 1e-5)
            np.testing.assert_allclose([m.distance for m in matches], [2 - 2 * m.score for m in matches])


def test_the_same_file_is_skipped(gallery):
    vectors, names, files, hashes = people(3)
    first = gallery.add(vectors, names, files, hashes)
    again = gallery.add(vectors[:2], names[:2], ['other/name.jpg'] * 2, hashes[:2])
    assert (first.new, again.new, again.ids, len(gallery)) == (6, 0, (None, None), 6)


@pytest.mark.parametrize('factory', [None, 'HNSW16'])
@pytest.mark.parametrize('by', ['ids', 'identity', 'file'])
def test_what_was_removed_is_never_found_again(tmp_path, by, factory):
    vectors, names, files, hashes = people(10)
    with Gallery.create(tmp_path / 'g', DIM, 'm', factory=factory) as gallery:
        ids = gallery.add(vectors, names, files, hashes).ids
        gone = {'ids': {ids[0], ids[5]}, 'identity': {ids[4], ids[5]}, 'file': {ids[7]}}[by]
        which = {'ids': dict(ids=gone), 'identity': dict(identity=names[4]), 'file': dict(file=files[7])}[by]
        assert gallery.remove(**which) == len(gone)
        assert gallery.remove(**which) == 0
        for opened in (gallery, Gallery(tmp_path / 'g')):
            found = {m.id for matches in opened.search(vectors, k=50) for m in matches}
            assert found == set(ids) - gone
            assert len(opened) == 20 - len(gone)


def test_what_was_found_stays_as_it_was_found(gallery):
    vectors, names, files, hashes = people(4)
    gallery.add(vectors, names, files, hashes)
    [found] = gallery.search(vectors[2:3], k=3)
    gallery.remove(identity=names[2])
    gallery.compact()
    gallery.search(vectors[:1])
    assert (found[0].identity, found[0].file) == (names[2], files[2])
    assert [m.id for m in found] == found.ids.tolist()
    assert found[:2] == list(found)[:2] != []
    assert found[-1].score == pytest.approx(float(found.scores[-1]))


def test_an_index_that_cannot_delete_passes_over_what_was_removed_and_is_built_anew_in_time(tmp_path):
    vectors, names, files, hashes = people(300)
    folder = tmp_path / 'g'

    def nearest(removed):
        cosines = normalised(vectors)[removed:] @ normalised(vectors)[0]
        return [ids[removed:][i] for i in np.argsort(-cosines)[:20]]

    with Gallery.create(folder, DIM, 'm', factory='HNSW16,Flat') as gallery:
        ids = gallery.add(vectors, names, files, hashes).ids
        gallery.remove(ids[:50])
        gallery.save()
        assert gallery._live._standing.index.rows == 600
        with Gallery(folder) as opened:
            assert opened.search(vectors[:1], k=20, ef_search=300)[0].ids.tolist() == nearest(50)
            assert opened._live._standing.index.rows == 600  # it was read, not built
        gallery.remove(ids[50:250])  # 40 %
        assert gallery._live._standing.index.rows == 350
        assert gallery.search(vectors[:1], k=20, ef_search=300)[0].ids.tolist() == nearest(250)


def test_ids_are_never_given_twice(gallery):
    vectors, names, files, hashes = people(2)
    first = gallery.add(vectors, names, files, hashes).ids
    gallery.remove(first)
    second = gallery.add(vectors, names, files, hashes).ids
    assert not set(first) & set(second)


def test_another_process_open_gallery_sees_every_change(tmp_path, gallery):
    reader = Gallery(gallery.folder)
    vectors, names, files, hashes = people(6)
    assert reader.search(vectors[:1]) == [[]]
    ids = gallery.add(vectors, names, files, hashes).ids
    assert reader.search(vectors[:1], k=1)[0][0].id == ids[0]
    gallery.remove([ids[0]])
    assert ids[0] not in {m.id for m in reader.search(vectors[:1], k=20)[0]}
    gallery.rebuild()
    assert len(reader.search(vectors[:1], k=20)[0]) == 11


def test_a_saved_index_is_used_and_a_lost_or_changed_one_made_anew(gallery):
    vectors, names, files, hashes = people(6)
    gallery.add(vectors, names, files, hashes)
    gallery.save()
    [saved] = gallery.folder.glob('index-*.faiss')
    expected = gallery.search(vectors, k=3)
    assert Gallery(gallery.folder)._live.saved.load() is not None
    content = bytearray(saved.read_bytes())
    content[len(content) // 2] ^= 1
    saved.write_bytes(content)
    reopened = Gallery(gallery.folder)
    assert reopened._live.saved.load() is None
    assert reopened.search(vectors, k=3) == expected
    saved.unlink()
    assert Gallery(gallery.folder).search(vectors, k=3) == expected


def test_filters_look_among_some_only(gallery):
    vectors, names, files, hashes = people(8)
    metadata = [dict(year=2000 + i % 4, place=None if i % 2 else 'x') for i in range(16)]
    ids = gallery.add(vectors, names, files, hashes, metadata).ids
    by_year = {m.id for m in gallery.search(vectors[:1], k=50, metadata=dict(year=2001))[0]}
    assert by_year == {i for i, m in zip(ids, metadata, strict=True) if m['year'] == 2001}
    assert {e.id for e in gallery.entries(metadata=dict(place='x'))} == set(ids[::2])
    assert {e.id for e in gallery.entries(metadata=dict(place=None))} == set(ids[1::2])
    some = {m.identity for m in gallery.search(vectors[:1], k=50, identity=names[4:8:2])[0]}
    assert some == set(names[4:8])
    assert gallery.search(vectors[:1], identity='nobody') == [[]]
    assert gallery.search(vectors[:1], identity=[]) == [[]]
    assert list(gallery.entries(metadata=dict(year='2001'))) == []  # text is not a number


def test_a_threshold_makes_the_unknown_unknown(gallery):
    vectors, names, files, hashes = people(8)
    gallery.add(vectors, names, files, hashes)
    [known, unknown] = gallery.search(np.stack([vectors[0], -vectors.sum(0)]), k=3, threshold=0.9)
    assert all(m.score >= 0.9 for m in known)
    assert known
    assert unknown == []


@pytest.mark.parametrize('by', ['best', 'mean'])
def test_people_are_ranked_by_their_best_or_mean_image(gallery, by):
    vectors, names, files, hashes = people(12, images=3)
    gallery.add(vectors, names, files, hashes)
    probes = np.random.default_rng(3).normal(size=(4, DIM))
    cosines = normalised(probes) @ normalised(vectors).T
    found = gallery.search_identities(probes, k=3, by=by)
    for row, matches in zip(cosines, found, strict=True):
        scores = {}
        for name in dict.fromkeys(names):
            own = row[[n == name for n in names]]
            scores[name] = own.max() if by == 'best' else own.mean()
        expected = sorted(scores, key=lambda name: -scores[name])[:3]
        assert [m.identity for m in matches] == expected
        np.testing.assert_allclose([m.score for m in matches], [scores[n] for n in expected], atol=1e-5)
        assert all(m.images == 3 and m.best.identity == m.identity for m in matches)


def test_people_are_looked_for_among_names_that_can_be_read_once(gallery):
    vectors, names, files, hashes = people(3, images=6)
    gallery.add(vectors, names, files, hashes)
    wanted = sorted(set(names))[:2]
    for found in gallery.search_identities(vectors[[0, -1]], k=1, identity=iter(wanted)):
        assert [match.identity in wanted for match in found] == [True]
    with pytest.raises(TypeError, match=r'search_identities\(\) got an unexpected keyword'):
        gallery.search_identities(vectors[:0], foo=1)  # also where there is nothing to look for


def test_entries_can_be_read_listed_and_given_other_metadata(gallery):
    vectors, names, files, hashes = people(2)
    ids = gallery.add(vectors, names, files, hashes, [dict(a=i) for i in range(4)]).ids
    gallery.update(ids[1], dict(b=['ü', None, 1.5]))
    entry = gallery.get(ids[1])
    assert (entry.identity, entry.file, entry.sha256) == (names[1], files[1], hashes[1])
    assert entry.metadata == dict(b=['ü', None, 1.5])
    assert [e.id for e in gallery.entries(identity=names[0])] == list(ids[:2])
    assert gallery.identities() == {names[0]: 2, names[2]: 2}
    for wrong in (0, 999):
        with pytest.raises(InputError, match=f'no entry {wrong}'):
            gallery.get(wrong)
        with pytest.raises(InputError, match=f'no entry {wrong}'):
            gallery.update(wrong, {})


def vector_with(value):
    vectors = np.ones((2, DIM))
    vectors[1] = value
    return vectors


@pytest.mark.parametrize(
    ('vectors', 'complaint'),
    [
        (vector_with(np.nan), 'must be finite, number 1 is not'),
        (vector_with(np.inf), 'must be finite, number 1 is not'),
        (vector_with(0), 'must not be zero, number 1 is'),
        (np.ones((2, DIM + 1)), r'of shape \(N, 16\), got float64 \(2, 17\)'),
        (np.ones(DIM), r'got float64 \(16,\)'),
        (np.full((2, DIM), 'a'), 'must be numbers'),
        (np.ones((2, DIM), complex), 'must be numbers'),
        (np.ones((2, DIM), object), 'must be numbers'),
    ],
)
def test_a_wrong_vector_is_one_line_and_changes_nothing(gallery, vectors, complaint):
    with pytest.raises(InputError, match=complaint):
        gallery.add(vectors, ['a', 'b'], ['a', 'b'], ['0' * 64, '1' * 64])
    with pytest.raises(InputError):
        gallery.search(vectors)
    assert len(gallery) == 0


@pytest.mark.parametrize('scale', [1e-30, 1e30, 3.0])
def test_vectors_of_any_length_are_normalised(gallery, scale):
    vectors, names, files, hashes = people(3)
    gallery.add(vectors * scale, names, files, hashes)
    [[match, *_]] = gallery.search(vectors[:1])
    assert match.score == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ('name', 'complaint'),
    [
        ('', '1 to 4096 characters'),
        ('x' * 4097, '1 to 4096'),
        ('a\0b', 'NUL'),
        ('\ud800', 'Unicode'),
        (3, 'text'),
    ],
)
def test_a_wrong_name_is_one_line(gallery, name, complaint):
    with pytest.raises(InputError, match=complaint):
        gallery.add(np.ones((1, DIM)), [name], ['f'], ['0' * 64])


@pytest.mark.parametrize(
    'name', ['Ærøskøbing', '李四', '👩🏽‍🚀', "Robert'); DROP TABLE entries;--", 'x' * 4096, '../../etc']
)
def test_any_other_name_is_kept_as_it_is(gallery, name):
    gallery.add(np.ones((1, DIM)), [name], [name], ['0' * 64])
    assert Gallery(gallery.folder).search(np.ones((1, DIM)))[0][0].identity == name
    assert gallery.remove(identity=name) == 1


@pytest.mark.parametrize('k', [0, -1, 2.5, True])
def test_k_is_a_whole_number_of_at_least_one(gallery, k):
    with pytest.raises(InputError, match='k must be a whole number'):
        gallery.search(np.ones((1, DIM)), k=k)


def test_an_empty_gallery_and_no_probes_have_answers(gallery):
    assert gallery.search(np.ones((2, DIM))) == [[], []]
    assert gallery.search(np.ones((0, DIM))) == []
    assert gallery.search_identities(np.ones((1, DIM))) == [[]]
    assert gallery.add(np.ones((0, DIM)), [], [], []).ids == ()


def test_another_model_or_preprocessing_is_refused(tmp_path):
    with Gallery.create(tmp_path / 'g', DIM, 'model-1', dict(size=112)) as gallery:
        gallery.check_model('model-1', dict(size=112))
        with pytest.raises(InputError, match='made with model model-1, this is model-2'):
            gallery.check_model('model-2')
        with pytest.raises(InputError, match='was made with size 112, this is size 160'):
            gallery.check_model('model-1', dict(size=160))


def test_gray_as_early_galleries_spell_it(tmp_path):
    with Gallery.create(tmp_path / 'g', DIM, 'model-1', dict(colours='grey')) as gallery:
        gallery.check_model('model-1', dict(colours='gray'))
        gallery.check_model_identity(gallery.model_identity | dict(preprocessing=dict(colours='gray')), 'x')
        with pytest.raises(InputError, match='with colours grey, this is colours RGB'):
            gallery.check_model('model-1', dict(colours='RGB'))


def test_a_second_gallery_does_not_go_into_the_first(gallery):
    with pytest.raises(InputError, match='not an empty folder'):
        Gallery.create(gallery.folder, DIM, 'm')


@pytest.mark.parametrize('factory', ['Nonsense', 'IVF', '', 'IVF99999999999,Flat', 5])
def test_an_index_that_faiss_does_not_know_is_one_line(tmp_path, factory):
    with pytest.raises(InputError, match='is not one of FAISS'):
        Gallery.create(tmp_path / 'g', DIM, 'm', factory=factory)
    assert not (tmp_path / 'g').exists()


def test_a_folder_without_a_gallery_is_one_line(tmp_path):
    with pytest.raises(InputError, match='not a gallery'):
        Gallery(tmp_path)


def test_the_package_does_not_import_torch():
    folder = Path(__file__).parents[2] / 'mbv1_backbone' / 'retrieval'
    for file in folder.glob('*.py'):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ''] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split('.')[0] in ('torch', 'mmengine', 'mmdet') for name in names), file
