# SSD MobileNetV1 1.0 at 512x512 for faces, built as TensorFlow's: SAME padding everywhere, 5118 anchors, a sigmoid for
# faces and one for the background. For vladmandic/ssd_mobilenetv1_face in the zoo, and for training on WIDER FACE.
_base_ = [
    '../detection/_base_/models/ssd300_mbv1.py',
    '_base_/datasets/wider_640.py',
    '_base_/schedules/sgd_steps_250e.py',
    '_base_/wider_runtime.py',
]
model = dict(
    data_preprocessor=dict(pad_size_divisor=512),  # an image lies at the top left of the square
    backbone=dict(padding='same'),
    neck=dict(conv_cfg=dict(type='Conv2dSame')),
    bbox_head=dict(num_classes=1, anchor_generator=dict(input_size=512)),
    test_cfg=dict(nms_pre=-1, score_thr=0.02, nms=dict(type='nms', iou_threshold=0.5), max_per_img=200))
input_size = (512, 512)
train_pipeline = _base_.train_pipeline
train_pipeline[3].update(size=512, min_side=12)
train_pipeline[5].type = 'PackDetInputs'
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='Resize', scale=input_size, keep_ratio=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
