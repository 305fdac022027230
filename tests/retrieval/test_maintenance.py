"""Checking, compacting, merging, and galleries as files."""

import numpy as np
import pytest
from support.crowd import DIM, people

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval import Gallery
from mbv1_backbone.retrieval.export import export, import_file, read_about, read_entries
from mbv1_backbone.retrieval.maintenance import merge, reembed, repair, verify


def made(folder, seed=0, count=10, model='m', dim=DIM):
    gallery = Gallery.create(folder, dim, model, dict(size=112))
    vectors, names, files, hashes = people(count, seed, dim=dim)
    gallery.add(vectors, names, files, hashes, [dict(n=i) for i in range(len(names))])
    gallery.save()
    return gallery


def content(gallery):
    """What a gallery holds, without ids."""
    return sorted(
        (entry.identity, entry.file, entry.sha256, entry.added, str(entry.metadata), vector.tobytes())
        for entry, vector in gallery.entries_with_vectors()
    )


def on_disk(gallery):
    return sum(path.stat().st_size for path in gallery.folder.glob('gallery.sqlite*'))


def test_a_whole_gallery_has_no_problems(tmp_path):
    report = verify(made(tmp_path / 'g'))
    assert (report.entries, report.indexed, report.problems) == (20, 20, ())


def test_a_changed_vector_is_a_problem(tmp_path):
    gallery = made(tmp_path / 'g')
    with gallery._store.connections.writing() as connection:
        connection.execute('UPDATE entries SET vector = zeroblob(64) WHERE id = 7')
    assert any('entry 7 is damaged' in problem for problem in verify(gallery).problems)


def test_a_changed_index_file_is_a_problem_until_it_is_made_anew(tmp_path):
    gallery = made(tmp_path / 'g')
    [index] = gallery.folder.glob('index-*.faiss')
    index.write_bytes(index.read_bytes()[:-1])
    assert 'not the file that was saved' in verify(gallery).problems[0]
    gallery.rebuild()
    assert verify(gallery).problems == ()


@pytest.mark.parametrize('manifest', ['{', '[]', '{"format": 2}', ''])
def test_a_damaged_manifest_is_one_line_until_it_is_repaired(tmp_path, manifest):
    before = content(made(tmp_path / 'g'))
    (tmp_path / 'g' / 'manifest.json').write_text(manifest)
    with pytest.raises(InputError, match=r'damaged: .*repair makes it anew'):
        Gallery(tmp_path / 'g')
    gallery = repair(tmp_path / 'g')
    assert content(gallery) == before
    assert verify(Gallery(tmp_path / 'g')).problems == ()


def test_compacting_gives_room_back_and_keeps_the_rest(tmp_path):
    gallery = made(tmp_path / 'g', count=400)
    reader = Gallery(gallery.folder)
    reader.search(np.ones((1, DIM)))
    gallery.remove(range(1, 701))
    before, size = content(gallery), on_disk(gallery)
    gallery.compact()
    assert content(gallery) == before
    assert on_disk(gallery) < size / 2
    assert len(reader.search(np.ones((1, DIM)), k=900)[0]) == 100
    assert verify(gallery).problems == ()


def test_merging_adds_what_is_new(tmp_path):
    a, b, c = (made(tmp_path / name, seed) for name, seed in (('a', 0), ('b', 1), ('c', 0)))
    before = content(a)
    assert merge(a, [b, c]) == [(20, 20), (20, 0)]  # c has the files of a
    assert content(a) == sorted(before + content(b))
    assert verify(a).problems == ()


def test_merging_another_model_is_refused_before_anything_changes(tmp_path):
    a, b, c = made(tmp_path / 'a'), made(tmp_path / 'b', 1), made(tmp_path / 'c', 2, model='other')
    with pytest.raises(InputError, match=r"c has model 'other', gallery .*a has 'm'"):
        merge(a, [b, c])
    assert len(a) == 20


def test_an_export_comes_back_as_it_was(tmp_path):
    a = made(tmp_path / 'a')
    assert export(a, tmp_path / 'a.npz') == 20
    b = Gallery.create(tmp_path / 'b', DIM, 'm', dict(size=112))
    assert import_file(b, tmp_path / 'a.npz') == (20, 20)
    assert content(b) == content(a)
    assert import_file(b, tmp_path / 'a.npz') == (20, 0)


def test_an_empty_gallery_can_be_exported(tmp_path):
    a = Gallery.create(tmp_path / 'a', DIM, 'm')
    assert export(a, tmp_path / 'a.npz') == 0
    assert import_file(a, tmp_path / 'a.npz') == (0, 0)


def test_an_export_of_another_model_is_refused(tmp_path):
    export(made(tmp_path / 'a', model='other'), tmp_path / 'a.npz')
    with pytest.raises(InputError, match="has model 'other'"):
        import_file(made(tmp_path / 'b'), tmp_path / 'a.npz')


def test_a_pickle_in_an_export_is_not_loaded(tmp_path):
    np.savez(tmp_path / 'a.npz', about=np.array([{}], dtype=object))
    with pytest.raises(InputError, match='not a readable export'):
        read_about(tmp_path / 'a.npz')


def test_a_damaged_export_is_one_line_and_changes_nothing(tmp_path):
    a = made(tmp_path / 'a')
    export(a, tmp_path / 'a.npz')
    whole, generator = (tmp_path / 'a.npz').read_bytes(), np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(whole)
        for place in generator.integers(0, len(whole), 3):
            damaged[place] ^= int(generator.integers(1, 256))
        (tmp_path / 'b.npz').write_bytes(damaged)
        try:
            found = list(read_entries(tmp_path / 'b.npz'))
        except InputError:
            continue
        right = [(entry, vector.tobytes()) for entry, vector in read_entries(tmp_path / 'a.npz')]
        assert [(entry, vector.tobytes()) for entry, vector in found] == right


def test_moving_to_another_model_makes_a_gallery_beside(tmp_path):
    old = made(tmp_path / 'old')

    def embed(entries):
        vectors = [np.array([1.0, 2.0, 3.0, i]) for i in range(len(entries))]
        return [None if e.file.endswith('/3.jpg') else v for e, v in zip(entries, vectors, strict=True)]

    new, lost = reembed(old, tmp_path / 'new', 'model-2', dict(size=160), 4, embed)
    assert lost == ['person 0-1/3.jpg']
    assert (len(new), new.dim, new.model, len(old)) == (19, 4, 'model-2', 20)
    assert {e.identity for e in new.entries()} == {e.identity for e in old.entries()}
