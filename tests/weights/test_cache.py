"""Downloads: whole, held to their hash, resumed, from a mirror; and one line about all that goes wrong."""

import hashlib
import http.server
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mbv1_backbone.common.errors import DamagedFileError, InputError
from mbv1_backbone.weights.cache import fetch, sha256_of

CONTENT = bytes(range(256)) * 400
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """One file in the ways that servers have, by path."""

    asked: list[tuple[str, str | None]] = []

    def do_GET(self):
        wanted = self.headers.get('Range')
        self.asked.append((self.path, wanted))
        begin = int(re.match(r'bytes=(\d+)-', wanted)[1]) if wanted and 'norange' not in self.path else 0
        if 'missing' in self.path:
            return self.send_error(404)
        if begin >= len(CONTENT):
            return self.send_error(416)
        content = b'<html>sign in</html>' if 'page' in self.path else CONTENT
        self.send_response(206 if begin else 200)
        if 'nolength' not in self.path:
            self.send_header('Content-Length', str(len(content) - begin))
        self.end_headers()
        rest = content[begin:]
        if 'cut' in self.path and not begin:
            rest = rest[:50_000]
        self.wfile.write(rest)
        return None

    def log_message(self, *args):
        pass


@pytest.fixture
def site(monkeypatch, tmp_path):
    monkeypatch.setenv('MBV1_CACHE', str(tmp_path / 'cache'))
    monkeypatch.delenv('MBV1_MIRROR', raising=False)
    Handler.asked = []
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file())


@pytest.mark.parametrize('path', ['file', 'file-nolength'])
def test_a_file_and_its_hash_are_kept(site, tmp_path, path, capsys):
    found = fetch(f'{site}/{path}', 'a/b/w.bin', SHA256, len(CONTENT))
    assert found.read_bytes() == CONTENT
    assert files(tmp_path / 'cache') == ['a/b/w.bin', 'a/b/w.bin.sha256']
    assert found.with_name('w.bin.sha256').read_text() == SHA256
    fetch(f'{site}/{path}', 'a/b/w.bin', SHA256.upper())
    assert len(Handler.asked) == 1
    assert 'no SHA-256' not in capsys.readouterr().err


def test_without_a_known_hash_the_first_one_counts_and_is_said(site, tmp_path, capsys):
    path = fetch(f'{site}/file', 'w.bin')
    assert f'no SHA-256 is known of it; from now on it must be {SHA256}' in capsys.readouterr().err
    path.write_bytes(CONTENT[:-1] + b'x')
    with pytest.raises(DamagedFileError, match=f'instead of {SHA256}'):
        fetch(f'{site}/file', 'w.bin')


@pytest.mark.parametrize(('sha256', 'size'), [('0' * 64, None), (SHA256, 7), (None, 7)])
def test_another_file_is_not_kept_and_its_hash_is_not_recorded(site, tmp_path, sha256, size):
    with pytest.raises(InputError, match='that is another file, and was not kept'):
        fetch(f'{site}/file', 'w.bin', sha256, size)
    assert files(tmp_path / 'cache') == []


def test_a_sign_in_page_is_not_weights(site, tmp_path):
    with pytest.raises(InputError, match='20 bytes with SHA-256'):
        fetch(f'{site}/page', 'w.bin', SHA256)
    assert files(tmp_path / 'cache') == []


def test_a_cut_connection_records_nothing_and_goes_on_where_it_was(site, tmp_path):
    with pytest.raises(InputError, match=r'broke after 50000 of 102400 bytes.*; the same again goes on'):
        fetch(f'{site}/cut', 'w.bin', SHA256)
    assert files(tmp_path / 'cache') == ['w.bin.part']
    assert fetch(f'{site}/cut', 'w.bin', SHA256).read_bytes() == CONTENT
    assert [wanted for _, wanted in Handler.asked] == [None, 'bytes=50000-']
    assert files(tmp_path / 'cache') == ['w.bin', 'w.bin.sha256']


