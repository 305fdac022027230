"""The image of the service and its compose file: what they say, and where Docker is, that they work."""

import json
import re
import shutil
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import PurePosixPath

import pytest
import yaml
from server.conftest import COLOURS, portrait
from support.project import ROOT

from mbv1_backbone.cli import serve, serve_health
from mbv1_backbone.cli.main import build_parser
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.server.client import Client


def stages():
    """(word, rest) of the Dockerfile's instructions, by stage."""
    text = re.sub(r'^\s*#.*\n', '', (ROOT / 'Dockerfile').read_text(), flags=re.MULTILINE)
    found = []
    for line in filter(None, map(str.strip, text.replace('\\\n', ' ').splitlines())):
        word, _, rest = line.partition(' ')
        if word == 'FROM':
            found.append([])
        found[-1].append((word, rest.strip()))
    return found


def last(word):
    """The last instruction of a kind in the last stage."""
    return [rest for name, rest in stages()[-1] if name == word][-1]


def environment():
    """The variables of the last stage."""
    return dict(pair.split('=', 1) for word, rest in stages()[-1] if word == 'ENV' for pair in rest.split())


def command():
    """What the image runs."""
    return [*json.loads(last('ENTRYPOINT')), *json.loads(last('CMD'))]


@pytest.fixture
def service():
    [found] = yaml.safe_load((ROOT / 'compose.yaml').read_text())['services'].values()
    return found


def test_the_images_command_is_one_that_serve_takes():
    program, *words = command()
    assert program == 'mbv1'
    args = build_parser().parse_args(words)
    assert args.run is serve.run
    args.backups = None  # which is in the image
    serve._check(args)
    args.keys = None
    with pytest.raises(InputError, match='lets other machines in'):  # so it cannot begin without keys
        serve._check(args)


@pytest.mark.parametrize(
    ('more', 'wanted'),
    [
        ((), 'http://127.0.0.1:8000'),
        (('--port', '9000'), 'http://127.0.0.1:9000'),
        (('--tls-cert', '/data/c', '--tls-key', '/data/k', '--port', '8443'), 'https://127.0.0.1:8443'),
        (('--host', '::'), 'http://[::1]:8000'),
        (('--host', '10.0.0.5'), 'http://10.0.0.5:8000'),
    ],
)
def test_the_image_asks_its_service_for_its_health_where_that_listens(more, wanted):
    assert serve_health.health_url([*command(), *more]) == f'{wanted}/v1/health'
    assert serve_health.health_url(['/sbin/docker-init', '--', *command(), *more]) == f'{wanted}/v1/health'


class Answering(BaseHTTPRequestHandler):
    """Says of itself that it is healthy, and nothing else."""

    def do_GET(self):
        self.send_response(200 if self.path == '/v1/health' else 404)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.mark.parametrize('tls', [False, True])
def test_a_service_is_healthy_while_it_answers(tmp_path, tls):
    words = []
    with HTTPServer(('127.0.0.1', 0), Answering) as server:
        if tls:
            if shutil.which('openssl') is None:
                pytest.skip('needs openssl, to make a certificate')
            cert, key = (str(tmp_path / name) for name in ('c.pem', 'k.pem'))
            make = ['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1']
            made = ['-nodes', '-subj', '/CN=people.example.org', '-keyout', key, '-out', cert]
            subprocess.run([*make, *made], check=True, capture_output=True)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(cert, key)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            words = ['--tls-cert', cert, '--tls-key', key]
        told = [*command(), '--port', str(server.server_port), *words]
        first = tmp_path / 'cmdline'
        first.write_bytes(b''.join(word.encode() + b'\0' for word in told))
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert serve_health.main(first) == 0
        thread.join()
    assert serve_health.main(first) == 1  # it has ended


def test_the_health_check_is_of_the_package():
    words = json.loads(last('HEALTHCHECK').rpartition('CMD ')[2])
    assert words == ['python', '-m', serve_health.__name__]


