# Faster R-CNN (arXiv:1506.01497) with a feature pyramid (arXiv:1612.03144) on taps 3, 5, 11 and 13 (strides 4 to 32).
_base_ = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'
norm_cfg = dict(type='BN', eps=1e-3, momentum=0.03)
model = dict(
    data_preprocessor=dict(
        _delete_=True,
        type='DetDataPreprocessor',
        mean=[127.5, 127.5, 127.5],  # to [-1, 1]
        std=[127.5, 127.5, 127.5],
        bgr_to_rgb=True,
        pad_size_divisor=32),
    backbone=dict(
        _delete_=True,
        type='MobileNetV1',
        out_indices=(3, 5, 11, 13),
        norm_cfg=norm_cfg,
        act_cfg=dict(type='ReLU6')),
    neck=dict(in_channels=[128, 256, 512, 1024]))
