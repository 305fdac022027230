"""Faces of one photograph, names that change, corrections, and what an entry's number may be."""

from dataclasses import replace

import numpy as np
import pytest
from support.crowd import DIM, people

from mbv1_backbone.common.errors import DamagedFileError, InputError
from mbv1_backbone.retrieval import Condition, Gallery, writes
from mbv1_backbone.retrieval.export import export, import_file
from mbv1_backbone.retrieval.maintenance import merge, reembed, verify
from mbv1_backbone.retrieval.records import Correction


@pytest.fixture
def gallery(tmp_path):
    with Gallery.create(tmp_path / 'g', DIM, 'm') as opened:
        yield opened


def test_every_face_of_a_photograph_is_an_entry(gallery):
    vectors = people(2)[0]
    boxes = [(0, 0, 50, 60), (100.2, 10, 149.6, 70), None, (0.3, 0, 50, 60)]
    landmarks = [[(1, 2), (3, 4)], None, None, None]
    ids = gallery.add(
        vectors,
        ['a', 'b', 'c', 'd'],
        ['f.jpg'] * 4,
        ['0' * 64] * 4,
        None,
        boxes,
        landmarks,
        [0.9] * 4,
        [2, None, 1, 1],
    ).ids
    assert ids == (1, 2, 3, None)  # the last is the first, to the pixel
    first, second, third = gallery.entries()
    assert (first.box, first.landmarks, first.detector_score, first.quality) == (
        (0, 0, 50, 60),
        ((1.0, 2.0), (3.0, 4.0)),
        0.9,
        2.0,
    )
    assert (second.box, second.landmarks, second.quality, third.box) == ((100, 10, 150, 70), None, None, None)
    assert {h: [e.id for e in found] for h, found in gallery.faces(['0' * 64, '1' * 64]).items()} == {
        '0' * 64: [1, 2, 3]
    }
    assert verify(gallery).problems == ()


@pytest.mark.parametrize(
    ('box', 'complaint'),
    [
        ((0, 0, 0, 5), 'x0 < x1'),
        ((1, 2, 3), 'four numbers'),
        ((0, 0, float('nan'), 5), 'four numbers'),
        ('abcd', 'four numbers'),
        ((0, 0, 1e12, 5), 'four numbers'),
    ],
)
def test_a_box_that_is_none_is_one_line(box, complaint, gallery):
    with pytest.raises(InputError, match=complaint):
        gallery.add(np.ones((1, DIM)), ['a'], ['f'], ['0' * 64], boxes=[box])
    assert len(gallery) == 0


@pytest.mark.parametrize('wrong', [[1.5], '12', [True], [2**70], [float('nan')], ['1'], 5, [None], b'1'])
def test_ids_are_whole_numbers(wrong, gallery):
    gallery.add(*people(10))
    with pytest.raises(InputError, match='ids must be'):
        gallery.remove(wrong)
    for one in wrong if isinstance(wrong, list) else [wrong]:
        if one != 5:
            with pytest.raises(InputError, match='ids must be'):
                gallery.get(one)
            with pytest.raises(InputError, match='ids must be'):
                gallery.update(one, {})
    assert len(gallery) == 20
    assert gallery.remove(np.array([1, 2])) == 2


def test_a_person_gets_another_name_everywhere(gallery):
    vectors, names, files, hashes = people(5)
    gallery.add(vectors, names, files, hashes)
    other = Gallery(gallery.folder)
    [before] = other.search(vectors[:1], k=1)
    assert gallery.rename(names[0], 'Ada') == 2
    for opened in (gallery, other, Gallery(gallery.folder)):
        assert opened.search(vectors[:1], k=1)[0][0].identity == 'Ada'
        assert len(opened.search(vectors[:1], k=9, identity='Ada')[0]) == 2
        assert opened.search(vectors[:1], identity=names[0]) == [[]]
        assert opened.identities()['Ada'] == 2
    assert before[0].identity == names[0]  # what was found stays as it was found
    gallery.save()
    assert Gallery(gallery.folder)._live.saved.load().catalog[1][0] == 'Ada'
    with pytest.raises(InputError, match=r"there is a 'person 0-1' already: merge_identities"):
        gallery.rename('Ada', names[2])
    with pytest.raises(InputError, match="there is no 'nobody'"):
        gallery.rename('nobody', 'x')
    with pytest.raises(InputError, match="there is no 'nobody'"):  # whoever has the new name
        gallery.rename('nobody', 'Ada')


