"""Who may ask for what: keys, scopes, hosts, pages of other sites."""

import json
import os
import stat

import numpy as np
import pytest
from server.conftest import files, png

from mbv1_backbone.cli.main import main
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.inference.detector import Detector
from mbv1_backbone.server.keys import KeyFile, add_key, read_keys, remove_key

IMAGE = png(np.full((30, 30, 3), 99, np.uint8))


def bearer(key):
    return {'Authorization': f'Bearer {key}'}


@pytest.fixture
def keyed(start, network, faces, gallery, tmp_path):
    path = tmp_path / 'keys.json'
    made = {scope: add_key(path, scope, scope) for scope in ('read', 'write', 'admin')}
    web = start(detector=Detector(network), embedder=faces, gallery=gallery, keys=KeyFile(path))
    return web, path, made


def test_each_route_asks_for_its_scope(keyed):
    web, _, made = keyed
    routes = {
        'read': ('POST', '/v1/detect', dict(files=files(IMAGE))),
        'write': ('POST', '/v1/faces/enrol', dict(files=files(IMAGE))),
        'admin': ('POST', '/v1/faces/calibrate', dict(json={'fpir': 0.1})),
    }
    order = list(routes)
    for needed, (method, path, sent) in routes.items():
        assert web.request(method, path, **sent).status_code == 401
        assert web.request(method, path, headers=bearer('wrong'), **sent).status_code == 401
        for scope, key in made.items():
            status = web.request(method, path, headers=bearer(key), **sent).status_code
            assert (status != 403) == (order.index(scope) >= order.index(needed)), (needed, scope)
            assert status != 401
    assert web.get('/v1/health').status_code == web.get('/v1/ready').status_code == 200


def test_every_route_but_health_asks_for_a_key(keyed):
    web, _, _ = keyed
    described = web.get('/v1/openapi.json').json()
    asked = 0
    for path, methods in described['paths'].items():
        for method, told in methods.items():
            if path in ('/v1/health', '/v1/ready'):
                continue
            place = path.replace('{id}', '1').replace('{role}', 'detector')
            schema = told.get('requestBody', {}).get('content', {})
            sent = {}
            if 'multipart/form-data' in schema:
                sent = dict(files=files(IMAGE))
            elif 'application/json' in schema:
                values = {
                    'ids': [1],
                    'identity': 'a',
                    'identities': ['a'],
                    'into': 'b',
                    'new': 'b',
                    'fpir': 0.1,
                    'threshold': 0,
                }
                name = schema['application/json']['schema']['$ref'].rpartition('/')[2]
                wanted = described['components']['schemas'][name]['properties']
                sent = dict(json={key: value for key, value in values.items() if key in wanted})
            assert web.request(method, place, **sent).status_code == 401, (method, path)
            asked += 1
    assert asked >= 20


def test_a_key_that_is_removed_is_refused_at_once(keyed):
    web, path, made = keyed
    assert web.get('/v1/models', headers=bearer(made['read'])).status_code == 200
    remove_key(path, 'read')
    assert web.get('/v1/models', headers=bearer(made['read'])).status_code == 401
    later = add_key(path, 'later', 'read')
    assert web.get('/v1/models', headers=bearer(later)).status_code == 200
    path.write_text('{')
    assert web.get('/v1/models', headers=bearer(later)).status_code == 503


def test_the_file_has_no_key_and_is_its_owners(tmp_path, monkeypatch):
    replace = os.replace

    def seen(made, path):
        assert stat.S_IMODE(os.stat(made).st_mode) == 0o600  # before it has its name
        replace(made, path)

    monkeypatch.setattr(os, 'replace', seen)
    path = tmp_path / 'keys.json'
    key = add_key(path, 'phone', 'read')
    assert key not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert KeyFile(path).find(key).name == 'phone'
    assert KeyFile(path).find(key[:-1]) is None
    remove_key(path, 'phone')
    with pytest.raises(InputError, match='no keys'):
        KeyFile(path)


@pytest.mark.parametrize(
    'content',
    [
        '',
        '[]',
        '{"keys": 1}',
        '{"keys": [{}]}',
        json.dumps({'keys': [dict(name='a', scope='all', sha256='0' * 64, made=0)]}),
    ],
)
def test_a_file_that_is_none_of_keys(tmp_path, content):
    path = tmp_path / 'keys.json'
    path.write_text(content)
    with pytest.raises(InputError, match='not a file of mbv1 serve-keys'):
        read_keys(path)


def test_the_verbs_of_keys(tmp_path, capsys):
    path = str(tmp_path / 'keys.json')
    assert main(['serve-keys', 'add', 'phone', '--scope', 'write', '--keys', path]) == 0
    key = capsys.readouterr().out.strip()
    assert KeyFile(path).find(key).scope == 'write'
    assert main(['serve-keys', 'add', 'phone', '--scope', 'read', '--keys', path]) == 2
    assert main(['serve-keys', 'add', 'a b', '--scope', 'read', '--keys', path]) == 2
    assert main(['serve-keys', 'list', '--keys', path]) == 0
    told = capsys.readouterr().out
    assert told.startswith('phone  write')
    assert key not in told
    assert main(['serve-keys', 'remove', 'phone', '--keys', path]) == 0
    assert main(['serve-keys', 'remove', 'phone', '--keys', path]) == 2


