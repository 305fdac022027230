"""Requests that are wrong in every way, drawn from a service's own OpenAPI, and what each answer must be.

Half of them schemathesis makes: values that fit the description, and such as do not. The others are what it
does not think of: damaged forms, images that are bombs, names that are paths, and bytes that are not HTTP.
"""

from __future__ import annotations

import io
import json
import random
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

import numpy as np
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity, given, seed as seeded, settings
from hypothesis.errors import Unsatisfiable
from PIL import Image
from schemathesis.generation import GenerationMode

ODD = [
    '',
    '\x00',
    '\ud800',
    '../../etc/passwd',
    '/etc/passwd',
    'a' * 5000,
    '-1',
    '1e999',
    'NaN',
    '9' * 40,
    '9' * 5000,  # more digits than Python reads
    "'; DROP TABLE entries;--",
    'unnamed-0123456789abcdef',
    'ü\n\r\t',
    '\u202e\u200b',
]
VALUES = [*ODD, None, True, -1, 0, 2**63, 2**70, 1e308, float('nan'), float('inf'), [], {}, [[]], {'a': [1]}]
METADATA = [
    b'{"a": "\\ud800"}',
    b'{"a": NaN}',
    b'{"a": 1e999}',
    b'{"a": ' + b'9' * 5000 + b'}',
    b'{"": {"b": [null]}, "folder": "/etc"}',
    b'{"a": 1, "a": 2}',
    b'[' * 30_000,
    b'[1',
    b'\xff',
]
NAMES = [
    b'a.png',
    b'../../../canary',
    b'/tmp/canary',
    b'..\\..\\canary',
    b'C:\\canary',
    b'file:///tmp/canary',
    b'canary\x00.png',
    b'%2e%2e%2fcanary',
    b'~/canary',
    b'x' * 5000,
    b'\xff\xfe',
    b'',
]
CHARSETS = ['', '', '', '; charset=utf-7', '; charset=base64', '; charset=nothing', '; charset=utf-16']
KINDS = ['application/json'] * 5 + ['text/plain', 'application/x-www-form-urlencoded', '']


@dataclass
class Request:
    """A request as it goes over the wire.

    Attributes:
        route: The path as OpenAPI has it.
        method: Of HTTP.
        target: Path and query.
        headers: Text of Latin-1.
        body: Bytes.
    """

    route: str
    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b''


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]  # names in small letters
    body: bytes


Ask = Callable[[Request], Answer]


