"""Requests of every kind of wrongness get 4xx in the one form, and never 5xx."""

import json
import random

import numpy as np
from server.conftest import files, png

ODD = [
    '',
    '\x00',
    '\ud800',
    '../../etc/passwd',
    'a' * 5000,
    '-1',
    '1e999',
    'NaN',
    '9' * 40,
    "'; DROP TABLE entries;--",
    'ü\n\r\t',
]
VALUES = [*ODD, None, True, -1, 0, 2**63, 2**70, 1e308, float('nan'), [], {}, [[]], {'a': [1]}]


def odd_form(rng, drawn):
    """The bytes of a form, whole or damaged, and its content type."""
    parts = []
    for _ in range(rng.randint(0, 4)):
        name = rng.choice(['images', 'identity', 'metadata', 'folder', *ODD]).encode('utf-8', 'replace')
        file = rng.choice([b'', b'; filename="a.png"', b'; filename="../../x"', b"; filename*=utf-8''%ff"])
        whole = rng.choice(drawn)
        content = rng.choice(
            [b'', b'{"a": "\\ud800"}', b'[1', whole, whole[: len(whole) // 2], b'GIF89a', rng.randbytes(60)]
        )
        parts.append(
            b'--b\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n' % (name, file, content)
        )
    body = b''.join(parts) + b'--b--\r\n'
    if rng.random() < 0.3:
        body = body[: rng.randint(0, len(body))]
    charset = rng.choice(
        ['', '', '; charset=utf-7', '; charset=base64', '; charset=nothing', '; charset=utf-16']
    )
    return body, f'multipart/form-data; boundary={rng.choice(["b", "b", "b", "c", ""])}{charset}'


def test_no_request_is_a_defect(web, drawn, gallery):
    rng = random.Random(0)
    sent = [image for images in drawn.values() for image in images] + [png(np.zeros((1, 1, 3), np.uint8))]
    for name, images in drawn.items():
        web.post('/v1/faces/enrol', files=files(images[0]), data={'identity': name})
    described = web.get('/v1/openapi.json').json()
    routes = [
        (path, method, told)
        for path, methods in described['paths'].items()
        for method, told in methods.items()
    ]
    seen = set()
    for _ in range(400):
        path, method, told = rng.choice(routes)
        if path.endswith(('/picture', '/metrics')):
            continue
        place = path.replace('{id}', rng.choice(['1', '0', '-1', 'x', '9' * 30, '%00'])).replace(
            '{role}', rng.choice(['x', 'detector'])
        )
        names = [one['name'] for one in told.get('parameters', []) if one['in'] == 'query']
        query = {
            name: rng.choice([*ODD[:2], *ODD[3:], '1', '0.5', 'all']) for name in names if rng.random() < 0.4
        }
        kinds = told.get('requestBody', {}).get('content', {})
        headers, body = {}, b''
        if 'multipart/form-data' in kinds:
            body, headers['Content-Type'] = odd_form(rng, sent)
        elif 'application/json' in kinds:
            schema = described['components']['schemas'][
                kinds['application/json']['schema']['$ref'].rpartition('/')[2]
            ]
            value = {
                key: rng.choice([*VALUES, [1], ['person_a'], 'person_b'])
                for key in [*schema['properties'], rng.choice(ODD)]
                if rng.random() < 0.8
            }
            body = json.dumps(rng.choice([value, value, value, VALUES[3:5], 'x'])).encode()
            body = rng.choice([body, body, body, body[:-1], b'\xff' + body, b'[' * 3000])
            headers['Content-Type'] = rng.choice(['application/json'] * 4 + ['text/plain', ''])
        answer = web.request(method, place, params=query, content=body, headers=headers)
        assert answer.status_code < 500, (method, place, query, body[:300], headers, answer.text)
        if answer.status_code >= 400:
            message = answer.json()['error']['message']
            assert message
            assert '\n' not in message
            assert gallery.place not in message
        seen.add((path, answer.status_code // 100))
    assert len({path for path, _ in seen}) > 15
    assert {path for path, kind in seen if kind == 2} >= {'/v1/faces/people', '/v1/models'}
    assert not gallery.integrity_problems()
