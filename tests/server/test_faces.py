"""The gallery over HTTP: each answer is that of the library's own functions."""

import json
from contextlib import nullcontext

import numpy as np
import pytest
from server.conftest import files, png

from mbv1_backbone.common.images import read_image
from mbv1_backbone.face_gallery.answers import matches_of
from mbv1_backbone.retrieval import Gallery, calibration
from mbv1_backbone.retrieval.calibration import compare
from mbv1_backbone.server import service
from mbv1_backbone.server.service import Service


@pytest.fixture
def filled(web, drawn):
    """The service with two photographs of each person enrolled, over HTTP."""
    for name, images in drawn.items():
        answer = web.post('/v1/faces/enrol', files=files(*images[:2]), data={'identity': name})
        assert answer.status_code == 200
        assert answer.json()['added'] == 2
    return web


def test_what_is_enrolled_is_found(filled, faces, gallery, drawn):
    probes = [images[2] for images in drawn.values()]
    answer = filled.post('/v1/faces/search?k=3', files=files(*probes)).json()
    vectors = faces.embed([read_image(one) for one in probes]).vectors
    wanted, nearest = matches_of(gallery, vectors, 3)
    for result, matches, first, name in zip(answer['results'], wanted, nearest, drawn, strict=True):
        [face] = result['faces']
        assert [match['id'] for match in face['matches']] == [match.id for match in matches]
        assert face['matches'][0]['identity'] == face['nearest']['identity'] == name
        assert face['nearest']['score'] == pytest.approx(first.score, abs=1e-5)
    assert answer['threshold'] is None


def test_nobody_reaches_a_high_threshold(filled, drawn):
    probe = files(drawn['person_a'][2])
    answer = filled.post('/v1/faces/search?threshold=0.999999', files=probe).json()
    assert answer['threshold'] == 0.999999
    [face] = answer['results'][0]['faces']
    assert face['matches'] == []
    assert face['nearest']['identity'] == 'person_a'
    only = filled.post('/v1/faces/search?by=best&identity=person_b&identity=person_c', files=probe).json()
    matches = only['results'][0]['faces'][0]['matches']
    assert {match['identity'] for match in matches} == {'person_b', 'person_c'}
    assert filled.post('/v1/faces/search?all=true&threshold=0', files=probe).status_code == 422


def test_a_face_is_added_once_and_keeps_its_name(filled, gallery, drawn):
    [image] = drawn['person_a'][:1]
    again = filled.post('/v1/faces/enrol', files=files(image), data={'identity': 'person_a'}).json()
    [face] = again['results'][0]['faces']
    assert (again['added'], face['state'], face['reason']) == (0, 'known', None)
    other = filled.post('/v1/faces/enrol', files=files(image), data={'identity': 'Bob'}).json()
    [face] = other['results'][0]['faces']
    assert (face['state'], face['identity'], 'another name' in face['reason']) == ('known', 'person_a', True)
    assert len(gallery) == 8


def test_an_entry_says_nothing_of_the_clients_paths(web, gallery, drawn):
    sent = [('images', ('../../etc/passwd', drawn['person_a'][0]))]
    data = {'identity': ' Ada ', 'metadata': '{"year": 1843}'}
    [result] = web.post('/v1/faces/enrol?min_quality=0', files=sent, data=data).json()['results']
    [entry] = gallery.entries()
    assert (entry.identity, entry.metadata, entry.file) == (
        'Ada',
        {'year': 1843},
        f'sent/{entry.sha256[:16]}',
    )
    told = web.get(f'/v1/faces/entries/{entry.id}').json()
    assert tuple(told['box']) == entry.box
    assert told['metadata'] == {'year': 1843}
    assert result['faces'][0]['id'] == entry.id


@pytest.mark.parametrize('metadata', ['[1]', '{', '{"folder": "/etc"}', '[' * 30_000])
def test_metadata_that_is_none_is_refused(web, gallery, drawn, metadata):
    answer = web.post('/v1/faces/enrol', files=files(drawn['person_a'][0]), data={'metadata': metadata})
    assert answer.status_code == 422
    assert answer.json()['error']['message'].startswith('metadata: ')
    assert len(gallery) == 0


def test_half_characters_in_metadata_do_no_harm(web, gallery, drawn):
    answer = web.post(
        '/v1/faces/enrol', files=files(drawn['person_a'][0]), data={'metadata': '{"a": "\\ud800"}'}
    )
    assert answer.status_code in (200, 422)
    assert web.get('/v1/faces/entries').status_code == 200