def test_two_names_of_a_person_become_one(gallery):
    vectors, names, files, hashes = people(5)
    gallery.add(vectors, names, files, hashes)
    assert gallery.merge_identities([names[0], names[2]], names[2]) == 2
    assert gallery.identities()[names[2]] == 4
    with pytest.raises(InputError, match='there is no'):
        gallery.merge_identities([names[4], 'nobody'], 'x')
    assert gallery.identities()[names[4]] == 2
    assert verify(gallery).problems == ()


def test_what_was_corrected_stays_so(gallery, tmp_path):
    vectors, names, files, hashes = people(3)
    gallery.add(vectors, names, files, hashes)
    gallery.not_this_person([1])
    gallery.not_this_person([2], 'Ada')
    assert [e.identity for e in gallery.entries()] == ['Ada', *names[2:]]

    def embed(entries):
        return [np.arange(1.0, 5.0) for _ in entries]

    made, _ = reembed(gallery, tmp_path / 'new', 'm2', {}, 4, embed)
    exported = Gallery.create(tmp_path / 'e', DIM, 'm')
    export(gallery, tmp_path / 'g.npz')
    import_file(exported, tmp_path / 'g.npz')
    merged = Gallery.create(tmp_path / 'm', DIM, 'm')
    merge(merged, [gallery])
    for some in (gallery, made, exported, merged):
        told = {(c.sha256, c.identity, c.correct) for c in some.corrections()}
        assert told == {(hashes[0], names[0], False), (hashes[1], names[0], False), (hashes[1], 'Ada', True)}
        assert some.add(np.ones((2, some.dim)), names[:2], files[:2], hashes[:2]).ids == (None, None)
        assert some.add(np.ones((1, some.dim)), ['Bob'], files[:1], hashes[:1]).new == 1
    with pytest.raises(InputError, match='has the name'):
        gallery.not_this_person([3], names[2])


@pytest.mark.parametrize('how', ['merge', 'rename'])
def test_a_name_that_is_given_later_outweighs_that_a_face_was_not_that_person(how, gallery, tmp_path):
    vectors, names, files, hashes = people(2)
    gallery.add(vectors, names, files, hashes)
    if how == 'merge':
        gallery.not_this_person([1], 'Ada')
        gallery.merge_identities(['Ada'], names[0])
    else:
        gallery.not_this_person([1, 2], 'Ada')
        gallery.rename('Ada', names[0])
    assert [e.identity for e in gallery.entries()] == names
    assert gallery.corrections() == []
    merged = Gallery.create(tmp_path / 'm', DIM, 'm')
    assert merge(merged, [gallery]) == [(4, 4)]


def test_corrections_of_early_versions_that_a_name_outweighs_cost_no_entry(gallery, tmp_path):
    vectors, names, files, hashes = people(2)
    gallery.add(vectors, names, files, hashes)
    with writes._changing(gallery._store) as change:
        for name in names[0], names[2]:
            change.connection.execute(writes._CORRECT, (hashes[0], '', name, 0, 1.0))
    assert [one.identity for one in gallery.corrections()] == [names[2]]
    merged = Gallery.create(tmp_path / 'm', DIM, 'm')
    assert merge(merged, [gallery]) == [(4, 4)]
    export(gallery, tmp_path / 'g.npz')
    assert import_file(Gallery.create(tmp_path / 'e', DIM, 'm'), tmp_path / 'g.npz') == (4, 4)


