"""Faces that nobody has named, grouped; and what people say of the groups, which stays."""

import hashlib

import numpy as np
import pytest
from support.crowd import DIM, normalised

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.face.evaluation import b_cubed
from mbv1_backbone.retrieval import Gallery, calibrate, cluster, cluster_all, estimate_threshold
from mbv1_backbone.retrieval.apart import is_label
from mbv1_backbone.retrieval.export import export, import_file
from mbv1_backbone.retrieval.linkage import average_linkage
from mbv1_backbone.retrieval.maintenance import merge, other_names, reembed, verify
from mbv1_backbone.retrieval.unnamed import group_name, is_alone, is_group, is_unnamed, unnamed


@pytest.fixture
def gallery(tmp_path):
    with Gallery.create(tmp_path / 'g', DIM, 'm') as opened:
        yield opened


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def vectors_of(people, seed=0, spread=0.15):
    """Around a centre a person; the same number is the same person."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(1).normal(size=(max(people) + 1, DIM))
    return centres[people] + spread * generator.normal(size=(len(people), DIM))


def fill(gallery, people, seed=0, photographs=None, names=None):
    """Faces without names, one of each number; where they are given, of these photographs."""
    files = photographs or [f'{seed}-{place}.jpg' for place in range(len(people))]
    boxes = [(10 * place, 0, 10 * place + 9, 9) for place in range(len(people))]
    hashes = [sha256(file) for file in files]
    alone = [unnamed(one, box) for one, box in zip(hashes, boxes, strict=True)]
    added = gallery.add(vectors_of(people, seed), names or alone, files, hashes, boxes=boxes)
    return list(added.ids)


def partition(gallery):
    """The groups as sets of ids, without those of one face."""
    groups = {}
    for entry in gallery.entries():
        groups.setdefault(entry.identity, set()).add(entry.id)
    return sorted((ids for name, ids in groups.items() if is_group(name)), key=min)


def test_automatic_names():
    box = (1, 2, 3, 4)
    assert is_alone(unnamed('ab', box))
    assert not is_group(unnamed('ab', box))
    name = group_name([('ab', box)], ())
    other = group_name([('ab', box), ('cd', None)], {name})
    assert is_group(name)
    assert is_group(other)
    assert len({name, other, group_name([('ab', box)], {name})}) == 3
    assert not any(map(is_unnamed, ('Ada', 'group-1', 'group-0123456789x', 'unnamed-ABCDEF0123', 'Group 1')))
    assert unnamed('ab', None) != unnamed('ab', box) == unnamed('ab', (1, 2, 3, 4))


def test_faces_of_one_person_are_a_group_and_others_alone(gallery):
    people = [0, 0, 0, 1, 1, 2, 3, 0]
    ids = fill(gallery, people)
    found = cluster(gallery, 0.7)
    assert [group.ids for group in found.groups] == [(1, 2, 3, 8), (4, 5)]
    assert found.alone == (6, 7)
    assert (found.threshold, found.origin, found.changed) == (0.7, 'given', 6)
    assert gallery.identities()[found.groups[0].identity] == 4
    unit = normalised(vectors_of(people).astype(np.float32))[[3, 4]]
    assert found.groups[1].cohesion == pytest.approx(float(unit[0] @ unit[1]), abs=1e-5)
    assert found.groups[0].photographs == 4
    assert [is_alone(gallery.get(i).identity) for i in ids] == [i in (6, 7) for i in ids]
    assert verify(gallery).problems == ()
    again = cluster(gallery, 0.7)
    assert again.changed == 0
    assert again.groups == found.groups


def test_two_faces_of_a_photograph_are_never_one_person(gallery):
    fill(gallery, [0] * 6, photographs=['a.jpg', 'b.jpg', 'a.jpg', 'c.jpg', 'b.jpg', 'a.jpg'])
    found = cluster(gallery, -1)
    assert sum(len(group.ids) for group in found.groups) + len(found.alone) == 6
    assert len(found.groups) + len(found.alone) == 3  # as many as faces in the fullest photograph
    for group in found.groups:
        assert group.photographs == len(group.ids)


def test_a_higher_threshold_takes_groups_apart_and_the_larger_part_keeps_the_name(gallery):
    fill(gallery, [0, 0, 0, 1, 1])
    [group] = cluster(gallery, -1).groups
    first, second = cluster(gallery, 0.7).groups
    assert (first.identity, first.ids, second.ids) == (group.identity, (1, 2, 3), (4, 5))
    assert is_group(second.identity)


def test_named_people_stay_and_groups_say_whom_they_are_like(gallery):
    named = fill(gallery, [0, 0, 1], names=['Ada', 'Ada', 'Eve'])
    fill(gallery, [0, 0, 2, 2, 1], seed=5)
    found = cluster(gallery, 0.7)
    assert [group.ids for group in found.groups] == [(4, 5), (6, 7)]
    assert found.alone == (8,)
    assert found.groups[0].like[0] == 'Ada'
    assert found.groups[0].like[1] > 0.7
    assert found.groups[1].like is None
    assert [gallery.get(i).identity for i in named] == ['Ada', 'Ada', 'Eve']
    gallery.not_this_person([named[0]], 'Eve')
    assert cluster(gallery, 0.7).groups[0].like[0] in ('Ada', 'Eve')


def test_a_group_is_not_like_somebody_who_is_beside_it_in_a_photograph(gallery):
    fill(gallery, [0], names=['Ada'], photographs=['a.jpg'])
    gallery.add(
        vectors_of([0, 0], seed=3),
        ['unnamed-0000000001', 'unnamed-0000000002'],
        ['a.jpg', 'b.jpg'],
        [sha256('a.jpg'), sha256('b.jpg')],
        boxes=[(50, 50, 60, 60), (50, 50, 60, 60)],
    )
    [group] = cluster(gallery, 0.7).groups
    assert (group.ids, group.like) == ((2, 3), None)


def test_a_named_group_is_a_person(gallery):
    fill(gallery, [0, 0, 1])
    [group] = cluster(gallery, 0.7).groups
    assert gallery.rename(group.identity, 'Ada') == 2
    fill(gallery, [0, 0], seed=9)
    [group] = cluster(gallery, 0.7).groups
    assert (group.ids, group.like[0]) == ((4, 5), 'Ada')
    assert gallery.merge_identities([group.identity], 'Ada') == 2
    assert gallery.identities()['Ada'] == 4


def test_what_is_merged_stays_so_and_takes_more(gallery):
    fill(gallery, [0, 0, 1, 1, 2, 2])
    one, other, third = cluster(gallery, 0.7).groups
    assert gallery.merge_identities([other.identity], one.identity) == 2
    fill(gallery, [0, 2], seed=3)
    found = cluster(gallery, 0.7)
    assert [(group.identity, group.ids) for group in found.groups] == [
        (one.identity, (1, 2, 3, 4)),  # its mean is between the two people, and too far from 7
        (third.identity, (5, 6, 8)),
    ]
    assert partition(gallery) == [{1, 2, 3, 4}, {5, 6, 8}]
    loose = cluster(gallery, 0.2)
    assert loose.groups[0].ids == (1, 2, 3, 4, 7)


def test_groups_that_were_settled_are_not_merged_with_each_other(gallery):
    fill(gallery, [0, 0, 0, 0])
    [group] = cluster(gallery, 0.7).groups
    name = gallery.split([3, 4])
    assert is_group(name)
    assert name != group.identity
    fill(gallery, [1, 1], seed=2)
    gallery.merge_identities([cluster(gallery, 0.7).groups[2].identity], group.identity)
    assert partition(gallery) == [{1, 2, 5, 6}, {3, 4}]
    cluster(gallery, -1)
    assert partition(gallery) == [{1, 2, 5, 6}, {3, 4}]


def test_what_is_corrected_while_clustering_stays(gallery, monkeypatch):
    from mbv1_backbone.retrieval import clustering

    fill(gallery, [0] * 5 + [1] * 4)
    [group, _] = cluster(gallery, 0.7).groups

    def meanwhile(*args, **options):
        gallery.not_this_person([1])
        gallery.split([2, 3])
        return average_linkage(*args, **options)

    monkeypatch.setattr(clustering, 'average_linkage', meanwhile)
    assert cluster(gallery, 0.7).changed == 0
    monkeypatch.undo()
    names = [gallery.get(i).identity for i in range(1, 6)]
    assert is_alone(names[0])
    assert names[1] == names[2] != names[3] == names[4] == group.identity
    cluster(gallery, 0.7)
    after = [gallery.get(i).identity for i in range(1, 6)]
    assert after[1:] == names[1:]
    assert after[0] != group.identity


def test_what_is_split_stays_apart(gallery):
    fill(gallery, [0] * 5)
    [group] = cluster(gallery, 0.7).groups
    name = gallery.split([2, 4])
    assert [gallery.get(i).identity for i in (2, 4, 1)] == [name, name, group.identity]
    assert cluster(gallery, 0.7).changed == 0
    alone = gallery.split([5])
    assert is_alone(alone)
    fill(gallery, [0, 0, 0], seed=4)
    cluster(gallery, 0.7)
    names = {i: gallery.get(i).identity for i in range(1, 9)}
    assert names[2] == names[4] != names[1] == names[3]
    assert names[5] not in (names[1],)
    assert gallery.split([1], 'Ada') == 'Ada'
    assert gallery.get(1).identity == 'Ada'


@pytest.mark.parametrize(
    ('ids', 'identity', 'complaint'),
    [
        ([1, 5], None, 'of one person are split, got 2 of 2'),
        ([], None, 'of one person are split, got 0 of 0'),
        ([1, 2, 3], None, 'these are all entries of'),
        ([5], None, 'these are all entries of'),
        ([99], None, 'no entry 99'),
        ([1.5], None, 'ids must be'),
        ([1], '', 'identity must be text'),
    ],
)
def test_what_cannot_be_split_is_one_line(ids, identity, complaint, gallery):
    fill(gallery, [0, 0, 0, 1, 2])
    cluster(gallery, 0.7)
    before = gallery.identities()
    with pytest.raises(InputError, match=complaint):
        gallery.split(ids, identity)
    assert (gallery.identities(), gallery.corrections()) == (before, [])


def test_a_face_that_is_not_of_a_group_leaves_it_for_good(gallery):
    fill(gallery, [0] * 4)
    [group] = cluster(gallery, 0.7).groups
    gallery.not_this_person([2])
    assert len(gallery) == 4
    assert is_alone(gallery.get(2).identity)
    for threshold in (0.7, -1):
        found = cluster(gallery, threshold)
        assert ([one.ids for one in found.groups], found.alone) == ([(1, 3, 4)], (2,))
        assert found.groups[0].identity == group.identity
    with pytest.raises(InputError, match='has no name and is in no group'):
        gallery.not_this_person([2])
    fill(gallery, [0], seed=8)
    cluster(gallery, 0.7)
    assert gallery.get(2).identity != group.identity
    gallery.rename(group.identity, 'Ada')
    wrong = [one.identity for one in gallery.corrections() if not one.correct and not is_label(one.identity)]
    assert sorted(wrong) == ['Ada', group.identity]  # what was said of the group is said of its name
    gallery.not_this_person([1])
    assert len(gallery) == 4  # who has a name is removed, as ever


def test_what_is_said_of_a_name_follows_it_but_not_to_faces_that_have_the_new_one(gallery):
    fill(gallery, [0, 0, 0], names=['Ada', 'Ada', 'Eve'])
    gallery.not_this_person([2], 'Eve')
    gallery.merge_identities(['Ada'], 'Eve')  # so 2 is right after all
    face = gallery.get(2)
    said = {(one.identity, one.correct) for one in gallery.corrections() if one.box == face.box}
    assert said == {('Ada', False), ('Eve', True)}


def test_corrections_outlive_reembed_export_and_another_gallery(gallery, tmp_path):
    fill(gallery, [0] * 6 + [1, 1])
    one, other = cluster(gallery, 0.7).groups
    gallery.not_this_person([1])
    name = gallery.split([2, 3])
    gallery.merge_identities([other.identity], one.identity)
    wanted = [{2, 3}, {4, 5, 6, 7, 8}]
    assert partition(gallery) == wanted
    vectors = vectors_of([0] * 8, seed=6)

    def embed(entries):
        return [vectors[entry.id - 1] for entry in entries]

    made, lost = reembed(gallery, tmp_path / 'new', 'other', {}, DIM, embed)
    with made:
        assert lost == []
        found = cluster(made, 0.7)
        new = partition(made)
        assert new == [{1, 2, 3}, {4, 5, 6, 7, 8}]  # 1 is not of the group of 4, and may be of that of 2
        assert {group.identity for group in found.groups} == {one.identity, name}
        export(made, tmp_path / 'new.npz')
    with Gallery.create(tmp_path / 'third', DIM, 'other') as third:
        import_file(third, tmp_path / 'new.npz')
        cluster(third, 0.7)
        assert partition(third) == new
        assert not list(other_names(gallery, third.entries()))  # automatic names are no question


def names_of(gallery):
    return {entry.id: entry.identity for entry in gallery.entries()}


@pytest.fixture
def told(gallery):
    """Six faces of a person, and 20 of another one who is a little alike: they are one group at .3."""
    generator = np.random.default_rng(2)
    one, other = np.eye(DIM)[:2]
    other = 0.4 * one + 0.92 * other
    vectors = np.array([one] * 6 + [other] * 20) + 0.02 * generator.normal(size=(26, DIM))
    hashes = [f'{i:064x}' for i in range(26)]
    gallery.add(vectors, [unnamed(one, None) for one in hashes], hashes, hashes)
    large, group = cluster(gallery, 0.7).groups
    assert (large.ids, group.ids) == (tuple(range(7, 27)), tuple(range(1, 7)))
    return gallery


@pytest.mark.parametrize('loose', [0.3, -1, 1])
@pytest.mark.parametrize('way', ['not_this_person', 'split'])
def test_what_was_told_apart_stays_so_at_any_threshold(way, loose, told, tmp_path):
    ids = {'not_this_person': [1], 'split': [1, 2]}[way]
    getattr(told, way)(ids)
    kept = sorted({*range(1, 7)} - {*ids})

    def check(gallery):
        for threshold in (loose, 0.7, 0.7):
            cluster(gallery, threshold)
            names = names_of(gallery)
            assert {names[i] for i in ids}.isdisjoint(names[i] for i in kept)
        assert len({names[i] for i in ids}) == len({names[i] for i in kept}) == 1
        assert verify(gallery).problems == ()

    check(told)
    cluster(told, loose)
    export(told, tmp_path / 'told.npz')
    with Gallery.create(tmp_path / 'imported', DIM, 'm') as imported:
        import_file(imported, tmp_path / 'told.npz')
        check(imported)
    vectors = {entry.id: vector for entry, vector in told.entries_with_vectors()}
    made, _ = reembed(
        told, tmp_path / 'new', 'other', {}, DIM, lambda entries: [vectors[entry.id] for entry in entries]
    )
    with made:
        check(made)


def test_who_was_told_apart_is_not_like_the_name_that_the_others_get(told):
    told.not_this_person([1])
    cluster(told, 0.3)  # the group goes on in the larger one
    cluster(told, 0.7)
    names = names_of(told)
    told.rename(names[2], 'Ada')
    found = cluster(told, 0.7)
    assert found.alone == (1,)
    face = told.get(1)
    told.remove([1])
    assert told.add(np.eye(DIM)[:1], ['Ada'], ['x.jpg'], [face.sha256]).ids == (None,)
    hashes = [face.sha256, 'f' * 64]
    told.add(np.eye(DIM)[[0, 0]], [unnamed(one, None) for one in hashes], hashes, hashes)
    group = cluster(told, 0.7).groups[-1]
    assert (len(group.ids), group.like) == (2, None)


def test_who_is_merged_is_no_longer_told_apart_but_from_others(told):
    told.not_this_person([1, 2])
    told.split([6])
    name = told.get(3).identity
    told.merge_identities([told.get(1).identity], name)
    for threshold in (0.3, -1, 0.7):
        cluster(told, threshold)
        names = names_of(told)
        assert names[1] == names[3] == names[4] == names[5]
        assert names[2] != names[1] != names[6]
    told.merge_identities([names[2], names[6]], 'Ada')  # 1 is still neither of them
    assert told.identities()['Ada'] == 2


def test_the_larger_part_of_a_group_is_the_one_that_others_were_told_apart_from(told):
    told.not_this_person([1])
    told.split([2, 3, 4, 5])
    for threshold in (0.3, 0.7):
        cluster(told, threshold)
        names = names_of(told)
        assert names[1] not in (names[2], names[6])
        assert names[2] == names[5] != names[6]


def test_a_group_that_a_face_is_given_to_stays_together(told):
    name = told.get(1).identity
    told.not_this_person([7], name)
    cluster(told, 0.9)
    assert {told.get(i).identity for i in (1, 2, 3, 4, 5, 6, 7)} == {name}


@pytest.mark.parametrize(
    'way',
    [
        lambda g: g.merge_identities(['Ada'], 'Eve'),
        lambda g: g.merge_identities(['Ada', 'Eve'], 'Ida'),
        lambda g: g.not_this_person([1], 'Eve'),
        lambda g: g.not_this_person([1, 2], 'Ida'),
        lambda g: g.split([1], 'Eve'),
    ],
)
def test_two_faces_of_a_photograph_are_not_given_one_name(way, gallery):
    fill(gallery, [0, 0, 1], names=['Ada', 'Eve', 'Ada'], photographs=['a.jpg', 'a.jpg', 'b.jpg'])
    gallery.rename('Ada', 'Ada')
    before = names_of(gallery), gallery.corrections()
    with pytest.raises(InputError, match=r'a\.jpg: entries 1 \(Ada\) and 2 \(Eve\) are two faces of this'):
        way(gallery)
    assert (names_of(gallery), gallery.corrections()) == before


def test_a_photograph_that_is_a_face_is_beside_nobody(gallery):
    gallery.add(np.eye(DIM)[[0, 0]], ['Ada', 'Eve'], ['a', 'a'], ['0' * 64] * 2, boxes=[None, (0, 0, 9, 9)])
    assert gallery.merge_identities(['Eve'], 'Ada') == 1


@pytest.mark.parametrize('name', ['unnamed-0123456789', 'unnamed-1', 'group-0123456789'])
def test_automatic_names_are_not_given_by_hand(name, gallery):
    fill(gallery, [0, 0, 1], names=['Ada', 'Ada', 'Eve'])
    for way in (
        lambda: gallery.rename('Ada', name),
        lambda: gallery.merge_identities(['Ada'], name),
        lambda: gallery.not_this_person([1], name),
        lambda: gallery.split([1], name),
    ):
        with pytest.raises(InputError, match=f'names like .{name}. are given to faces and groups'):
            way()
    assert gallery.identities() == {'Ada': 2, 'Eve': 1}


def test_groups_of_two_galleries_stay_two_when_they_are_merged(gallery, tmp_path):
    fill(gallery, [0, 0])
    cluster(gallery, 0.7)
    with Gallery.create(tmp_path / 'h', DIM, 'm') as other:
        fill(other, [1, 1], seed=2)
        cluster(other, 0.7)
        merge(gallery, [other])
    assert partition(gallery) == [{1, 2}, {3, 4}]


def test_the_calibrated_threshold_is_taken_and_faces_alone_are_not_calibrated_with(gallery):
    people = [i // 3 for i in range(90)]
    fill(gallery, people)
    assert cluster(gallery).origin == 'estimated'
    with_groups = calibrate(gallery, 0.1)
    found = cluster(gallery)
    assert (found.origin, found.threshold) == ('calibrated', with_groups.threshold)
    fill(gallery, people, seed=7)  # the same people again, whom nobody has grouped
    assert calibrate(gallery, 0.1).threshold == pytest.approx(with_groups.threshold)
    with pytest.raises(InputError, match=r'threshold must lie in -1\.\.1'):
        cluster(gallery, 1.5)
    with pytest.raises(InputError, match='threshold must be a finite number'):
        cluster(gallery, float('nan'))


@pytest.mark.parametrize('people', [2, 20, 200])
def test_the_estimated_threshold_lies_between_impostors_and_people(people):
    vectors = normalised(vectors_of(sorted([*range(people)] * (400 // people)), spread=0.3)).astype(
        np.float32
    )
    of = np.repeat(np.arange(people), 400 // people)
    threshold = estimate_threshold(vectors)
    scores = vectors @ vectors.T
    same = of[:, None] == of
    assert threshold == estimate_threshold(vectors)
    if people > 2:
        assert (scores[~same] >= threshold).mean() < 0.01
    assert threshold <= 1


@pytest.mark.parametrize(('count', 'threshold'), [(0, 1.0), (1, 1.0)])
def test_one_face_has_nobody_to_be_grouped_with(count, threshold, gallery):
    fill(gallery, [0] * count) if count else None
    assert estimate_threshold(np.ones((count, DIM), np.float32)) == threshold
    found = cluster(gallery)
    assert (found.groups, len(found.alone), found.changed) == ((), count, 0)


def test_grouping_all_changes_nothing_and_knows_no_names(gallery):
    people = [0, 0, 1, 1, 1, 2]
    fill(gallery, people, names=['a', 'b', 'c', 'd', 'e', 'f'])
    before = [entry.identity for entry in gallery.entries()]
    threshold, entries, labels = cluster_all(gallery, 0.7)
    assert (threshold, labels.tolist()) == (0.7, [0, 0, 1, 1, 1, 2])
    assert [entry.identity for entry in entries] == before == [e.identity for e in gallery.entries()]


def test_people_whom_no_network_has_seen_are_grouped_by_the_teachers_embeddings(tmp_path, shared):
    with np.load(shared / 'lfw_color' / 'teacher_dev.npz') as content:
        files, vectors = content['files'].tolist(), content['embeddings']
    people = [file.rpartition('/')[2].rpartition('_')[0] for file in files]
    with Gallery.create(tmp_path / 'lfw', vectors.shape[1], 'teacher') as gallery:
        gallery.add(vectors, people, files, [sha256(file) for file in files])
        _, entries, labels = cluster_all(gallery)
    found = b_cubed([entry.identity for entry in entries], labels.tolist())
    assert (len(entries), found.people) == (1204, 574)
    assert found.f > 0.98


def test_regroup_gives_automatic_names_only_and_leaves_what_was_named(gallery):
    fill(gallery, [0, 1])
    with pytest.raises(InputError, match='automatic names'):
        gallery.regroup({1: 'Ada'})
    group = 'group-0123456789'
    for odd, complaint in (
        ({'1': group}, 'ids must be'),
        ({1.5: group}, 'ids must be'),
        ({1: None}, 'identity must be text'),
        ([1], 'names must be a dict'),
    ):
        with pytest.raises(InputError, match=complaint):
            gallery.regroup(odd)
    gallery.rename(gallery.get(1).identity, 'Ada')
    assert gallery.regroup({1: 'group-0123456789', 2: 'group-0123456789', 77: 'group-0123456789'}) == 1
    assert [entry.identity for entry in gallery.entries()] == ['Ada', 'group-0123456789']


def test_an_index_of_codes_groups_as_exact_search_does(gallery):
    generator = np.random.default_rng(4)
    people = np.repeat(np.arange(450), generator.integers(1, 16, 450)).tolist()
    assert len(people) > 3000
    fill(gallery, people)
    gallery.optimize()
    assert not gallery.exact
    _, entries, found = cluster_all(gallery, 0.8)
    vectors = normalised(vectors_of(people)).astype(np.float32)
    exact = average_linkage(vectors, np.argwhere(np.triu(vectors @ vectors.T >= 0.8, 1)), 0.8)
    assert len(entries) == len(people)
    assert b_cubed(exact.tolist(), found.tolist()).f > 0.99


def test_a_group_never_gets_the_name_of_one_that_its_face_was_taken_out_of(gallery, tmp_path):
    fill(gallery, [0, 0, 0])
    cluster(gallery, 0.5)
    [name] = gallery.identities()
    first = next(e.id for e in gallery.entries() if group_name([(e.sha256, e.box)], ()) == name)
    gallery.split([first])
    gallery.rename(name, 'Ann')
    fill(gallery, [0, 0], seed=1)
    found = cluster(gallery, 0.5)
    assert [group.ids for group in found.groups] == [tuple(sorted((first, 4, 5)))]
    assert found.groups[0].identity != name
    assert cluster(gallery, 0.5).changed == 0
    merged = Gallery.create(tmp_path / 'm', DIM, 'm')
    assert merge(merged, [gallery]) == [(5, 5)]