def test_all_that_is_written_is_in_the_volume_or_in_tmp(service):
    program = build_parser().parse_args(command()[1:])
    assert service['read_only'] is True
    mounted = [line.partition(':')[2] for line in service['volumes']] + service['tmpfs']
    assert json.loads(f'["{last("VOLUME")}"]') == ['/data']
    written = [program.faces, program.keys, program.backups]
    written += [environment()[name] for name in ('HOME', 'MPLCONFIGDIR', 'MBV1_CACHE')]
    for place in written:
        assert any(PurePosixPath(place).is_relative_to(one) for one in mounted), place


def test_nobody_is_root_and_no_other_machine_reaches_it(service):
    assert last('USER') == '10001:10001'
    assert service['cap_drop'] == ['ALL']
    assert service['security_opt'] == ['no-new-privileges:true']
    for port in service['ports']:
        address, outside, inside = port.split(':')
        assert (address, outside, inside) == ('127.0.0.1', '8000', last('EXPOSE'))
    assert int(service['stop_grace_period'].rstrip('s')) > 30  # what --max-seconds is


def test_what_is_copied_is_there_and_sent_to_the_builder():
    kept = {line[1:] for line in (ROOT / '.dockerignore').read_text().splitlines() if line.startswith('!')}
    copied = set()
    for word, rest in (one for stage in stages() for one in stage):
        assert word != 'ADD'
        if word == 'COPY' and not rest.startswith('--from'):
            copied |= set(rest.split()[:-1])
    assert copied == kept
    assert all((ROOT / name).exists() for name in copied)
    extras = re.search(r"'\.\[([\w,]+)\]'", (ROOT / 'Dockerfile').read_text())[1].split(',')
    project = (ROOT / 'pyproject.toml').read_text()
    assert all(re.search(rf'^{extra} = \[', project, re.MULTILINE) for extra in extras)


def docker(*words, seconds=60):
    """What a docker command prints."""
    done = subprocess.run(['docker', *words], capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout.strip()


def docker_runs():
    if shutil.which('docker') is None:
        return False
    return subprocess.run(['docker', 'info'], capture_output=True).returncode == 0


@contextmanager
def running(*words):
    """A container, by its number; it is gone at the end."""
    number = docker('run', '--detach', '--read-only', '--tmpfs', '/tmp', '--cap-drop', 'ALL', *words)
    try:
        yield number
    finally:
        docker('rm', '--force', number)


@pytest.mark.slow
def test_the_image_serves_with_a_read_only_file_system():
    if not docker_runs():
        pytest.skip('needs a Docker daemon')
    image, volume = 'mbv1-backbone:tests', 'mbv1-backbone-tests'
    docker('build', '--tag', image, str(ROOT), seconds=3000)
    data = ('--volume', f'{volume}:/data')
    try:
        once = ('run', '--rm', '--read-only', *data, '--entrypoint', 'mbv1', image, 'serve-keys', 'add', 'me')
        key = docker(*once, '--scope', 'write', '--keys', '/data/keys.json')
        words = [*json.loads(last('CMD')), '--face-detector', 'none']  # RetinaFace would be fetched
        with running(*data, '--publish', '127.0.0.1::8000', image, *words) as number:
            port = docker('port', number, '8000').rpartition(':')[2]
            client = Client(f'http://127.0.0.1:{port}', key)
            for _ in range(180):
                if client.ready():
                    break
                time.sleep(1)
            assert client.enrol([portrait(COLOURS['person_a'], 0)], 'Ada').added == 1
            assert docker('exec', number, 'id', '-u') == '10001'
            docker('stop', '--timeout', '40', number)
            assert docker('inspect', '--format', '{{.State.ExitCode}}', number) in ('0', '143')
        with running(*data, '--publish', '127.0.0.1::8000', image, *words) as number:
            assert 'Ada' in docker('exec', number, 'mbv1', 'gallery', 'list', '/data/people')
    finally:
        docker('volume', 'rm', '--force', volume)
