"""What several tests need: the shared data, the command line, tiny data sets and configs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mbv1_backbone.detection.demo_data import make_demo_data

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / 'shared' / 'data'

torch.set_num_threads(2)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope='session')
def shared() -> Path:
    """The folder of real images and weights beside the project."""
    if not SHARED.is_dir():
        pytest.skip(f'needs the real data in {SHARED}')
    return SHARED


@pytest.fixture(scope='session')
def demo_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 training and 8 validation images of the demo set."""
    folder = tmp_path_factory.mktemp('demo')
    make_demo_data(folder, train=24, val=8)
    return folder


Run = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope='session')
def run() -> Run:
    """Run ``python ARGS`` in the project's root; fails the test where the exit code is not as expected."""

    def _run(*args: str | Path, expect: int | None = 0, **kwargs) -> subprocess.CompletedProcess:
        done = subprocess.run(
            [sys.executable, *map(str, args)],
            cwd=kwargs.pop('cwd', ROOT),
            capture_output=True,
            text=True,
            timeout=600,
            env={**os.environ, **kwargs.pop('env', {})},
            **kwargs,
        )
        assert expect is None or done.returncode == expect, done.stdout[-3000:] + done.stderr[-5000:]
        return done

    return _run


# The demo config shrunk so that an epoch takes seconds: quarter width, 96 pixels.
TINY = (
    'model.backbone.widen_factor=0.25',
    'model.neck.in_channels=(128,256)',
    'model.neck.out_channels=(128,256,128,64,64,32)',
    'model.bbox_head.in_channels=(128,256,128,64,64,32)',
    'model.bbox_head.anchor_generator.input_size=96',
    'train_dataloader.dataset.pipeline.4.scale=(96,96)',
    'val_dataloader.dataset.pipeline.1.scale=(96,96)',
    'test_dataloader.dataset.pipeline.1.scale=(96,96)',
    'train_dataloader.batch_size=8',
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
    'val_dataloader.num_workers=0',
    'val_dataloader.persistent_workers=False',
    'test_dataloader.num_workers=0',
    'test_dataloader.persistent_workers=False',
)
DEMO_CONFIG = 'configs/detection/ssd_mbv1_demo.py'
