"""``make faces``: from a folder of photographs to groups and their contact sheets."""

import os
import shutil
import subprocess
import sys

import pytest
from support.project import ROOT


@pytest.fixture
def make(tmp_path):
    """Run ``make faces`` with this Python, into a folder of the test's own."""
    ready = tmp_path / 'ready'
    ready.touch()

    def run(*values):
        own = (f'RUN={sys.executable}', f'READY={ready}', f'FACES={tmp_path / "faces"}')
        environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
        return subprocess.run(
            ['make', 'faces', *own, *values], cwd=ROOT, env=environment, capture_output=True, text=True
        )

    return run


@pytest.mark.skipif(shutil.which('make') is None, reason='needs make')
def test_without_photographs_it_says_so_and_does_nothing(make, tmp_path):
    for given in ((f'PHOTOS={tmp_path / "none"}',), (f'SHARED={tmp_path / "none"}',)):
        done = make(*given)
        assert done.returncode == 2
        assert str(tmp_path / 'none') in done.stdout
        assert 'no such folder; make faces PHOTOS=FOLDER takes yours' in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ['ready']


@pytest.mark.slow
@pytest.mark.skipif(shutil.which('make') is None, reason='needs make')
def test_photographs_become_groups(make, tmp_path, shared):
    photographs = tmp_path / 'my photographs'
    for name in sorted(path.name for path in (shared / 'lfw_color' / 'whole').iterdir())[:16]:
        shutil.copytree(shared / 'lfw_color' / 'whole' / name, photographs / name)
    done = make(f'PHOTOS={photographs}')
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    faces = tmp_path / 'faces'
    written = {path.name for path in (faces / 'groups').iterdir()}
    assert {'overview.png', 'alone.png'} < written
    assert done.stdout.count('2 faces in 2 photographs') >= 8  # of 16 people, two photographs each
    assert sum(name.startswith('group-') for name in written) == done.stdout.count(' photographs  cohesion ')
    assert 'threshold ' in done.stdout
    assert (faces / 'search.png').is_file()
