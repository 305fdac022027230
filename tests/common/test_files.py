import json
import os
import signal
import stat
import subprocess
import sys
import time

import pytest

from mbv1_backbone.common.files import atomic_file, decode, write_atomically, write_json

WRITER = """
import sys
from mbv1_backbone.common.files import decode, write_atomically
number = 0
while True:
    number += 1
    write_atomically(sys.argv[1], bytes([number % 256]) * 3_000_000)
    print(number, flush=True)
"""


def test_content_replaces_content_and_nothing_is_left_beside(tmp_path):
    for content in (b'one', b'two'):
        write_atomically(tmp_path / 'deep' / 'file', content)
    assert (tmp_path / 'deep' / 'file').read_bytes() == b'two'
    assert os.listdir(tmp_path / 'deep') == ['file']
    write_json(tmp_path / 'x.json', [1, 'a'])
    assert json.loads((tmp_path / 'x.json').read_text()) == [1, 'a']


def test_permissions_follow_the_umask(tmp_path):
    write_atomically(tmp_path / 'file', b'')
    (tmp_path / 'plain').touch()
    assert (tmp_path / 'file').stat().st_mode == (tmp_path / 'plain').stat().st_mode


def test_a_mode_holds_from_the_first_moment(tmp_path, monkeypatch):
    modes = []
    replace = os.replace

    def seen(made, path):
        modes.append(stat.S_IMODE(os.stat(made).st_mode))
        replace(made, path)

    monkeypatch.setattr(os, 'replace', seen)
    with atomic_file(tmp_path / 'file', mode=0o600) as file:
        modes.append(stat.S_IMODE(os.stat(file.fileno()).st_mode))
    assert modes == [0o600, 0o600]
    assert stat.S_IMODE((tmp_path / 'file').stat().st_mode) == 0o600


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(b'old')
    with pytest.raises(TypeError):
        write_atomically(path, 'not bytes')
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['file']


@pytest.mark.slow
def test_killed_at_any_moment_the_file_is_whole_and_not_older_than_acknowledged(tmp_path):
    path = tmp_path / 'file'
    writer = None
    for attempt in range(12):
        writer = subprocess.Popen(
            [
                sys.executable,
                '-c',
                WRITER.replace('from mbv1_backbone.common.files', 'from files'),
                str(path),
            ],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, 'PYTHONPATH': os.path.dirname(write_atomically.__code__.co_filename)},
        )
        writer.stdout.readline()
        time.sleep(0.002 * attempt)
        writer.send_signal(signal.SIGKILL)
        acknowledged = [1, *map(int, writer.stdout.read().split())][-1]
        writer.wait()
        content = path.read_bytes()
        assert len(content) == 3_000_000
        assert content == content[:1] * len(content)
        assert content[0] in (acknowledged % 256, (acknowledged + 1) % 256)


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16'])
def test_texts_of_editors_are_read_without_their_marks(encoding):
    assert decode('Zo\u00eb\nBob'.encode(encoding)) == 'Zo\u00eb\nBob'


def test_text_of_another_encoding_is_no_text():
    with pytest.raises(UnicodeDecodeError):
        decode('Zo\u00eb'.encode('cp1252'))
