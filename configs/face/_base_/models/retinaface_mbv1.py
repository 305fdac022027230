# RetinaFace on MobileNetV1 of width .25 as https://github.com/biubug6/Pytorch_Retinaface released it: taps of strides
# 8, 16 and 32, two square anchors of each place, B, G, R less their means (here by R, G, B).
act_cfg = dict(type='LeakyReLU', negative_slope=0.1)
model = dict(
    type='SingleStageDetector',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.0, 117.0, 104.0],
        std=[1.0, 1.0, 1.0],
        bgr_to_rgb=True,
        pad_size_divisor=1),
    backbone=dict(
        type='MobileNetV1',
        widen_factor=0.25,
        out_indices=(5, 11, 13),
        norm_cfg=dict(type='BN'),
        act_cfg=act_cfg),
    neck=dict(
        type='RetinaFaceNeck',
        in_channels=(64, 128, 256),
        out_channels=64,
        norm_cfg=dict(type='BN'),
        act_cfg=act_cfg),
    bbox_head=dict(
        type='RetinaFaceHead',
        in_channels=64,
        anchor_generator=dict(
            type='AnchorGenerator',
            strides=[8, 16, 32],
            ratios=[1.0],
            scales=[1, 2],
            base_sizes=[16, 64, 256],  # and twice that
            centers=[(4.0, 4.0), (8.0, 8.0), (16.0, 16.0)]),
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder',
            target_means=[0.0, 0.0, 0.0, 0.0],
            target_stds=[0.1, 0.1, 0.2, 0.2],
            clip_border=False),
        loss_cls=dict(type='CrossEntropyLoss', loss_weight=1.0),
        loss_bbox=dict(type='SmoothL1Loss', beta=1.0, loss_weight=2.0),
        loss_landmarks=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0)),
    train_cfg=dict(
        assigner=dict(
            type='MaxIoUAssigner',
            pos_iou_thr=0.35,
            neg_iou_thr=0.35,
            min_pos_iou=0.2,
            ignore_iof_thr=-1,
            gt_max_assign_all=False),
        neg_pos_ratio=7),
    test_cfg=dict(score_thr=0.02, nms=dict(type='nms', iou_threshold=0.4), max_per_img=750))
