# SSD300 as released (paper, 4.6 and Table 13): taps 11 and 13, four extra layers, 1917 anchors, 1x1
# predictors with a sigmoid a class. Batch norm's momentum is mmdet's .03 for small detectors, not the
# released .0003: with that, statistics need some 10,000 steps to settle.
norm_cfg = dict(type='SteadyBN', eps=1e-3, momentum=0.03)
act_cfg = dict(type='ReLU6')
model = dict(
    type='SingleStageDetector',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[127.5, 127.5, 127.5],  # to [-1, 1]
        std=[127.5, 127.5, 127.5],
        bgr_to_rgb=True,
        pad_size_divisor=1),
    backbone=dict(
        type='MobileNetV1',
        out_indices=(11, 13),
        norm_cfg=norm_cfg,
        act_cfg=act_cfg),
    neck=dict(
        type='SSDNeck',
        in_channels=(512, 1024),
        out_channels=(512, 1024, 512, 256, 256, 128),
        level_strides=(2, 2, 2, 2),
        level_paddings=(1, 1, 1, 1),
        l2_norm_scale=None,
        norm_cfg=norm_cfg,
        act_cfg=act_cfg,
        init_cfg=dict(type='TruncNormal', layer='Conv2d', std=0.03)),
    bbox_head=dict(
        type='MobileSSDHead',
        num_classes=80,
        in_channels=(512, 1024, 512, 256, 256, 128),
        anchor_generator=dict(type='MobileSSDAnchorGenerator', input_size=300),
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder',
            target_means=[0.0, 0.0, 0.0, 0.0],
            target_stds=[0.1, 0.1, 0.2, 0.2]),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_bbox=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0)),
    train_cfg=dict(
        assigner=dict(
            type='MaxIoUAssigner',
            pos_iou_thr=0.5,
            neg_iou_thr=0.5,
            min_pos_iou=0.0,
            ignore_iof_thr=-1,  # the head sees to crowds itself, and keeps the matches in them
            gt_max_assign_all=False),
        sampler=dict(type='PseudoSampler'),
        allowed_border=-1,
        pos_weight=-1,
        neg_pos_ratio=3,
        debug=False),
    test_cfg=dict(
        nms_pre=1000,
        score_thr=1e-8,
        nms=dict(type='nms', iou_threshold=0.6),
        min_bbox_size=0,
        max_per_img=100))
