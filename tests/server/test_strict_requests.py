"""What a request misspells or names badly is refused; who is in the gallery can be reached by any name."""

import numpy as np
import pytest
from server.conftest import files

CONTROL = 'a name may not have line breaks or control characters, nor turn the direction of text'


@pytest.mark.parametrize('name', ['x' * 1000, 'a\nb', 'x\u202eevil'])
def test_who_was_named_by_others_can_be_erased_and_renamed(web, gallery, name):
    vectors = np.random.default_rng(3).normal(size=(2, gallery.dim))
    gallery.add(vectors, [name, f'{name} 2'], ['a', 'b'], ['1' * 64, '2' * 64])
    [entry] = web.get('/v1/faces/entries', params={'identity': name}).json()['entries']
    assert entry['identity'] == name
    assert web.post('/v1/faces/rename', json={'identity': name, 'new': 'Ada'}).json() == {'entries': 1}
    assert web.post('/v1/faces/remove', json={'identity': f'{name} 2'}).json() == {'entries': 1}
    assert gallery.identities() == {'Ada': 1}


@pytest.mark.parametrize(
    ('name', 'said'),
    [
        ('x' * 201, 'String should have at most 200 characters'),
        ('a\nb', CONTROL),
        ('a\x1b[31m', CONTROL),
        ('x\u202eevil', CONTROL),
        ('a\u2028b', CONTROL),
    ],
)
def test_a_new_name_is_of_one_line(web, gallery, drawn, name, said):
    form = files(drawn['person_a'][0])
    answer = web.post('/v1/faces/enrol', files=form, data={'identity': name})
    assert answer.status_code == 422
    assert answer.json()['error']['message'] == f'identity: {said}'
    assert not gallery.identities()
    assert web.post('/v1/faces/enrol', files=form, data={'identity': 'Ada'}).json()['added'] == 1
    for verb, body, field in (
        ('rename', {'identity': 'Ada', 'new': name}, 'new'),
        ('merge', {'identities': ['Ada'], 'into': name}, 'into'),
        ('split', {'ids': [1], 'identity': name}, 'identity'),
        ('not-this', {'ids': [1], 'identity': name}, 'identity'),
    ):
        refused = web.post(f'/v1/faces/{verb}', json=body)
        assert (refused.status_code, refused.json()['error']['message']) == (422, f'{field}: {said}')
    assert gallery.identities() == {'Ada': 1}


@pytest.mark.parametrize('name', ['שלום', '👩\u200d👧', 'می\u200cروم', '<b>&', '../../x', 'x' * 200])
def test_names_of_any_script_are_kept(web, gallery, drawn, name):
    answer = web.post('/v1/faces/enrol', files=files(drawn['person_a'][0]), data={'identity': name})
    assert answer.json()['results'][0]['faces'][0]['identity'] == name
    assert gallery.identities() == {name: 1}


@pytest.mark.parametrize('value', ['NaN', 'Infinity'])
def test_metadata_are_json_and_refused_without_the_picture(start, faces, gallery, drawn, value):
    web = start(embedder=faces, gallery=gallery, keep_thumbnails=True)
    form = {'identity': 'Ada', 'metadata': f'{{"year": {value}}}'}
    answer = web.post('/v1/faces/enrol', files=files(drawn['person_a'][0]), data=form)
    assert answer.status_code == 422
    assert answer.json()['error']['message'] == 'metadata: must be an object of JSON'
    assert not len(gallery)


@pytest.mark.parametrize(
    ('path', 'known'),
    [
        ('/v1/faces/search?identities=Ada', 'policy, k, by, threshold, all, identity'),
        ('/v1/detect?scores=0.9', 'score'),
        ('/v1/faces/people?kinds=named', 'limit, after, kind'),
        ('/v1/models?all=1', 'none'),
    ],
)
def test_a_parameter_that_is_misspelt_is_refused(web, drawn, path, known):
    image = files(drawn['person_a'][0])
    answer = web.post(path, files=image) if 'search' in path or 'detect' in path else web.get(path)
    wrong = path.partition('?')[2].partition('=')[0]
    assert answer.status_code == 422
    assert answer.json()['error']['message'] == f"'{wrong}': no such parameter, there are: {known}"
