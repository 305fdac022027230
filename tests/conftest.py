"""What several tests need: the shared data, the command line, tiny data sets and configs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from support.project import AUGMENTATION, DEMO_CONFIG, PLAIN, ROOT, SHARED, TINY

from mbv1_backbone.detection.demo_data import make_demo_data

if TYPE_CHECKING:
    from mbv1_backbone.inference.embedder import FaceEmbedder

if 'PYTEST_XDIST_WORKER' in os.environ:  # one of several processes: a core each, and for what it starts
    os.environ['OMP_NUM_THREADS'] = '1'
    torch.set_num_threads(1)
elif 'OMP_NUM_THREADS' not in os.environ:
    torch.set_num_threads(2)

# Telemetry, for tests that import runtimes by themselves: OpenVINO's forks the process that tests run in.
os.environ.setdefault('ORT_DISABLE_TELEMETRY', '1')
sys.modules.setdefault('openvino_telemetry', None)  # type: ignore[arg-type]
torch.set_warn_always(True)  # not in the first test of a process alone: warnings are errors here

NEEDS_DATA = f'needs the real images and weights of {SHARED}'


@pytest.fixture(autouse=True, scope='session')
def _exports_apart(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What ``load`` exports is kept for the tests alone, not in the user's cache."""
    os.environ.setdefault('MBV1_CACHE', str(tmp_path_factory.mktemp('cache')))
    os.environ.setdefault('MBV1_MEASURE', '0')  # which runtime is fastest takes seconds a network


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first: with ``--dist loadfile`` the processes then end together, on short ones."""
    seconds: Counter[Path] = Counter()
    for item in items:
        starts_python = 'run' in getattr(item, 'fixturenames', ())
        seconds[item.path] += 20 * bool(item.get_closest_marker('slow')) + 8 * starts_python + 1
    items.sort(key=lambda item: -seconds[item.path])


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope='session')
def shared() -> Path:
    """The folder of real images and weights beside the project."""
    if not SHARED.is_dir():
        pytest.skip(NEEDS_DATA)
    return SHARED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line how many tests were skipped for want of the real data, not in one each."""
    for report in terminalreporter.stats.get('skipped', []):
        if NEEDS_DATA in str(report.longrepr):
            report.longrepr = (str(ROOT / 'tests'), None, f'Skipped: {NEEDS_DATA}')


@pytest.fixture(scope='session')
def demo_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """24 training and 8 validation images of the demo set; all tests read them, none may change them."""
    folder = tmp_path_factory.mktemp('demo')
    make_demo_data(folder, train=24, val=8)
    made = _contents(folder)
    yield folder
    assert _contents(folder) == made, 'a test changed the data that all of them share'


def _contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob('*')) if path.is_file()}


Run = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope='session')
def run() -> Run:
    """Run ``python ARGS`` in the project's root; fails the test where the exit code is not as expected."""

    def _run(
        *args: str | Path, expect: int = 0, program: str = sys.executable, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess:
        done = subprocess.run(
            [program, *map(str, args)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=600,
            env={**os.environ, **(env or {})},
        )
        assert done.returncode == expect, done.stdout[-3000:] + done.stderr[-5000:]
        return done

    return _run


@pytest.fixture(scope='module')
def model() -> torch.nn.Module:
    """A small embedding network whose embeddings of different images differ."""
    from support.embedders import build

    return build()


@pytest.fixture(scope='module')
def embedder(model: torch.nn.Module) -> FaceEmbedder:
    """Of ``model``."""
    from mbv1_backbone.inference.embedder import FaceEmbedder
    from mbv1_backbone.models.recipe import recipe_of

    return FaceEmbedder.of_model(model, recipe_of(model, 'test'))


@pytest.fixture(scope='session')
def tiny_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config file of a user's own, on top of the demo's: a small detector, two epochs."""
    path = tmp_path_factory.mktemp('configs') / 'tiny.py'
    path.write_text(TINY.format(base=str(DEMO_CONFIG), augmentation=AUGMENTATION))
    return path


@pytest.fixture(scope='session')
def plain_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without augmentation and shuffling, and with group norm in the neck."""
    path = tmp_path_factory.mktemp('configs') / 'plain.py'
    path.write_text(TINY.format(base=str(DEMO_CONFIG), augmentation='') + PLAIN)
    return path
