"""Exit codes, and the one line of a refusal."""

import errno
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from mmengine.registry import OPTIMIZERS
from support.project import ROOT

from mbv1_backbone.cli.guard import guarded
from mbv1_backbone.common.errors import (
    DamagedFileError,
    InputError,
    LockedError,
    NoSpaceError,
    NotInstalledError,
)


def failing(error):
    def work():
        raise error

    return work


@pytest.mark.parametrize('kind', [InputError, DamagedFileError, LockedError, NoSpaceError, NotInstalledError])
def test_a_refusal_is_one_line_and_exit_code_2(kind, capsys):
    assert guarded(failing(kind('--num must be\n at least 1, got 0'))) == 2
    assert capsys.readouterr().err == 'error: --num must be at least 1, got 0\n'


@pytest.mark.parametrize(
    ('error', 'line'),
    [
        (OSError(errno.ENOSPC, 'No space left on device', 'x'), "[Errno 28] No space left on device: 'x'"),
        (PermissionError(errno.EACCES, 'Permission denied', 'x'), "[Errno 13] Permission denied: 'x'"),
        (OSError(errno.EFBIG, 'File too large'), '[Errno 27] File too large'),
        (
            ModuleNotFoundError("No module named 'openvino'", name='openvino'),
            'openvino is not installed: pip install "mbv1-backbone[all]"',
        ),
    ],
)
def test_what_the_machine_is_to_blame_for_is_one_line(error, line, capsys):
    assert guarded(failing(error)) == 2
    assert capsys.readouterr().err == f'error: {line}\n'


def test_an_error_from_a_worker_is_its_last_line(capsys):
    message = (
        'Caught InputError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n'
        '  File "x.py", line 1\nmbv1_backbone.common.errors.InputError: image a.jpg: is broken'
    )
    assert guarded(failing(InputError(message))) == 2
    assert capsys.readouterr().err == 'error: image a.jpg: is broken\n'


@pytest.mark.parametrize(
    'error',
    [ZeroDivisionError(), TypeError(), FileNotFoundError(errno.ENOENT, 'x'), ImportError('cannot import')],
)
def test_a_defect_keeps_its_traceback(error):
    with pytest.raises(type(error)):
        guarded(failing(error))


def test_a_missing_module_of_ours_is_a_defect():
    with pytest.raises(ModuleNotFoundError):
        guarded(failing(ModuleNotFoundError('no', name='mbv1_backbone.nothing')))


def test_success_and_interruption(capsys):
    assert guarded(lambda: None) == 0
    assert guarded(failing(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == 'interrupted\n'


def test_debugging_shows_the_traceback_of_a_refusal(monkeypatch, capsys):
    monkeypatch.setenv('MBV1_DEBUG', '1')
    assert guarded(failing(InputError('no'))) == 2
    said = capsys.readouterr().err
    assert 'Traceback' in said
    assert said.endswith('error: no\n')


CODE = """
import sys
import time
from mbv1_backbone.cli.guard import guarded
def work():
    {work}
sys.exit(guarded(work))
"""


def test_a_reader_that_goes_away_ends_it_quietly():
    work = 'for i in range(100000): print(i)'
    done = subprocess.run(
        [
            'bash',
            '-c',
            '"$0" -c "$1" | head -1; exit ${PIPESTATUS[0]}',
            sys.executable,
            CODE.format(work=work),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (141, '0\n', '')


def test_a_full_disk_behind_standard_output_is_one_line():
    done = subprocess.run(
        ['bash', '-c', '"$0" -c "$1" > /dev/full', sys.executable, CODE.format(work='print(1)')],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr.startswith('error: [Errno 28] No space left on device')
    assert 'Traceback' not in done.stderr


def test_what_is_wrong_in_a_config_and_seen_late_is_one_line(capsys):
    """mmengine builds optimisers and schedules when training begins."""
    assert guarded(lambda: OPTIMIZERS.build(dict(type=torch.optim.SGD, params=[torch.zeros(1)], lr='x'))) == 2
    assert capsys.readouterr().err.startswith('error: config: ')
    with pytest.raises(TypeError):
        guarded(lambda: torch.optim.SGD([torch.zeros(1)], lr='x'))


def _hear_ctrl_c():
    """Before a program starts: what runs in the background of a script inherits that SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interruption_in_a_finaliser_is_not_dropped():
    """Python ignores what is raised in one."""
    work = 'Dying(); time.sleep(20)'
    dying = """
import signal
class Dying:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
"""
    command = [sys.executable, '-c', dying + CODE.format(work=work)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, preexec_fn=_hear_ctrl_c)
    assert (done.returncode, done.stderr) == (130, 'interrupted\n')


def test_an_interrupted_verb_ends_in_one_line_and_leaves_no_half_file(tmp_path):
    """As Ctrl-C in a terminal does it, in the middle of the work."""
    command = [
        sys.executable,
        '-m',
        'mbv1_backbone',
        'demo-data',
        '--out-dir',
        str(tmp_path),
        '--train',
        '9999',
    ]
    pipes = dict(stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process = subprocess.Popen(command, cwd=ROOT, preexec_fn=_hear_ctrl_c, **pipes)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob('images/*.jpg')):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == 'interrupted'
    assert 'Traceback' not in err
    assert out == ''
    assert not list(tmp_path.glob('annotations/*'))


def test_a_verb_whose_reader_has_gone_ends_quietly():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, '-m', 'mbv1_backbone', 'zoo']
    done = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, '')


ODD = """
import os, sys
assert os.fstat(1) and os.fstat(2)
print('\\u0308 \\U0001f600 \\udc80', len('x'))
"""


@pytest.mark.parametrize(
    ('redirection', 'out', 'err'),
    [
        ('>&-', '', ''),
        ('2>&-', '\\u0308 \\U0001f600 \\udc80 1\n', ''),
        ('>&- 2>&- <&-', '', ''),
    ],
)
def test_closed_streams_and_a_plain_terminal_are_no_defect(redirection, out, err):
    code = CODE.format(work=f'exec({ODD!r})')
    done = subprocess.run(
        ['bash', '-c', f'"$0" -c "$1" {redirection}', sys.executable, code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, 'PYTHONIOENCODING': 'ascii'},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, out, err)


def test_a_refusal_without_standard_error_is_not_printed_among_the_results():
    code = CODE.format(work="raise __import__('mbv1_backbone').common.errors.InputError('no')")
    done = subprocess.run(
        ['bash', '-c', '"$0" -c "$1" 2>&-', sys.executable, code], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (2, '')


@pytest.mark.parametrize('number', [errno.ENAMETOOLONG, errno.ELOOP])
def test_a_name_that_can_be_no_file_is_the_users(number, capsys):
    assert guarded(failing(OSError(number, os.strerror(number), 'x' * 300))) == 2
    assert os.strerror(number) in capsys.readouterr().err