def test_the_face_at_a_point_is_enrolled(web, gallery, drawn):
    image = drawn['person_a'][0]  # its face is at 40, 40, and has 64 pixels a side
    missed = web.post('/v1/faces/enrol?x=150&y=100', files=files(image))
    assert (missed.status_code, 'no face found at 150, 100' in missed.text) == (422, True)
    assert len(gallery) == 0
    assert web.post('/v1/faces/enrol?x=60&y=60', files=files(image)).json()['added'] == 1
    assert web.post('/v1/faces/enrol?x=60', files=files(image)).status_code == 422
    assert web.post('/v1/faces/enrol?x=60&y=60', files=files(image, image)).status_code == 422


def test_a_face_of_low_quality_is_left_out_with_the_reason(web, gallery, drawn):
    answer = web.post('/v1/faces/enrol?min_quality=1', files=files(drawn['person_a'][0])).json()
    [face] = answer['results'][0]['faces']
    assert (answer['added'], face['state']) == (0, 'left out')
    assert face['reason'].endswith('1 is asked for')
    assert len(gallery) == 0


def test_people_and_entries_come_in_pages(filled, gallery):
    first = filled.get('/v1/faces/people?limit=3').json()
    last = filled.get('/v1/faces/people', params={'limit': 3, 'after': first['next']}).json()
    assert [p['identity'] for p in first['people'] + last['people']] == list(gallery.identities())
    assert (last['next'], last['people'][0]['images']) == (None, 2)
    numbers, after = [], 0
    while after is not None:
        page = filled.get(f'/v1/faces/entries?limit=3&after={after}').json()
        numbers += [entry['id'] for entry in page['entries']]
        after = page['next']
    assert numbers == gallery.ids().tolist()
    mine = filled.get('/v1/faces/entries?identity=person_b').json()['entries']
    assert {entry['identity'] for entry in mine} == {'person_b'}


def test_names_change(filled, gallery):
    assert filled.post('/v1/faces/rename', json={'identity': 'person_a', 'new': 'Ada'}).json() == {
        'entries': 2
    }
    assert filled.post('/v1/faces/merge', json={'identities': ['person_b'], 'into': 'Ada'}).json() == {
        'entries': 2
    }
    assert gallery.identities() == {'Ada': 4, 'person_c': 2, 'person_d': 2}
    taken = filled.post('/v1/faces/rename', json={'identity': 'Ada', 'new': 'person_c'})
    assert taken.status_code == 422
    assert gallery.place not in taken.text
    assert taken.json()['error']['message'].endswith('already: POST /v1/faces/merge makes the two one')
    entry = next(gallery.entries(identity='person_c'))
    filled.post('/v1/faces/not-this', json={'ids': [entry.id], 'identity': 'person_d'})
    assert gallery.get(entry.id).identity == 'person_d'
    assert filled.delete(f'/v1/faces/entries/{entry.id}').json() == {'entries': 1}
    assert filled.delete(f'/v1/faces/entries/{entry.id}').status_code == 404
    assert filled.post('/v1/faces/remove', json={'identity': 'Ada'}).json() == {'entries': 4}
    assert len(gallery) == 3


def test_some_of_a_persons_entries_are_anothers(filled, gallery):
    first, second = gallery.ids(identity='person_a').tolist()
    both = filled.post('/v1/faces/split', json={'ids': [first, second]})
    assert (both.status_code, 'rename changes it' in both.text) == (422, True)
    named = filled.post('/v1/faces/split', json={'ids': [first], 'identity': 'person_b'}).json()
    assert named == {'identity': 'person_b', 'images': 3, 'kind': 'named'}
    again = filled.post('/v1/faces/split', json={'ids': [first]}).json()
    assert again['images'] == 1
    assert gallery.get(first).identity == again['identity']
    assert gallery.identities()['person_b'] == 2


def test_a_name_is_the_same_however_it_is_typed(web, gallery, drawn):
    composed, typed = 'Zo\u00eb', ' Zoe\u0308 '
    web.post('/v1/faces/enrol', files=files(drawn['person_a'][0]), data={'identity': typed})
    assert web.post('/v1/faces/rename', json={'identity': typed, 'new': 'Ada'}).json() == {'entries': 1}
    assert web.post('/v1/faces/rename', json={'identity': ' Ada', 'new': typed}).json() == {'entries': 1}
    assert gallery.identities() == {composed: 1}
    assert len(web.get('/v1/faces/entries', params={'identity': typed}).json()['entries']) == 1
    found = web.post('/v1/faces/search', params={'identity': typed}, files=files(drawn['person_a'][1])).json()
    assert found['results'][0]['faces'][0]['matches'][0]['identity'] == composed
    assert web.post('/v1/faces/rename', json={'identity': typed, 'new': '  '}).status_code == 422


