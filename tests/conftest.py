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

if 'PYTEST_XDIST_WORKER' in os.environ:  # one of several processes: a core each, and for what it starts
    os.environ['OMP_NUM_THREADS'] = '1'
    torch.set_num_threads(1)
else:
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


# A classifier in a project of a user's own, as the README has it.
CLASSIFIER = """
_base_ = 'mmpretrain::_base_/default_runtime.py'
custom_imports = dict(imports=['mbv1_backbone'])
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(num_classes=10, mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
    backbone=dict(type='MobileNetV1', widen_factor=0.5, out_indices=(13,)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=512, loss=dict(type='CrossEntropyLoss')))
"""

DEMO_CONFIG = ROOT / 'configs' / 'detection' / 'ssd_mbv1_demo.py'

# The demo config shrunk so that an epoch takes seconds: quarter width, 96 pixels.
_TINY = """
_base_ = {base!r}
model = dict(
    backbone=dict(widen_factor=0.25),
    neck=dict(in_channels=(128, 256), out_channels=(128, 256, 128, 64, 64, 32)),
    bbox_head=dict(in_channels=(128, 256, 128, 64, 64, 32), anchor_generator=dict(input_size=96)))
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    {augmentation}
    dict(type='Resize', scale=(96, 96), keep_ratio=False),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='Resize', scale=(96, 96), keep_ratio=False),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
in_process = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=train_pipeline), **in_process)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline), **in_process)
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=2, val_interval=1)
default_hooks = dict(logger=dict(interval=1))
"""
_AUGMENTATION = "dict(type='Expand', ratio_range=(1, 2)), dict(type='MinIoURandomCrop'), dict(type='RandomFlip', prob=0.5),"  # noqa: E501
_PLAIN = """
train_dataloader.update(sampler=dict(shuffle=False))
model['neck'].update(norm_cfg=dict(_delete_=True, type='GN', num_groups=8))
"""


@pytest.fixture(scope='session')
def tiny_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config file of a user's own, on top of the demo's: a small detector, two epochs."""
    path = tmp_path_factory.mktemp('configs') / 'tiny.py'
    path.write_text(_TINY.format(base=str(DEMO_CONFIG), augmentation=_AUGMENTATION))
    return path


@pytest.fixture(scope='session')
def plain_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without augmentation and shuffling, and with group norm in the neck."""
    path = tmp_path_factory.mktemp('configs') / 'plain.py'
    path.write_text(_TINY.format(base=str(DEMO_CONFIG), augmentation='') + _PLAIN)
    return path
