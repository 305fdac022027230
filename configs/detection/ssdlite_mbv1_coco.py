# SSDLite: depthwise-separable extra layers and predictors, at 320 pixels.
_base_ = [
    '_base_/models/ssd300_mbv1.py',
    '_base_/datasets/coco_320.py',
    '_base_/schedules/sgd_cosine_120e.py',
    '_base_/default_runtime.py',
]
model = dict(
    neck=dict(use_depthwise=True),
    bbox_head=dict(
        use_depthwise=True,
        norm_cfg=dict(type='SteadyBN', eps=1e-3, momentum=0.03),
        act_cfg=dict(type='ReLU6'),
        anchor_generator=dict(input_size=320)))
