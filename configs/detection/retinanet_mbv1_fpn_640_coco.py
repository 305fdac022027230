# RetinaNet with a feature pyramid on taps 5, 11 and 13 (strides 8 to 32), at 640 x 640: what the best
# published MobileNetV1 detectors use.
_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    '_base_/datasets/coco_640.py',
    '_base_/schedules/sgd_cosine_120e.py',
    '_base_/default_runtime.py',
]
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
        out_indices=(5, 11, 13),
        norm_cfg=dict(type='BN', eps=1e-3, momentum=0.03),
        act_cfg=dict(type='ReLU6')),
    neck=dict(
        in_channels=[256, 512, 1024],
        start_level=0,
        add_extra_convs='on_output',
        norm_cfg=dict(type='BN', eps=1e-3, momentum=0.03)),
    bbox_head=dict(norm_cfg=dict(type='BN', eps=1e-3, momentum=0.03)))
optim_wrapper = dict(optimizer=dict(lr=0.02), clip_grad=dict(max_norm=10))
train_dataloader = dict(batch_size=4)
auto_scale_lr = dict(base_batch_size=16)
