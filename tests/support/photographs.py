"""Folders of small pictures, a colour a class, and configs that train on them in seconds."""

import numpy as np
from PIL import Image

COLOURS = {'blue': (40, 60, 220), 'green': (30, 180, 60), 'red': (210, 50, 40)}

# The smallest ImageNet config on a folder of classes: 32 pixels, in this process.
SMALL = """
_base_ = 'mbv1_backbone::classification/{base}.py'
classes = {classes!r}
model = dict(
    backbone=dict(widen_factor=0.25),
    head=dict(num_classes={number}, in_channels=256, topk=(1,)))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=32),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=36, edge='short'),
    dict(type='CenterCrop', crop_size=32),
    dict(type='PackInputs'),
]
in_process = dict(num_workers=0, persistent_workers=False)
data = dict(_delete_=True, type='CustomDataset', data_root={data_root!r})
train_dataloader = dict(
    batch_size=8, dataset=dict(data_prefix='train', pipeline=train_pipeline, **data), **in_process)
val_dataloader = dict(
    batch_size=8, dataset=dict(data_prefix='val', pipeline=test_pipeline, **data), **in_process)
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='Accuracy', topk=(1,))
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=1, val_interval=1)
default_hooks = dict(logger=dict(interval=1))
"""


def folder_of_classes(folder, counts=None, parts=('train', 'val'), size=48):
    """FOLDER/PART/CLASS/N.png; each picture is its class's colour, with noise."""
    random = np.random.default_rng(0)
    for part in parts:
        for name, number in (counts or dict.fromkeys(COLOURS, 8)).items():
            (folder / part / name).mkdir(parents=True, exist_ok=True)
            for index in range(number):
                noise = random.normal(0, 10, (size, size + 8 * index, 3))
                pixels = np.clip(np.array(COLOURS[name]) + noise, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f'{index}.png')
    return folder


def small_config(path, data_root, base='mbv1_1.0-224_imagenet', number=3):
    """Write a config for the pictures of ``folder_of_classes``."""
    path.write_text(SMALL.format(base=base, classes=tuple(COLOURS), number=number, data_root=str(data_root)))
    return path