@pytest.mark.parametrize('verb', ['rename', 'merge', 'remove'])
def test_people_who_are_not_there(filled, verb):
    body = {
        'rename': {'identity': 'X', 'new': 'Y'},
        'merge': {'identities': ['X'], 'into': 'Y'},
        'remove': {'identity': 'X'},
    }
    answer = filled.post(f'/v1/faces/{verb}', json=body[verb])
    assert (answer.status_code, answer.json()['error']['code']) == (404, 'absent')


def test_faces_without_names_are_grouped(web, drawn):
    for images in drawn.values():
        assert web.post('/v1/faces/enrol', files=files(*images)).json()['added'] == 3
    found = web.post('/v1/faces/cluster', json={'threshold': 0.9}).json()
    assert sorted(len(group['ids']) for group in found['groups']) == [3, 3, 3, 3]
    name = found['groups'][0]['identity']
    assert web.post('/v1/faces/rename', json={'identity': name, 'new': 'Ada'}).json() == {'entries': 3}


def test_threshold_figures_and_copies(start, faces, gallery, drawn, tmp_path):
    (tmp_path / 'backups').mkdir()
    web = start(embedder=faces, gallery=gallery, backups=tmp_path / 'backups')
    for name, images in drawn.items():
        web.post('/v1/faces/enrol', files=files(*images), data={'identity': name})
    found = web.post('/v1/faces/calibrate', json={'fpir': 0.2}).json()
    assert found['threshold'] == gallery.calibration['threshold']
    answer = web.post('/v1/faces/search', files=files(drawn['person_a'][0])).json()
    assert answer['threshold'] == found['threshold']
    few = web.post('/v1/faces/calibrate', json={'fpir': 0.001})
    assert (few.status_code, 'needs 1000' in few.text) == (422, True)
    stats = web.get('/v1/faces/stats').json()
    assert (stats['entries'], stats['calibration']['fpir']) == (12, 0.2)
    copy = web.post('/v1/faces/backup')
    assert copy.status_code == 201
    with Gallery(tmp_path / 'backups' / copy.json()['name']) as copied:
        assert list(copied.entries()) == list(gallery.entries())


def test_without_a_gallery_its_routes_refuse(start, faces, drawn):
    web = start(embedder=faces)
    for method, path, sent in [
        ('POST', '/v1/faces/search', dict(files=files(drawn['person_a'][0]))),
        ('POST', '/v1/faces/enrol', dict(files=files(drawn['person_a'][0]))),
        ('GET', '/v1/faces/people', {}),
        ('POST', '/v1/faces/cluster', dict(json={})),
        ('POST', '/v1/faces/backup', {}),
    ]:
        answer = web.request(method, path, **sent)
        assert (answer.status_code, answer.json()['error']['code']) == (409, 'not_configured'), path
    [result] = web.post('/v1/faces/detect', files=files(drawn['person_a'][0])).json()['results']
    assert result['faces'][0]['box'] == [40, 40, 104, 104]


def test_an_empty_gallery_knows_nobody(web, drawn):
    [result] = web.post('/v1/faces/search', files=files(drawn['person_a'][0])).json()['results']
    assert (result['faces'][0]['matches'], result['faces'][0]['nearest']) == ([], None)


def test_a_gallery_of_another_model_is_refused(faces, tmp_path):
    with (
        Gallery.create(tmp_path / 'other', faces.dims, 'another') as other,
        pytest.raises(ValueError, match='model'),
    ):
        Service(embedder=faces, gallery=other)


def test_a_writer_that_holds_the_gallery_is_said(web, gallery, drawn, monkeypatch):
    from mbv1_backbone.common.errors import LockedError

    def locked(*_, **__):
        raise LockedError(f'gallery {gallery.place} is being written')

    monkeypatch.setattr(gallery, 'add', locked)
    answer = web.post('/v1/faces/enrol', files=files(drawn['person_a'][0]))
    assert (answer.status_code, answer.headers['retry-after']) == (503, '1')
    assert gallery.place not in answer.text


