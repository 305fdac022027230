"""One promise, every kind of gallery: the same tests run on each; what one gives less is said by name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support.crowd import DIM, normalised, people
from support.gallery_kinds import KINDS, Kind

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval import Condition, Correction, Entry, Gallery, calibrate
from mbv1_backbone.retrieval.copying import copy
from mbv1_backbone.retrieval.unnamed import unnamed

VECTORS, NAMES, FILES, HASHES = people(30, images=3)
UNIT = normalised(VECTORS)
BOX = (1, 2, 30, 40)


@pytest.fixture(params=KINDS, scope='module')
def kind(request, tmp_path_factory):
    """A place where galleries of one kind are made."""
    yield from Kind.opened(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def gallery(kind):
    with kind.made(DIM, 'model-1', {'size': 112, 'face': 'middle square'}) as made:
        yield made


def filled(gallery, **more):
    gallery.add(VECTORS, NAMES, FILES, HASHES, **more)
    return gallery


def test_a_search_gives_the_nearest_as_a_loop_finds_them(gallery):
    filled(gallery)
    probes = np.random.default_rng(9).normal(size=(7, DIM))
    cosines = normalised(probes) @ UNIT.T
    for row, matches in zip(cosines, gallery.search(probes, k=5), strict=True):
        best = np.argsort(-row)[:5]
        assert [m.file for m in matches] == [FILES[i] for i in best]
        assert [m.identity for m in matches] == [NAMES[i] for i in best]
        np.testing.assert_allclose([m.score for m in matches], row[best], atol=1e-5)
    [all_of_them] = gallery.search(probes[:1], k=1000)
    assert len(all_of_them) == len(gallery) == 90
    [few] = gallery.search(probes[:1], k=90, threshold=0.5)
    assert [m.file for m in few] == [FILES[i] for i in np.argsort(-cosines[0]) if cosines[0][i] >= 0.5]


def test_an_empty_gallery_finds_nobody(gallery):
    assert [list(matches) for matches in gallery.search(VECTORS[:2])] == [[], []]
    assert gallery.search_identities(VECTORS[:1]) == [[]]
    assert (len(gallery), gallery.identities(), list(gallery.entries())) == (0, {}, [])
    assert len(gallery.search(np.zeros((0, DIM)))) == 0


def test_the_same_face_is_skipped_and_two_of_a_photograph_are_not(gallery):
    added = gallery.add(VECTORS[:2], NAMES[:2], FILES[:2], HASHES[:2])
    again = gallery.add(VECTORS[:3], ['else'] * 3, ['other.jpg'] * 3, HASHES[:3])
    assert (added.new, again.ids[:2], again.new, len(gallery)) == (2, (None, None), 1, 3)
    twice = gallery.add(VECTORS[3:5], NAMES[3:5], FILES[3:5], [HASHES[3]] * 2)
    assert twice.ids[0] is not None
    assert twice.ids[1] is None
    beside = gallery.add(VECTORS[3:4], ['beside'], FILES[3:4], [HASHES[3]], boxes=[BOX])
    assert beside.new == 1
    found = gallery.faces([HASHES[3], 'f' * 64])
    assert {entry.box for entry in found[HASHES[3]]} == {None, BOX}
    assert len(found) == 1
    assert gallery.known([HASHES[0], 'f' * 64]) == {HASHES[0]}


def test_an_entry_comes_back_as_it_went_in(gallery):
    entry = Entry(
        id=0,
        identity='Zoë "Z" O\'Neil \\ 名',
        file='a b/ü\n".jpg',
        sha256=HASHES[0],
        added=1234567.25,
        metadata={'year': 2001, 'x': [1, {'y': None}], 'big': 2**70, 'real': 0.1, 'no': False, 'k"\\': 'v'},
        box=(-3, 0, 2**30, 7),
        landmarks=((0.1, 2.0), (1e-9, -3.5)),
        detector_score=0.1,
        quality=0.0,
    )
    bare = Entry(0, 'b', 'b.jpg', HASHES[1], 0.0)
    ids = gallery.add_entries([(entry, VECTORS[0]), (bare, VECTORS[1])]).ids
    pairs = {one.id: (one, vector) for one, vector in gallery.entries_with_vectors()}
    for entry_id, sent, vector in zip(ids, (entry, bare), UNIT, strict=False):
        there, stored = pairs[entry_id]
        assert there == gallery.get(entry_id) == Entry(**{**vars(sent), 'id': entry_id})
        assert stored.dtype == np.float32
        np.testing.assert_allclose(stored, vector, atol=1e-7)
    assert [one.id for one in gallery.entries()] == sorted(ids) == gallery.ids().tolist()
    assert [one.id for one, _ in gallery.some(np.array(sorted([*ids, 5])))] == sorted(ids)


VALUES = [
    None,
    True,
    1,
    1.0,
    '1',
    0,
    False,
    -7,
    2.5,
    'a',
    'b',
    'ä',
    [1],
    {'a': 1},
    2**70,
    '',
    'x"y\\z',
    1e300,
    0.0,
    -0.0,
]
CONDITIONS = [
    *(Condition('v', '=', value) for value in VALUES),
    *(Condition('v', '!=', value) for value in (1, None, 'a', [1], 0.0)),
    *(
        Condition('v', op, value)
        for op in ('<', '<=', '>', '>=')
        for value in (1, 1.0, -7, 'a', 'x"y\\z', '')
    ),
    *(Condition('v', op, 'a") or (id >= 0) or (ordered["v"] > "') for op in ('=', '>', '<')),
    *(Condition('v"] > 0 or (id >= 0) or ordered["v', op, 0) for op in ('=', '>=', '!=')),
    Condition('v', 'in', [1, '1', None, [1]]),
    Condition('v', 'in', []),
    *(
        Condition(key, operator)
        for key in ('v', 'odd "key" \\', 'none')
        for operator in ('exists', 'missing')
    ),
    *(Condition('odd "key" \\', op, value) for op in ('=', '>', '<') for value in (3, 'a')),
]


def matches(metadata, condition):
    """What a condition means, without any store."""
    if condition.operator == 'missing':
        return condition.key not in metadata
    if condition.key not in metadata:
        return False
    value, asked = metadata[condition.key], condition.value
    same = [
        type(value) is type(one) and value == one
        for one in (asked if condition.operator == 'in' else [asked])
    ]
    number = not isinstance(value, bool) and isinstance(value, (int, float)) and abs(value) < 2**63
    number = number or isinstance(value, float)
    comparable = isinstance(value, str) if isinstance(asked, str) else number
    return {
        'exists': lambda: True,
        '=': lambda: any(same),
        'in': lambda: any(same),
        '!=': lambda: not any(same),
        '<': lambda: comparable and value < asked,
        '<=': lambda: comparable and value <= asked,
        '>': lambda: comparable and value > asked,
        '>=': lambda: comparable and value >= asked,
    }[condition.operator]()


def test_conditions_mean_what_they_say(gallery):
    metadata = [{'v': value, 'n': i} for i, value in enumerate(VALUES)]
    metadata += [{}, {'odd "key" \\': 4}, {'odd "key" \\': 'a b'}]
    count = len(metadata)
    gallery.add(VECTORS[:count], NAMES[:count], FILES[:count], HASHES[:count], metadata)
    for condition in CONDITIONS:
        right = {FILES[i] for i in range(count) if matches(metadata[i], condition)}
        assert {entry.file for entry in gallery.entries(metadata=[condition])} == right, condition
    both = [Condition('n', '>', 3), Condition('n', '<=', 5)]
    [found] = gallery.search(VECTORS[:1], k=50, metadata=both)
    assert {match.file for match in found} == set(FILES[4:6])
    assert gallery.metadata_kinds('v') == {'null', 'bool', 'int', 'real', 'text', 'json'}
    assert gallery.metadata_kinds('absent') == set()


def test_searches_among_some(gallery):
    filled(gallery, metadata=[{'team': i % 2} for i in range(90)])
    chosen = [NAMES[0], NAMES[30], 'nobody']
    [found] = gallery.search(VECTORS[60:61], k=50, identity=chosen)
    assert {m.file for m in found} == {FILES[i] for i in range(90) if NAMES[i] in chosen}
    [found] = gallery.search(VECTORS[60:61], k=50, identity=chosen, metadata={'team': 1})
    assert {m.file for m in found} == {FILES[i] for i in range(90) if NAMES[i] in chosen and i % 2}
    assert {e.file for e in gallery.entries(NAMES[3], FILES[4])} == {FILES[4]}
    assert gallery.images_of([NAMES[0], 'nobody']) == {NAMES[0]: 3}
    assert gallery.identities() == dict.fromkeys(sorted(NAMES), 3)


@pytest.mark.parametrize('by', ['best', 'mean'])
def test_people_are_found(gallery, by):
    filled(gallery)
    probe = VECTORS[7:8] + 0.1
    cosines = (normalised(probe) @ UNIT.T)[0].reshape(30, 3)
    scores = cosines.max(axis=1) if by == 'best' else cosines.mean(axis=1)
    [found] = gallery.search_identities(probe, k=2, by=by)
    best = np.argsort(-scores)[:2]
    assert [person.identity for person in found] == [NAMES[3 * i] for i in best]
    np.testing.assert_allclose([person.score for person in found], scores[best], atol=1e-5)
    assert {person.images for person in found} == {3}


def test_what_was_removed_is_never_found_again(gallery):
    ids = gallery.add(VECTORS, NAMES, FILES, HASHES).ids
    assert gallery.remove(ids[:2]) == 2
    assert gallery.remove(ids[:2]) == 0
    assert gallery.remove(identity=NAMES[3]) == 3
    assert gallery.remove(file=FILES[7]) == 1
    assert gallery.remove(identity=NAMES[9], file=FILES[12]) == 0
    gone = {*FILES[:2], *FILES[3:6], FILES[7]}
    found = {m.file for matches in gallery.search(VECTORS[:9], k=90) for m in matches}
    assert found == set(FILES) - gone
    assert len(gallery) == 84
    with pytest.raises(InputError, match=f'no entry {ids[0]}'):
        gallery.get(ids[0])


def test_entries_change(gallery):
    ids = gallery.add(VECTORS[:2], NAMES[:2], FILES[:2], HASHES[:2], [{'a': 1, 'folder': '/x'}, {}]).ids
    gallery.update(ids[0], {'b': 2}, file='new.jpg', quality=0.5)
    gallery.update(ids[1], {'c': 'x'}, keep=True)
    first = gallery.get(ids[0])
    assert (first.metadata, first.file, first.quality) == ({'b': 2, 'folder': '/x'}, 'new.jpg', 0.5)
    assert [e.id for e in gallery.entries(metadata={'a': 1})] == []
    assert [e.id for e in gallery.entries(metadata={'b': 2})] == [ids[0]]
    assert [e.id for e in gallery.entries(file=FILES[0])] == []
    assert [e.id for e in gallery.entries(file='new.jpg')] == [ids[0]]
    np.testing.assert_allclose(next(gallery.some(np.array(ids[:1])))[1], UNIT[0], atol=1e-7)
    missing = max(ids) - 1 if max(ids) - 1 not in ids else max(ids) + 1
    with pytest.raises(InputError, match=f'no entry {missing}'):
        gallery.update(missing, {'a': 1})


def test_a_metadata_key_is_taken_from_all_that_have_it(gallery):
    metadata = [{'a': 1, 'b': 2}, {'b': 2}, {'a': None}]
    ids = gallery.add(VECTORS[:3], NAMES[:3], FILES[:3], HASHES[:3], metadata).ids
    assert gallery.remove_metadata('a') == 2
    assert [dict(gallery.get(one).metadata) for one in ids] == [{'b': 2}, {'b': 2}, {}]
    assert gallery.metadata_kinds('a') == set()
    assert gallery.remove_metadata('a') == 0
    there = {entry.id: vector for entry, vector in gallery.entries_with_vectors()}
    np.testing.assert_allclose([there[one] for one in ids], UNIT[:3], atol=1e-7)
    assert not gallery.integrity_problems()


def test_people_get_other_names(gallery):
    filled(gallery)
    assert gallery.rename(NAMES[0], 'Ada') == 3
    assert gallery.identities()['Ada'] == 3
    assert NAMES[0] not in gallery.identities()
    [found] = gallery.search(VECTORS[:1], k=9, identity='Ada')
    assert {m.file for m in found} == set(FILES[:3])
    assert {m.identity for m in found} == {'Ada'}
    assert len(gallery) == 90
    with pytest.raises(InputError, match="there is a 'Ada' already"):
        gallery.rename(NAMES[3], 'Ada')
    with pytest.raises(InputError, match="there is no 'nobody'"):
        gallery.rename('nobody', 'Bo')
    with pytest.raises(InputError, match='faces and groups without'):
        gallery.rename('Ada', 'unnamed-0123456789')
    assert gallery.merge_identities(['Ada', NAMES[3]], NAMES[6]) == 6
    assert gallery.images_of([NAMES[6], 'Ada', NAMES[3]]) == {NAMES[6]: 9}


def test_two_faces_of_a_photograph_are_two_people(gallery):
    boxes = [BOX, (50, 2, 80, 40)]
    gallery.add(VECTORS[:2], ['Ada', 'Bo'], ['p.jpg'] * 2, [HASHES[0]] * 2, boxes=boxes)
    with pytest.raises(InputError, match='two people'):
        gallery.merge_identities(['Bo'], 'Ada')
    with pytest.raises(InputError, match='two people'):
        gallery.merge_identities(['Bo', 'Ada'], 'Cy')
    assert gallery.identities() == {'Ada': 1, 'Bo': 1}


def test_the_model_is_kept_and_another_refused(kind):
    with kind.made(DIM, 'model-1', {'size': 112}, {'model': 'my name'}) as gallery:
        place = gallery.place
    with kind.open(place) as gallery:
        assert gallery.model_identity == dict(
            model='model-1', preprocessing={'size': 112}, dim=DIM, metric='cosine'
        )
        assert gallery.made_with == {'model': 'my name'}
        gallery.check_model('model-1', {'size': 112})
        with pytest.raises(InputError, match='was made with model my name model-1, this is model-2'):
            gallery.check_model('model-2')
        with pytest.raises(InputError, match='size 112, this is size 160'):
            gallery.check_model('model-1', {'size': 160})
        gallery.set_made_with({'model': 'other'})
        assert gallery.made_with == {'model': 'other'}
    with pytest.raises(InputError, match=r'is not an empty folder|there is a collection'):
        kind.made(DIM, 'model-1', place=place)
    with pytest.raises(InputError, match='not a gallery'):
        kind.open(kind.place())


def test_a_calibration_is_what_searches_use(gallery):
    filled(gallery)
    assert gallery.calibration is None
    found = calibrate(gallery, fpir=0.1)
    assert gallery.calibration['threshold'] == found.threshold
    other = np.random.default_rng(3).normal(size=(50, DIM))
    best = (normalised(other) @ UNIT.T).max(axis=1)
    assert [bool(matches) for matches in gallery.search(other, k=1)] == list(best >= found.threshold)
    cosines = UNIT @ UNIT.T
    names = np.array(NAMES)
    cosines[names[:, None] == names] = -1
    assert found.non_mated == 90
    assert (cosines.max(axis=1) >= found.threshold).mean() <= 0.1
    with pytest.raises(InputError, match='threshold'):
        gallery.set_calibration({'fpir': 0.1})


WRONG = [
    (dict(vectors=np.ones((1, DIM + 1))), 'shape'),
    (dict(vectors=np.zeros((1, DIM))), 'zero'),
    (dict(identities=['']), 'identity must be text'),
    (dict(hashes=['12']), 'hashes are SHA-256'),
    (dict(files=['a', 'b']), '1 embeddings need as many files, got 2'),
    (dict(boxes=[(5, 5, 1, 1)]), 'x0 < x1'),
    (dict(metadata=[{'a': float('nan')}]), 'what JSON can hold'),
]


@pytest.mark.parametrize(('wrong', 'message'), WRONG, ids=[message for _, message in WRONG])
def test_wrong_input_is_refused_and_nothing_is_added(gallery, wrong, message):
    right = dict(vectors=VECTORS[:1], identities=NAMES[:1], files=FILES[:1], hashes=HASHES[:1])
    with pytest.raises(InputError, match=message):
        gallery.add(**{**right, **wrong})
    assert len(gallery) == 0


def test_wrong_questions_are_refused(gallery):
    for question in (dict(k=0), dict(threshold=2), dict(metadata='a=1'), dict(identity='')):
        with pytest.raises(InputError):
            gallery.search(VECTORS[:1], **question)
    with pytest.raises(InputError, match='by must be'):
        gallery.search_identities(VECTORS[:1], by='median')
    with pytest.raises(InputError, match='ids must be whole numbers'):
        gallery.remove(['1'])


def test_a_gallery_for_reading_only_is_not_written_to(kind):
    with kind.made(DIM, 'model-1') as gallery:
        place = filled(gallery).place
    with kind.open(place, read_only=True) as gallery:
        assert len(gallery.search(VECTORS[:1], k=3)[0]) == 3
        for write in (
            lambda: gallery.add(VECTORS[:1], NAMES[:1], FILES[:1], ['f' * 64]),
            lambda: gallery.remove(identity=NAMES[0]),
            lambda: gallery.rename(NAMES[0], 'Ada'),
            lambda: gallery.set_calibration({'threshold': 0.5}),
        ):
            with pytest.raises(InputError, match='for reading only'):
                write()
        assert len(gallery) == 90


def test_another_client_sees_what_was_written_at_once(kind):
    with kind.made(DIM, 'model-1') as one, kind.open(one.place) as other:
        for step in range(3):
            part = slice(30 * step, 30 * step + 30)
            one.add(VECTORS[part], NAMES[part], FILES[part], HASHES[part])
            assert len(other) == 30 * step + 30
            [[first]] = other.search(VECTORS[part][-1:], k=1)
            assert first.file == FILES[part][-1]
        one.set_calibration({'threshold': 1.0})
        assert len(other.search(VECTORS[:1] + 0.5, k=1)[0]) == 0


def test_several_threads_search_one_gallery(gallery):
    filled(gallery)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda i: gallery.search(VECTORS[i : i + 1], k=1)[0][0].file, range(20)))
    assert found == FILES[:20]


def test_stats_and_checks(gallery):
    filled(gallery)
    stats = gallery.stats()
    assert (stats['entries'], stats['identities'], stats['dim'], stats['model']) == (90, 30, DIM, 'model-1')
    assert (gallery.integrity_problems(), gallery.index_problems(), gallery.indexed()) == ([], [], 90)


def test_a_copy_that_is_repeated_brings_the_threshold_of_now(gallery, tmp_path):
    tied = (DIM, 'model-1', {'size': 112, 'face': 'middle square'})
    with Gallery.create(tmp_path / 'source', *tied) as source:
        source.add(VECTORS[:3], NAMES[:3], FILES[:3], HASHES[:3])
        for threshold in (0.5, 0.25):
            source.set_calibration({'threshold': threshold})
            assert copy(source, gallery)[0] == 3
            assert gallery.calibration == {'threshold': threshold}


def test_a_copy_does_not_keep_what_is_no_longer_said_of_faces(tmp_path):
    source, target = (Gallery.create(tmp_path / name, DIM, 'm') for name in ('source', 'copy'))
    with source, target:
        group = 'group-0123456789'
        ids = source.add(VECTORS[:4], [unnamed(one, None) for one in HASHES[:4]], FILES[:4], HASHES[:4]).ids
        source.regroup(dict.fromkeys(ids, group))
        new = source.split(ids[2:])
        assert copy(source, target) == (4, 4)
        assert set(target.corrections()) == set(source.corrections()) != set()
        source.merge_identities([new], group)
        target.remove(target.ids())
        with pytest.raises(InputError, match='corrections of faces are not in'):
            copy(source, target)
        assert len(target) == 0


# What one kind gives, and the other does not.


def test_a_change_is_whole_in_a_folder_and_in_requests_of_500_on_milvus(kind):
    vectors, names, files, hashes = people(700, images=1)
    hashes[650] = 'wrong'
    with kind.made(DIM, 'model-1') as gallery:
        with pytest.raises(InputError, match='hashes are SHA-256') as caught:
            gallery.add(vectors, names, files, hashes)
        assert len(gallery) == {'folder': 0, 'milvus': 500}[kind.name]
        assert ('500 new entries were acknowledged before' in str(caught.value)) == (kind.name == 'milvus')
        hashes[650] = 'f' * 64
        assert gallery.add(vectors, names, files, hashes).new == {'folder': 700, 'milvus': 200}[kind.name]
        assert len(gallery) == 700


def test_an_id_is_never_given_again_in_a_folder_and_is_the_face_s_own_on_milvus(kind, gallery):
    one = (VECTORS[:1], NAMES[:1], FILES[:1], HASHES[:1])
    [first] = gallery.add(*one).ids
    gallery.remove([first])
    [second] = gallery.add(*one).ids
    assert (first == second) == (kind.name == 'milvus')


def test_what_is_said_of_faces_is_kept_in_a_folder_and_refused_on_milvus(kind, gallery):
    said = [Correction(HASHES[0], None, NAMES[0], False, 0.0)]
    if kind.name == 'milvus':
        with pytest.raises(InputError, match='keeps no corrections'):
            gallery.add_entries([], said)
    else:
        gallery.add_entries([], said)
    assert gallery.corrections() == (said if kind.name == 'folder' else [])


def test_a_snapshot_stays_in_a_folder_and_not_on_milvus(kind):
    with kind.made(DIM, 'model-1') as one, kind.open(one.place) as other:
        one.add(VECTORS[:1], NAMES[:1], FILES[:1], HASHES[:1])
        with other.one_state():
            assert len(other) == 1
            one.add(VECTORS[1:2], NAMES[1:2], FILES[1:2], HASHES[1:2])
            assert len(list(other.entries())) == {'folder': 1, 'milvus': 2}[kind.name]
        assert len(list(other.entries())) == 2


def test_a_text_with_control_characters_is_compared_in_a_folder_and_refused_on_milvus(kind, gallery):
    gallery.add(VECTORS[:2], NAMES[:2], FILES[:2], HASHES[:2], [{'v': 'a\nb'}, {'v': 'c'}])
    assert [e.file for e in gallery.entries(metadata={'v': 'a\nb'})] == FILES[:1]
    after = [Condition('v', '>', 'a\nb')]
    if kind.name == 'milvus':
        with pytest.raises(InputError, match='no text with control characters'):
            list(gallery.entries(metadata=after))
    else:
        assert [e.file for e in gallery.entries(metadata=after)] == FILES[1:2]
