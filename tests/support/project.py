"""Where the project and the shared data lie, and configs that several tests use."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / 'shared' / 'data'

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
TINY = """
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
AUGMENTATION = "dict(type='Expand', ratio_range=(1, 2)), dict(type='MinIoURandomCrop'), dict(type='RandomFlip', prob=0.5),"  # noqa: E501
PLAIN = """
train_dataloader.update(sampler=dict(shuffle=False))
model['neck'].update(norm_cfg=dict(_delete_=True, type='GN', num_groups=8))
"""