def test_a_server_that_cannot_resume_sends_all_of_it(site, tmp_path):
    (tmp_path / 'cache').mkdir()
    (tmp_path / 'cache' / 'w.bin.part').write_bytes(CONTENT[:1000])
    assert fetch(f'{site}/norange', 'w.bin', SHA256).read_bytes() == CONTENT


@pytest.mark.parametrize('part', [b'of another file', CONTENT + b'too long', b''])
def test_a_part_of_another_file_is_fetched_anew(site, tmp_path, part):
    (tmp_path / 'cache').mkdir()
    (tmp_path / 'cache' / 'w.bin.part').write_bytes(part)
    assert fetch(f'{site}/file', 'w.bin', SHA256).read_bytes() == CONTENT


def test_a_part_is_not_gone_on_with_where_no_hash_is_known(site, tmp_path):
    with pytest.raises(InputError, match=r'broke after 50000 of 102400 bytes; without'):
        fetch(f'{site}/cut', 'w.bin')
    assert fetch(f'{site}/file', 'w.bin').read_bytes() == CONTENT
    assert [wanted for _, wanted in Handler.asked] == [None, None]


def test_a_whole_part_needs_no_network(site, tmp_path):
    (tmp_path / 'cache').mkdir()
    (tmp_path / 'cache' / 'w.bin.part').write_bytes(CONTENT)
    assert fetch('http://127.0.0.1:9/file', 'w.bin', SHA256).read_bytes() == CONTENT


@pytest.mark.parametrize('address', ['{site}/missing', 'http://127.0.0.1:9/file'])
def test_offline_one_line_says_which_file_goes_where(site, tmp_path, address):
    with pytest.raises(InputError, match='cannot be downloaded') as caught:
        fetch(address.format(site=site), 'a/w.bin', SHA256, 102400)
    put = f'put the file at {tmp_path}/cache/a/w.bin: it is w.bin (102400 bytes, SHA-256 {SHA256})'
    assert put in str(caught.value)
    assert '\n' not in str(caught.value)
    assert files(tmp_path / 'cache') == []


def test_a_mirror_by_url_stands_in_for_the_source(site, monkeypatch):
    monkeypatch.setenv('MBV1_MIRROR', f'{site}/mirror/')
    assert fetch('http://127.0.0.1:9/file?x=1', 'a/w.bin', SHA256).read_bytes() == CONTENT
    assert Handler.asked == [('/mirror/a/w.bin', None)]
    with pytest.raises(InputError, match=r'mirror/missing\.bin cannot be downloaded'):
        fetch('http://127.0.0.1:9/file', 'missing.bin')


def test_a_mirror_may_be_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv('MBV1_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setenv('MBV1_MIRROR', str(tmp_path / 'mirror'))
    (tmp_path / 'mirror').mkdir()
    (tmp_path / 'mirror' / 'w.bin').write_bytes(CONTENT)
    assert sha256_of(fetch('http://127.0.0.1:9/file', 'w.bin', SHA256)) == SHA256
    with pytest.raises(InputError, match=r'mirror/v\.bin cannot be downloaded \(no such file\)'):
        fetch('http://127.0.0.1:9/file', 'v.bin', SHA256)


def test_two_at_once_download_one_file_once(site):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: fetch(f'{site}/file', 'w.bin', SHA256), range(4)))
    assert {sha256_of(path) for path in found} == {SHA256}
    assert len(Handler.asked) == 1


def test_a_cache_that_is_a_file_is_one_line(tmp_path, monkeypatch):
    (tmp_path / 'cache').touch()
    monkeypatch.setenv('MBV1_CACHE', str(tmp_path / 'cache' / 'deep'))
    with pytest.raises(InputError, match='cache folder'):
        fetch('http://127.0.0.1:9/file', 'w.bin')