def fuzz(
    ask: Ask, openapi: dict, images: Sequence[bytes], count: int, seed: int, secrets: Sequence[str]
) -> Counter:
    """Send requests, and check each answer.

    Args:
        ask: Sends one.
        openapi: The service's description.
        images: Photographs that the service can use.
        count: Requests of either kind, about.
        seed: Of what is drawn.
        secrets: What no answer may hold: paths of the server, keys.

    Returns:
        How many answers there were, by route and kind of status.
    """
    seen: Counter = Counter()

    def send(request: Request) -> None:
        answer = ask(request)
        check(request, answer, secrets)
        seen[request.route, answer.status // 100] += 1

    for request in own_requests(random.Random(seed), openapi, images, count):
        send(request)
    described_requests(openapi, count, seed, send)
    return seen


def check(request: Request, answer: Answer, secrets: Sequence[str]) -> None:
    """No defect; where it is refused, one line in the one form, which says nothing of the server."""
    about = (request.method, request.target[:300], request.headers, request.body[:300], answer)
    busy = answer.status == 503 and 'retry-after' in answer.headers
    assert busy or answer.status < 500, about
    text = answer.body.decode('utf-8', 'replace')
    assert not any(secret in text for secret in secrets), about
    if answer.status >= 400 and request.method != 'HEAD':
        error = json.loads(text)['error']
        assert error['message'], about
        assert '\n' not in error['message'], about
        assert len(error['message']) < 2000, about


def described_requests(openapi: dict, count: int, seed: int, send: Callable[[Request], None]) -> None:
    """What schemathesis makes of a description, evenly of all operations, right and wrong ones."""
    schema = schemathesis.openapi.from_dict(json.loads(json.dumps(openapi)))
    operations = [found.ok() for found in schema.get_all_operations()]
    kinds = [(one, mode) for one in operations for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)]
    for number, (operation, mode) in enumerate(kinds):

        @seeded(seed + number)
        @settings(
            max_examples=max(1, count // len(kinds)),
            database=None,
            deadline=None,
            derandomize=False,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
        )
        @given(operation.as_strategy(mode))
        def run(case) -> None:
            made = requests.Request(**case.as_transport_kwargs(base_url='http://service')).prepare()
            parts = urlsplit(made.url)
            body = made.body or b''
            send(
                Request(
                    case.operation.path,
                    made.method,
                    parts.path + (f'?{parts.query}' if parts.query else ''),
                    {name: text(value) for name, value in made.headers.items() if name != 'Connection'},
                    body.encode() if isinstance(body, str) else body,
                )
            )

        try:
            run()
        except Unsatisfiable:  # an operation of which no request can be wrong
            continue


def text(value: str | bytes) -> str:
    return value.decode('latin-1') if isinstance(value, bytes) else value


def own_requests(rng: random.Random, openapi: dict, images: Sequence[bytes], count: int) -> Iterator[Request]:
    """What schemathesis does not think of."""
    routes = [
        (path, method, told) for path, methods in openapi['paths'].items() for method, told in methods.items()
    ]
    forms = [one for one in routes if 'multipart/form-data' in kinds_of(one[2])]
    sent = [*images, *hostile_images()]
    for _ in range(count):
        path, method, told = rng.choice(forms if rng.random() < 0.5 else routes)
        if path.endswith('/backup') and rng.random() < 0.9:
            continue  # a copy of all each time
        place = path.replace('{id}', rng.choice(['1', '0', '-1', 'x', '9' * 30, '%00', '..%2f..%2fcanary']))
        place = place.replace('{role}', rng.choice(['x', 'detector', '..%2f..%2fetc', '%2fetc%2fpasswd']))
        query = {
            one['name']: rng.choice([*(odd for odd in ODD if odd != '\ud800'), '1', '0.5', 'all'])
            for one in told.get('parameters', [])
            if one['in'] == 'query' and rng.random() < 0.3
        }
        headers, body = {}, b''
        kinds = kinds_of(told)
        if 'multipart/form-data' in kinds:
            body, headers['Content-Type'] = odd_form(rng, sent)
        elif 'application/json' in kinds:
            body, headers['Content-Type'] = odd_json(rng, openapi, kinds['application/json']['schema'])
        if rng.random() < 0.03:
            headers['Content-Encoding'] = 'gzip'
        target = place + (f'?{urlencode(query)}' if query else '')
        yield Request(path, method.upper() if rng.random() < 0.97 else 'PUT', target, headers, body)


def kinds_of(told: dict) -> dict:
    return told.get('requestBody', {}).get('content', {})


def odd_json(rng: random.Random, openapi: dict, schema: dict) -> tuple[bytes, str]:
    """A body of JSON, whole or damaged, and its content type."""
    known = openapi['components']['schemas'][schema['$ref'].rpartition('/')[2]]['properties']
    value = {
        key: rng.choice([*VALUES, [1], [1, 2], ['person_a'], ['person_a', 'person_b'], 'person_b'])
        for key in [*known, rng.choice(ODD)]
        if rng.random() < 0.8
    }
    body = json.dumps(rng.choice([value, value, value, [1], 'x'])).encode()
    digits = b'{"ids": [' + b'9' * 5000 + b'], "fpir": ' + b'9' * 5000 + b'}'
    body = rng.choice([body, body, body, body[:-1], b'\xff' + body, b'[' * 3000, digits])
    return body, rng.choice(KINDS)


def odd_form(rng: random.Random, images: Sequence[bytes]) -> tuple[bytes, str]:
    """The bytes of a form, whole or damaged, and its content type."""
    if rng.random() < 0.2:
        image = rng.choice(images)
        head = b'--b\r\nContent-Disposition: form-data; name="images"; filename="%b"\r\n\r\n'
        return head % rng.choice(NAMES[:6]) + image + b'\r\n--b--\r\n', 'multipart/form-data; boundary=b'
    parts = []
    for _ in range(rng.choice([0, 1, 1, 1, 2, 4, 40])):
        name = rng.choice(['images'] * 6 + ['identity', 'metadata', 'folder', *ODD]).encode(
            'utf-8', 'replace'
        )
        file = rng.choice(
            [
                b'',
                *([b'; filename="%b"' % rng.choice(NAMES)] * 8),
                b"; filename*=utf-8''%ff",
                b'; filename="a',
            ]
        )
        whole = rng.choice(images)
        cut = whole[: rng.randint(0, len(whole))]
        content = rng.choice([whole, whole, cut, flipped(rng, whole), b'', rng.randbytes(60), *METADATA])
        more = rng.choice(
            [b'', b'', b'Content-Type: image/png\r\n', b'Content-Transfer-Encoding: base64\r\n']
        )
        parts.append(
            b'--b\r\nContent-Disposition: form-data; name="%b"%b\r\n%b\r\n%b\r\n'
            % (name, file, more, content)
        )
    body = b''.join(parts) + b'--b--\r\n'
    if rng.random() < 0.2:
        body = body[: rng.randint(0, len(body))]
    if rng.random() < 0.1:
        body = flipped(rng, body)
    boundary = rng.choice(['b'] * 8 + ['c', '', '"b"', 'b' * 500, 'b; boundary=c'])
    return body, f'multipart/form-data; boundary={boundary}{rng.choice(CHARSETS)}'


def flipped(rng: random.Random, content: bytes) -> bytes:
    """The same with a few other bytes."""
    changed = bytearray(content)
    for _ in range(min(len(changed), rng.randint(1, 8))):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def hostile_images() -> list[bytes]:
    """Files that are small and say that they are large, or are in a format's darker corners."""
    made = [
        png_header(side, *rest)
        for side, rest in [(5000, ()), (60_000, ()), (2**31 - 1, ()), (0, ()), (40, (3, 16)), (4000, (0, 1))]
    ]
    for kind, options in [('PNG', {}), ('GIF', {}), ('TIFF', {}), ('WEBP', {}), ('BMP', {}), ('JPEG', {})]:
        for mode in ('L', 'P', 'RGB', 'RGBA', '1', 'I;16', 'CMYK'):
            file = io.BytesIO()
            try:
                Image.new(mode, (64, 48)).save(file, kind, **options)
            except (OSError, ValueError, KeyError):
                continue
            made.append(file.getvalue())
    frames = [Image.fromarray(np.full((40, 40), value, np.uint8)) for value in range(60)]
    for kind in ('GIF', 'TIFF', 'WEBP'):
        file = io.BytesIO()
        frames[0].save(file, kind, save_all=True, append_images=frames[1:])
        made.append(file.getvalue())
    text_bomb = chunk(b'zTXt', b'a\0\0' + zlib.compress(b'\0' * 20_000_000))
    plain = png_of(np.zeros((20, 20, 3), np.uint8))
    made.append(plain[:33] + text_bomb + plain[33:])
    made.append(b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>')
    made.append(b'%!PS\n(/etc/passwd) run')
    return made


def png_of(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format='PNG')
    return file.getvalue()


def png_header(side: int, colour: int = 2, depth: int = 8) -> bytes:
    """A PNG of a few hundred bytes that says it is a square of so many pixels."""
    header = struct.pack('>IIBBBBB', side, side, depth, colour, 0, 0, 0)
    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', header)
        + chunk(b'IDAT', zlib.compress(b'\0' * 10))
        + chunk(b'IEND', b'')
    )


def chunk(kind: bytes, data: bytes) -> bytes:
    """Of a PNG file."""
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


def not_http(rng: random.Random) -> bytes:
    """Bytes of a connection that are no request, or several that contradict each other."""
    head = b'POST /v1/faces/rename HTTP/1.1\r\nHost: 127.0.0.1\r\n'
    get = b'GET /v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\n'
    chosen = rng.choice(
        [
            b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + rng.randbytes(200),
            b'GET /v1/health\r\n\r\n',
            b'GET /v1/health HTTP/9.9\r\n\r\n',
            b'GET ' + b'/a' * 40_000 + b' HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n',
            b'GET /v1/\x00health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n',
            b'GET http://elsewhere.example/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n',
            b'CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n',
            b'OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n',
            get + b'X: ' + b'a' * 200_000 + b'\r\n\r\n',
            get + b'X: a\r\n' * 5000 + b'\r\n',
            get + b'Host: elsewhere.example\r\n\r\n',
            b'GET /v1/health HTTP/1.1\r\n\r\n',
            get + b' folded: a\r\n\r\n',
            get + b'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: YQ==\r\n\r\n',
            get + b'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n',
            head + b'Content-Length: -1\r\n\r\n',
            head + b'Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef',
            head + b'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
            head + b'Content-Length: ' + b'9' * 30 + b'\r\n\r\n',
            head + b'Content-Length: 40\r\n\r\n{"identity"',
            head + b'Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n',
            head + b'Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFFFF\r\n',
            head + b'Transfer-Encoding: chunked\r\n\r\nzz\r\n',
            head + b'Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
            (get + b'\r\n') * 50,
            rng.randbytes(500),
        ]
    )
    return flipped(rng, chosen) if rng.random() < 0.3 else chosen
