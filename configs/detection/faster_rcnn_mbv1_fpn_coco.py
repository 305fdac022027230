# Faster R-CNN with a feature pyramid on taps 3, 5, 11 and 13 (strides 4 to 32), at 600 x 600.
_base_ = [
    'mmdet::_base_/models/faster-rcnn_r50_fpn.py',
    '_base_/datasets/coco_600.py',
    '_base_/schedules/sgd_cosine_120e.py',
    '_base_/default_runtime.py',
]
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
optim_wrapper = dict(optimizer=dict(lr=0.02), clip_grad=dict(max_norm=10))
train_dataloader = dict(batch_size=2)
auto_scale_lr = dict(base_batch_size=16)
