"""``mbv1 serve`` as a process, asked by the Python client: answers, load, SIGTERM and SIGKILL."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlsplit

import numpy as np
import pytest
from server.conftest import COLOURS, png
from support.embedders import build, published
from support.project import ROOT

from mbv1_backbone.cli import serve
from mbv1_backbone.cli.main import build_parser
from mbv1_backbone.common import malloc
from mbv1_backbone.common.errors import InputError, UnavailableError
from mbv1_backbone.common.images import read_image
from mbv1_backbone.inference.loading import load
from mbv1_backbone.retrieval import Gallery
from mbv1_backbone.server.client import Client, ServiceError
from mbv1_backbone.server.keys import add_key
from mbv1_backbone.weights import write_weights


@contextmanager
def serving(*words, cwd=ROOT):
    """A process that serves on a free port, and its URL; it is killed if it is there at the end."""
    program = [
        sys.executable,
        '-m',
        'mbv1_backbone',
        'serve',
        '--port',
        '0',
        '--backend',
        'torch',
        *map(str, words),
    ]
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    process = subprocess.Popen(
        program, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        line = process.stdout.readline()
        assert line.startswith('serving at '), line + process.stderr.read()
        yield process, line.split()[-1]
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp('weights') / 'faces.safetensors'
    write_weights(published(build()), path)
    return path


def square(colour, number=0):
    face = np.full((64, 64, 3), colour, np.uint8)
    face.flat[:3] = [number % 251, number // 251, 7]  # another file each
    return png(face)


def test_a_process_answers_its_client_and_ends_when_told(weights, tmp_path):
    keys = tmp_path / 'keys.json'
    key = add_key(keys, 'tests', 'write')
    words = (
        '--model',
        weights,
        '--face-detector',
        'none',
        '--faces',
        tmp_path / 'g',
        '--create',
        '--keys',
        keys,
    )
    with serving(*words) as (process, url):
        client = Client(url, key)
        assert client.ready()
        [(face,)] = [result.faces for result in client.embed(square((250, 70, 70))).results]
        library = load(weights, kind='embedder', finder=None, backend='torch')
        wanted = library.embed(read_image(square((250, 70, 70)))).vectors[0]
        np.testing.assert_allclose(face.vector, wanted, atol=1e-5)
        path = tmp_path / 'a é;"c".png'
        path.write_bytes(square((70, 250, 70)))
        assert client.enrol(path, 'Zoë', metadata={'year': 1}).added == 1
        assert client.enrol([square((70, 70, 250)), b'no image'], 'Bob').failures[0].image == 1
        found = client.search([path], k=1)
        assert found.results[0].name == 'a é;%22c%22.png'
        assert found.results[0].faces[0].matches[0].identity == 'Zoë'
        assert [(one.identity, one.images) for one in client.people().people] == [('Bob', 1), ('Zoë', 1)]
        assert client.rename('Zoë', 'a/../b') == 1
        [entry] = client.entries('a/../b').entries
        assert client.entry(entry.id).metadata == {'year': 1}
        assert client.merge(['a/../b'], 'Bob') == 1
        assert client.remove_entry(entry.id) == 1
        assert client.faces(path).results[0].faces[0].box is None
        assert client.stats()['entries'] == 1
        assert client.models().models[0].role == 'embedder'
        assert 'mbv1_requests_total' in client.metrics()
        with pytest.raises(ServiceError, match='scope admin') as refused:
            client.calibrate(0.1)
        assert (refused.value.status, refused.value.code) == (403, 'scope')
        with pytest.raises(ServiceError, match='is not known'):
            Client(url, 'wrong').models()
        with pytest.raises(ServiceError, match='none of 1 can be used') as refused:
            client.embed(b'')
        assert refused.value.failures[0].reason
        assert told_to_end_amid_a_request(process, url, key).startswith(b'HTTP/1.1 200')
        out, errors = process.communicate(timeout=60)
        assert process.returncode in (0, -signal.SIGTERM)
        assert 'Traceback' not in errors
        assert key not in out + errors
    with Gallery(tmp_path / 'g') as gallery:
        assert gallery.identities() == {'Bob': 1}
    with pytest.raises(UnavailableError, match='does not answer'):
        Client(url, key).models()


def told_to_end_amid_a_request(process, url, key):
    """The answer to a request of which the body comes after SIGTERM."""
    form = b'--b\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n%b\r\n--b--\r\n'
    body = form % square((1, 2, 3))
    lines = [
        'POST /v1/embed HTTP/1.1',
        'Host: 127.0.0.1',
        f'Authorization: Bearer {key}',
        'Content-Type: multipart/form-data; boundary=b',
        f'Content-Length: {len(body)}',
        'Expect: 100-continue',
        'Connection: close',
    ]
    with socket.create_connection(('127.0.0.1', urlsplit(url).port), timeout=60) as connection:
        connection.sendall('\r\n'.join([*lines, '', '']).encode())
        assert connection.recv(1000).startswith(b'HTTP/1.1 100')  # it is being worked on
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        connection.sendall(body)
        return b''.join(iter(lambda: connection.recv(65536), b''))


def test_two_processes_write_one_gallery_and_a_kill_of_one_loses_nothing(weights, tmp_path):
    words = ('--model', weights, '--face-detector', 'none', '--faces', tmp_path / 'g', '--create')
    acknowledged, lock = [], threading.Lock()
    with serving(*words) as (process, url), serving(*words) as (_, other):
        changes_of_each_are_seen_by_the_other(Client(url), Client(other))

        def enrol(start):
            client = Client((url, other)[start % 2])
            for number in range(start, 80, 4):
                name = f'person {number}'
                try:
                    done = patiently(lambda: client.enrol(square(COLOURS['person_a'], number), name))  # noqa: B023
                except UnavailableError:  # killed
                    return
                with lock:
                    acknowledged.append((done.results[0].faces[0].id, name))
                    if len(acknowledged) == 30:
                        process.kill()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(enrol, range(4)))
        left = Client(other)
        assert len(acknowledged) >= 50  # those of the other process, and some of the one that was killed
        there = {(entry.id, entry.identity) for entry in left.entries(limit=1000).entries}
        assert there >= set(acknowledged)
        found = left.search([square(COLOURS['person_a'], 0)], k=100).results[0].faces[0]
        assert {match.id for match in found.matches} >= {entry_id for entry_id, _ in acknowledged}
    with Gallery(tmp_path / 'g') as gallery:
        assert not gallery.integrity_problems()


def changes_of_each_are_seen_by_the_other(one, other):
    image = square(COLOURS['person_d'])
    added = one.enrol(image, 'Ada').results[0].faces[0].id
    assert other.search(image, k=1).results[0].faces[0].matches[0].id == added
    assert other.enrol(image, 'Ada').results[0].faces[0].state == 'known'
    assert other.rename('Ada', 'Bob') == 1
    assert one.search(image, k=1).results[0].faces[0].matches[0].identity == 'Bob'
    assert other.remove('Bob') == 1
    assert one.search(image, k=1).results[0].faces[0].matches == []
    with pytest.raises(ServiceError, match='there is no entry'):
        one.entry(added)


def patiently(ask):
    """What a request gives once no other process is writing."""
    for _ in range(100):
        try:
            return ask()
        except ServiceError as error:
            if error.retry_after is None:
                raise
            time.sleep(0.05)
    return ask()


def test_a_client_of_no_url():
    for url in ('localhost:8000', 'ftp://localhost', 'http://'):
        with pytest.raises(InputError, match='url must be'):
            Client(url)


def test_large_buffers_go_back_from_before_networks_are_loaded(monkeypatch):
    done = []
    monkeypatch.setattr(malloc, 'return_large_buffers', lambda: done.append('told'))
    monkeypatch.setattr(serve, '_service', lambda args: done.append('loaded') or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        serve.run(build_parser().parse_args(['serve', '--detector', 'x', '--port', '0']))
    assert done == ['told', 'loaded']