@pytest.mark.parametrize(
    'headers',
    [{'Origin': 'https://elsewhere.example'}, {'Origin': 'null'}, {'Sec-Fetch-Site': 'cross-site'}],
)
def test_pages_of_other_sites_change_nothing(web, gallery, drawn, headers):
    answer = web.post('/v1/faces/enrol', files=files(drawn['person_a'][0]), headers=headers)
    assert (answer.status_code, answer.json()['error']['code']) == (403, 'origin')
    assert len(gallery) == 0
    own = {'Origin': 'http://testserver', 'Sec-Fetch-Site': 'same-origin'}
    answer = web.post('/v1/faces/enrol', files=files(drawn['person_a'][0]), headers=own)
    assert answer.status_code == 200
    assert not any(name.startswith('access-control') for name in answer.headers)
    behind = {'Origin': 'https://people.example', 'Sec-Fetch-Site': 'same-origin'}  # a proxy ends TLS
    answer = web.post('/v1/faces/enrol', files=files(drawn['person_a'][0]), headers=behind)
    assert answer.json()['results'][0]['faces'][0]['state'] == 'known'


def test_pages_of_other_sites_show_nothing_and_may_link(web):
    image = {'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'no-cors', 'Sec-Fetch-Dest': 'image'}
    for site in ('cross-site', 'same-site'):  # whether an entry is there could be seen by the image's size
        refused = web.get('/v1/faces/entries/1/thumbnail', headers={**image, 'Sec-Fetch-Site': site})
        assert (refused.status_code, refused.json()['error']['code']) == (403, 'origin')
    assert web.get('/v1/models', headers={**image, 'Sec-Fetch-Site': 'same-origin'}).status_code == 200
    link = {'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'navigate'}
    for headers in (link, {**link, 'Sec-Fetch-Dest': 'document'}):
        answer = web.get('/v1/models', headers=headers)
        assert answer.status_code == 200
    for frame in ('iframe', 'object', 'embed'):
        assert web.get('/v1/models', headers={**link, 'Sec-Fetch-Dest': frame}).status_code == 403
    for path in ('/', '/v1/models', '/v1/faces/entries/1/thumbnail'):  # where a browser says none of that
        headers = web.get(path).headers
        assert headers['x-content-type-options'] == 'nosniff'
        assert headers['cross-origin-resource-policy'] == 'same-origin'
    assert web.post('/v1/faces/cluster', json={}, headers=link).status_code == 403


def test_pages_that_are_allowed_may_ask_and_no_others(start, network):
    web = start(origins=['https://People.example:443', 'http://localhost:3000'], detector=Detector(network))
    cross = {'Sec-Fetch-Site': 'cross-site'}
    mine = {'Origin': 'https://people.example', **cross}
    asked = {'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'authorization'}
    before = web.options('/v1/detect', headers={**mine, **asked})
    assert before.status_code == 200
    assert before.headers['access-control-allow-origin'] == mine['Origin']
    assert 'authorization' in before.headers['access-control-allow-headers'].lower()
    for headers, status in [
        (mine, 200),
        ({'Origin': 'http://localhost:3000', **cross}, 200),
        ({'Origin': 'http://people.example', **cross}, 403),
        ({'Origin': 'https://people.example.org', **cross}, 403),
        ({'Origin': 'https://people.example:8443', **cross}, 403),
        ({'Origin': 'null', **cross}, 403),
        (cross, 403),
    ]:
        answer = web.post('/v1/detect', files=files(IMAGE), headers=headers)
        assert answer.status_code == status, headers
        allowed = headers['Origin'] if status == 200 else None
        assert answer.headers.get('access-control-allow-origin') == allowed
        assert 'access-control-allow-credentials' not in answer.headers
    refused = web.post('/v1/detect', headers=mine)  # a page may read why
    assert (refused.status_code, refused.headers['access-control-allow-origin']) == (415, mine['Origin'])
    stranger = {'Origin': 'https://elsewhere.example', **asked}
    assert 'access-control-allow-origin' not in web.options('/v1/detect', headers=stranger).headers


def test_a_name_that_leads_here_from_elsewhere_is_refused(start, network):
    web = start({'localhost', '127.0.0.1'}, detector=Detector(network))
    assert web.get('/v1/health').status_code == 421
    assert web.get('/v1/health', headers={'Host': 'localhost:8000'}).status_code == 200
    assert web.get('/v1/health', headers={'Host': 'localhost.elsewhere.example'}).status_code == 421
    assert web.get('/v1/health', headers={'Host': '[::bad'}).status_code == 421


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        ([], 'nothing to serve'),
        (['--faces', 'x', '--detector', 'y'], '--faces needs --model'),
        (['--model', 'x', '--create'], 'about --faces'),
        (['--detector', 'x', '--port', '70000'], '0..65535'),
        (['--detector', 'x', '--host', '0.0.0.0'], '--no-keys'),
        (['--detector', 'x', '--tls-cert', 'y'], 'go together'),
        (['--detector', 'x', '--tls-cert', '/no/c', '--tls-key', '/no/k'], '--tls-cert /no/c: No such file'),
        (['--model', 'x', '--faces', 'y', '--backups', '/no/copies'], '--backups /no/copies: no such folder'),
        (['--detector', 'x', '--allow-origin', '*'], "got '*'"),
        (['--detector', 'x', '--allow-origin', 'https://a/b'], "got 'https://a/b'"),
        (['--detector', 'x', '--keys', '/nothing/here', '--port', '0'], '/nothing/here: No such file'),
        (['--detector', 'x', '--host', '192.0.2.1', '--no-keys'], '--host 192.0.2.1'),
    ],
)
def test_what_serve_refuses_before_it_loads_a_network(words, said, capsys):
    assert main(['serve', *words]) == 2
    assert said in capsys.readouterr().err
