"""Requests of every kind of wrongness get 4xx in the one form, and never 5xx."""

import itertools
import json
import os
import random
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import hypothesis.configuration
import numpy as np
import pytest
import uvicorn
from server.conftest import files
from server.fuzzing import Answer, check, described_requests, fuzz, not_http, own_requests, png_of
from server.test_serve import serving, square, weights  # noqa: F401  (a fixture)

from mbv1_backbone.inference.detector import Detector
from mbv1_backbone.retrieval import Gallery
from mbv1_backbone.server.app import create_app
from mbv1_backbone.server.client import Client
from mbv1_backbone.server.keys import add_key
from mbv1_backbone.server.service import Service

MANY = int(os.environ.get('MBV1_FUZZ', '0'))  # make fuzz
DETECTOR = 'ssd_mbv1_0.75_tf_bccd'


@pytest.fixture(autouse=True)
def _nothing_beside_the_code(tmp_path):
    hypothesis.configuration.set_hypothesis_home_dir(tmp_path / 'hypothesis')


def asked_of(web):
    """What sends a request to the application in this process."""

    def ask(request):
        headers = [
            (name.encode('latin-1'), value.encode('latin-1')) for name, value in request.headers.items()
        ]
        answer = web.request(request.method, request.target, headers=headers, content=request.body)
        return Answer(answer.status_code, dict(answer.headers), answer.content)

    return ask


def test_no_request_is_a_defect(web, drawn, gallery):
    for name, images in drawn.items():
        web.post('/v1/faces/enrol', files=files(images[0]), data={'identity': name})
    sent = [image for images in drawn.values() for image in images]
    seen = fuzz(asked_of(web), web.get('/v1/openapi.json').json(), sent, 150, 0, [gallery.place])
    assert len({route for route, _ in seen}) > 20
    assert {route for route, kind in seen if kind == 2} >= {'/v1/detect', '/v1/faces/people'}
    assert {route for route, kind in seen if kind == 4} >= {
        '/v1/detect',
        '/v1/faces/enrol',
        '/v1/faces/merge',
    }
    assert not gallery.integrity_problems()


@contextmanager
def listening(app):
    """The application behind uvicorn, in a thread; its address."""
    config = uvicorn.Config(
        app, port=0, log_config=None, log_level='error', access_log=False, ws='none', lifespan='on'
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()
    finally:
        server.should_exit = True
        thread.join()


def statuses(address, sent):
    """The statuses that come back for bytes of a connection."""
    with closing(socket.create_connection(address, timeout=30)) as connection:
        answer = b''
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            while got := connection.recv(65536):
                answer += got
        except OSError as error:  # closed before all of it was sent
            if isinstance(error, TimeoutError):
                raise
    return [int(status) for status in re.findall(rb'HTTP/1\.[01] (\d{3})', answer)]


def test_what_is_not_http_is_refused_and_writes_no_log(network, caplog):
    rng = random.Random(0)
    broken = b'POST /v1/x HTTP/1.1\r\nHost: elsewhere\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n'
    whole = b'GET /v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n'
    with listening(create_app(Service(detector=Detector(network)), {'127.0.0.1'})) as address:
        for sent in [broken, *(not_http(rng) for _ in range(60))]:
            assert all(status < 500 for status in statuses(address, sent)), sent[:200]
        assert statuses(address, broken) == [400]
        assert statuses(address, whole) == [200]
    assert not caplog.records


class Process:
    """Asks a service's process, over connections of its own.

    Attributes:
        slowest: Seconds that the slowest answer took.
    """

    def __init__(self, url, key):
        self.address = urlsplit(url).hostname, urlsplit(url).port
        self.key = key
        self.asked = 0
        self.slowest = 0.0
        self._connection = HTTPConnection(*self.address, timeout=30)

    def __call__(self, request):
        self.asked += 1
        headers = dict(request.headers)
        if self.asked % 10:  # the others with what was drawn
            headers = {name: value for name, value in headers.items() if name.lower() != 'authorization'}
            headers['Authorization'] = f'Bearer {self.key}'
        headers = {name: value for name, value in headers.items() if name.lower() != 'content-length'}
        begun = time.monotonic()
        try:
            self._connection.request(request.method, request.target, request.body or None, headers)
            answer = self._connection.getresponse()
            body = answer.read()
        except (BrokenPipeError, ConnectionResetError):  # refused before all of it was sent
            self._connection.close()
            return Answer(400, {}, b'{"error": {"message": "closed"}}')
        self.slowest = max(self.slowest, time.monotonic() - begun)
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, found, body)

    def close(self):
        self._connection.close()


def memory(process):
    """Memory of a process in MiB, without the pages of files, which the system can take back."""
    status = Path(f'/proc/{process.pid}/status').read_text()
    return int(re.search(r'RssAnon:\s+(\d+)', status)[1]) / 1024


@pytest.mark.skipif(not MANY, reason='make fuzz sends 10,000 requests, which takes minutes')
def test_a_process_outlives_many_requests(weights, tmp_path, drawn):  # noqa: F811
    folder = tmp_path / 'server'
    (folder / 'cwd').mkdir(parents=True)
    (tmp_path / 'backups').mkdir()
    keys = tmp_path / 'keys.json'
    key = add_key(keys, 'fuzz', 'admin')
    words = ('--detector', DETECTOR, '--model', weights, '--face-detector', 'none', '--create')
    words += ('--faces', folder / 'g', '--backups', tmp_path / 'backups', '--keys', keys)
    large = png_of(np.zeros((4990, 5000, 3), np.uint8))
    images = [image for images in drawn.values() for image in images]
    images = [*images, *(square((9, 9, 9), number) for number in range(12)), large]
    with serving(*words, cwd=folder / 'cwd') as (process, url):
        client = Client(url, key)
        openapi = json.loads(client._send('GET', '/v1/openapi.json'))
        for name, mine in drawn.items():
            client.enrol(mine, name)
        secrets = [key, str(tmp_path)]
        first, second = Process(url, key), Process(url, key)
        used, connections = [], itertools.count()

        def own(seed, count):
            for request in own_requests(random.Random(seed), openapi, images, count):
                check(request, first(request), secrets)

        def bytes_of_connections(count):
            rng = random.Random(3)
            for _ in range(count):
                sent = not_http(rng)
                next(connections)
                assert all(status < 500 for status in statuses(first.address, sent)), sent[:200]

        for part in range(5):
            with ThreadPoolExecutor(2) as pool:
                asked = [
                    pool.submit(own, part, MANY // 10),
                    pool.submit(bytes_of_connections, MANY * 2 // 100),
                ]
                described_requests(
                    openapi, MANY // 10, 100 * part, lambda one: check(one, second(one), secrets)
                )
                for one in asked:
                    one.result()
            used.append(memory(process))
        assert client.ready()
        for one in (first, second):
            one.close()
        total = first.asked + second.asked + next(connections)
        slowest = max(first.slowest, second.slowest)
        print(f'\n{total} requests, the slowest {slowest:.2f} s, MiB {[round(one) for one in used]}')
        assert used[-1] - used[0] < 100
        process.terminate()
        out, errors = process.communicate(timeout=60)
        assert key not in out + errors
        assert len((out + errors).splitlines()) < 5, errors[-3000:]  # nobody can fill the log
    assert not list((folder / 'cwd').iterdir())
    assert {path.name for path in folder.iterdir()} == {'cwd', 'g'}
    assert not list(tmp_path.rglob('*canary*'))
    with Gallery(folder / 'g') as gallery:
        assert not gallery.integrity_problems()
