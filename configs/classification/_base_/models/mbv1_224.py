# MobileNetV1 as a classifier, built and fed as Google's ImageNet weights were, to start from them:
# mbv1 train CONFIG --pretrained google/mobilenet_v1_1.0_224_float
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(
        type='ClsDataPreprocessor',
        mean=[127.5, 127.5, 127.5],  # to [-1, 1]
        std=[127.5, 127.5, 127.5],
        to_rgb=True),
    backbone=dict(
        type='MobileNetV1',
        widen_factor=1.0,
        out_indices=(13,),
        padding='same',
        act_cfg=dict(type='ReLU6'),
        norm_cfg=dict(type='BN', eps=0.001)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=1024,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1, 5)))
