"""The files of the page, as they are sent; what they do is tested in Chromium, in test_page.py."""

import re
import shutil
import subprocess
import webbrowser

import pytest
from support.project import ROOT

from mbv1_backbone.cli import serve
from mbv1_backbone.cli.main import build_parser
from mbv1_backbone.server.keys import KeyFile, add_key
from mbv1_backbone.server.page_routes import HEADERS

FOLDER = ROOT / 'mbv1_backbone' / 'server' / 'page'
FILES = {
    '/': ('index.html', 'text/html'),
    '/page.js': ('page.js', 'text/javascript'),
    '/page.css': ('page.css', 'text/css'),
}


def test_the_page_is_sent_without_a_key(start, faces, gallery, tmp_path):
    keys = tmp_path / 'keys.json'
    add_key(keys, 'tests', 'admin')
    web = start(embedder=faces, gallery=gallery, keys=KeyFile(keys))
    assert {path.name for path in FOLDER.iterdir()} == {name for name, _ in FILES.values()}
    for path, (name, kind) in FILES.items():
        answer = web.get(path)
        assert answer.content == (FOLDER / name).read_bytes()
        assert answer.headers['content-type'] == f'{kind}; charset=utf-8'
        assert {header: answer.headers[header] for header in HEADERS} == HEADERS
    assert web.get('/v1/faces/people').status_code == 401
    assert not {'/', '/page.js', '/page.css'} & set(web.get('/v1/openapi.json').json()['paths'])
    assert web.get('/page.py').status_code == 404


def test_the_policy_lets_in_nothing_but_the_page_itself():
    policy = dict(one.split(' ', 1) for one in HEADERS['Content-Security-Policy'].split('; '))
    assert policy['default-src'] == "'none'"
    assert (policy['script-src'], policy['style-src'], policy['connect-src']) == ("'self'",) * 3
    assert (policy['frame-ancestors'], policy['form-action']) == ("'none'",) * 2
    text = (FOLDER / 'index.html').read_text()
    assert not re.search(r'<style|\s(style|on\w+)=', text)


@pytest.mark.parametrize(('screen', 'opened'), [(None, []), (':0', ['http://127.0.0.1:8000/'])])
def test_a_browser_is_opened_where_there_is_a_screen(monkeypatch, screen, opened):
    asked = []
    monkeypatch.setattr(serve.sys, 'platform', 'linux')
    monkeypatch.delenv('WAYLAND_DISPLAY', raising=False)
    monkeypatch.delenv('DISPLAY', raising=False)
    if screen:
        monkeypatch.setenv('DISPLAY', screen)
    monkeypatch.setattr(webbrowser, 'open', lambda url: asked.append(url) or True)
    assert serve.open_page('http://127.0.0.1:8000/') is bool(opened)
    assert asked == opened


@pytest.mark.skipif(shutil.which('make') is None, reason='needs make')
def test_make_serve_asks_for_what_there_is():
    """From a bare machine: a detector of the clone's zoo, and a gallery that is made."""
    words = [
        'make',
        '--dry-run',
        '--no-print-directory',
        'serve',
        'VENV=/venv',
        'RETINAFACE=',
        'PORT=8123',
        'SERVE=--keep-thumbnails',
    ]
    lines = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    command = lines.replace('\\\n', ' ').strip().splitlines()[-1].split()
    assert command[1:3] == ['-m', 'mbv1_backbone']
    args = build_parser().parse_args(command[3:])
    serve._check(args)
    for name in (args.detector, args.model):
        assert (ROOT / 'model_zoo' / name / f'{name}.safetensors').is_file()
    assert (args.create, args.open, args.keep_thumbnails, args.port) == (True, True, True, 8123)
    assert (args.face_detector, args.host) == ('auto', '127.0.0.1')