def test_bodies_of_json_are_checked(web):
    for body, field in [
        ({}, 'identity'),
        ({'identity': 'a', 'new': ''}, 'new'),
        ({'identity': 'a', 'new': 'b', 'more': 1}, 'more'),
        ([], None),
    ]:
        answer = web.post('/v1/faces/rename', json=body)
        assert answer.status_code == 422
        assert field is None or answer.json()['error']['field'] == field
    plain = {'Content-Type': 'text/plain'}
    body = json.dumps({'identity': 'a', 'new': 'b'})
    assert web.post('/v1/faces/rename', content=body, headers=plain).status_code == 422
    broken = {'Content-Type': 'application/json'}
    assert web.post('/v1/faces/rename', content=b'\xff{', headers=broken).status_code in (400, 422)


def test_an_image_that_is_the_face(start, embedder):
    web = start(embedder=embedder)
    image = png(np.full((64, 64, 3), 90, np.uint8))
    [result] = web.post('/v1/embed', files=files(image)).json()['results']
    assert result['faces'][0]['box'] is None
    wanted = embedder.embed(read_image(image)).vectors[0]
    np.testing.assert_allclose(result['faces'][0]['vector'], wanted, atol=1e-5)


def test_people_by_kind_and_faces_that_are_split_off(web, gallery, drawn):
    for name in ('person_a', 'person_b'):
        web.post('/v1/faces/enrol', files=files(*drawn[name]), data={'identity': name})
    for name in ('person_c', 'person_d'):
        web.post('/v1/faces/enrol', files=files(*drawn[name]))
    [alone] = {p['kind'] for p in web.get('/v1/faces/people?kind=alone').json()['people']}
    web.post('/v1/faces/cluster', json={'threshold': 0.9})
    told = {kind: web.get(f'/v1/faces/people?kind={kind}').json()['people'] for kind in ('named', 'group')}
    assert alone == 'alone'
    assert [person['identity'] for person in told['named']] == ['person_a', 'person_b']
    assert [(group['kind'], group['images']) for group in told['group']] == [('group', 3)] * 2
    group = told['group'][0]['identity']
    ids = gallery.ids(identity=group).tolist()
    other = web.post('/v1/faces/split', json={'ids': ids[:2]}).json()['identity']
    assert gallery.identities()[other] == 2
    assert web.post('/v1/faces/split', json={'ids': ids[2:], 'identity': 'Ada'}).status_code == 422  # all
    named = web.post('/v1/faces/split', json={'ids': ids[:1], 'identity': 'Ada'})
    assert named.json() == {'identity': 'Ada', 'images': 1, 'kind': 'named'}
    assert gallery.get(ids[0]).identity == 'Ada'


def test_the_curve_of_thresholds(web, gallery, drawn):
    few = web.get('/v1/faces/curve')
    assert (few.status_code, 'a curve needs 2' in few.text) == (422, True)
    for name, images in drawn.items():
        web.post('/v1/faces/enrol', files=files(*images), data={'identity': name})
    found = web.get('/v1/faces/curve?points=5').json()
    assert (found['non_mated'], found['probes'], len(found['points'])) == (12, 12, 5)
    assert gallery.calibration is None
    middle = found['points'][2]
    calibrated = web.post('/v1/faces/calibrate', json={'fpir': middle['fpir']}).json()
    assert (calibrated['threshold'], calibrated['dir']) == (middle['threshold'], middle['dir'])


def test_faces_are_compared_for_the_curve_once_a_change(web, gallery, drawn, monkeypatch):
    compared = []
    monkeypatch.setattr(service, 'compare', lambda gallery: compared.append(1) or compare(gallery))
    for name, images in list(drawn.items())[:3]:
        web.post('/v1/faces/enrol', files=files(*images), data={'identity': name})
    first = web.get('/v1/faces/curve?points=5').json()
    assert web.get('/v1/faces/curve?points=5').json() == first
    assert len(web.get('/v1/faces/curve?points=4').json()['points']) == 4
    assert len(compared) == 1
    web.post('/v1/faces/remove', json={'identity': 'person_a'})
    assert web.get('/v1/faces/curve').json()['probes'] == 6
    assert len(compared) == 2


def test_a_gallery_that_counts_no_changes_is_compared_once_a_minute(web, gallery, monkeypatch):
    now, compared = [100.0], []
    scores = calibration.Compared(0, np.array([0.1, 0.2]), np.zeros(2), np.zeros(2))
    monkeypatch.setattr(service.time, 'monotonic', lambda: now[0])
    monkeypatch.setattr(service, 'compare', lambda gallery: compared.append(1) or scores)
    monkeypatch.setattr(Gallery, 'one_state', lambda self: nullcontext(0))
    for seconds, wanted in ((0, 1), (59, 1), (61, 2)):
        now[0] = 100.0 + seconds
        assert len(web.service.curve(2).points) > 0
        assert len(compared) == wanted