@pytest.mark.parametrize(
    'wrong', [dict(sha256='0'), dict(box='x'), dict(identity=5), dict(correct='yes'), dict(made='now')]
)
def test_corrections_that_are_none_are_refused(wrong, gallery):
    right = Correction('0' * 64, None, 'Ada', False, 1.0)
    with pytest.raises(InputError):
        gallery.add_entries([], [replace(right, **wrong)])
    gallery.add_entries([], [right])
    assert gallery.corrections() == [right]


def test_keys_that_come_meanwhile_stay(gallery):
    gallery.add(*(column[:1] for column in people(1)), [dict(team='red', year=1)])
    gallery.update(1, dict(year=2), 'new.jpg', keep=True)
    assert (gallery.get(1).metadata, gallery.get(1).file) == (dict(team='red', year=2), 'new.jpg')
    with pytest.raises(InputError, match='JSON'):
        gallery.update(1, dict(year=object()), keep=True)


def test_entries_can_be_changed_while_they_are_read(gallery):
    gallery.add(*people(30))
    for entry in gallery.entries():
        gallery.update(entry.id, dict(n=entry.id))
    assert [e.metadata['n'] for e in gallery.entries()] == [e.id for e in gallery.entries()]
    with gallery.snapshot():
        for entry in gallery.entries():
            gallery.remove([entry.id])
        assert len(list(gallery.entries())) == 60  # one state
    assert len(gallery) == 0
    assert gallery.search(np.ones((1, DIM))) == [[]]


def test_a_moved_file_is_told(gallery):
    vectors, names, files, hashes = people(1)
    gallery.add(vectors, names, files, hashes)
    gallery.update(1, file='elsewhere.jpg')
    assert gallery.search(vectors[:1], k=1)[0][0].file == 'elsewhere.jpg'
    assert gallery.get(1).metadata == {}


def test_update_keeps_where_the_file_lies(tmp_path):
    with Gallery.create(tmp_path / 'g', 4, 'm') as gallery:
        gallery.add(np.eye(4)[:1], ['Ada'], ['a.jpg'], ['0' * 64], [{'folder': '/photos', 'year': 1}])
        gallery.update(1, {'team': 'red'})
        assert gallery.get(1).metadata == {'folder': '/photos', 'team': 'red'}
        gallery.update(1, {'folder': '/moved'}, file='b.jpg')
        assert (gallery.get(1).metadata, gallery.get(1).file) == ({'folder': '/moved'}, 'b.jpg')
        assert verify(gallery).problems == ()


def test_names_may_be_read_only_once(tmp_path):
    with Gallery.create(tmp_path / 'g', 4, 'm') as gallery:
        gallery.add(np.eye(4)[:3], ['Ada', 'Bob', 'Ada'], ['a', 'b', 'c'], [f'{i:064x}' for i in range(3)])
        assert [entry.id for entry in gallery.entries(identity=iter(['Ada', 'Eve']))] == [1, 3]
        [found] = gallery.search(np.eye(4)[:1], 5, identity=iter(['Bob']))
        assert [match.id for match in found] == [2]


def test_more_values_than_sqlite_takes_are_refused(tmp_path):
    with Gallery.create(tmp_path / 'g', 4, 'm') as gallery:
        many = [Condition('n', 'in', list(range(9_000)))] * 30
        with pytest.raises(InputError, match='more values than SQLite takes at once') as refused:
            list(gallery.entries(metadata=many))
        assert not isinstance(refused.value, DamagedFileError)


def test_what_came_since_a_change_is_found_without_looking_through_all(gallery):
    gallery.add(*people(1000))
    change, state = (gallery._store.meta(key) for key in ('change', 'state'))
    gallery.add(*people(1, seed=1))
    gallery.rename('person 0-7', 'somebody')
    gallery.remove([5])
    steps = []
    with gallery._store.reading() as connection:
        connection.set_progress_handler(lambda: steps.append(1) and None, 100)  # of SQLite's machine
        found = gallery._store.since(change, state)
        connection.set_progress_handler(None, 100)
    assert [entry.id for entry in found.entries] == [15, 16, 2001, 2002]
    assert found.removed.tolist() == [5]
    assert len(steps) < 15  # 2,000 entries are more than 60
