# Pedestrians and their outlines: 130 photographs. Width .75 as Google's SSD of COCO has it, whose backbone knows
# people; all else a quarter of mmdet's R-50 at a size for a CPU: 640 x 544 pixels, taps 5, 11 and 13, 128 channels,
# 64 regions an image, up to 8 of them of people, upright anchors of 32 to 360 pixels half an octave apart.
#   mbv1 train configs/detection/mask_rcnn_mbv1_fpn_pennfudan.py --pretrained google/ssd_mobilenet_v1_coco
_base_ = [
    '_base_/models/mask_rcnn_mbv1_fpn.py',
    '_base_/datasets/pennfudan_640.py',
    '_base_/schedules/sgd_cosine_36e.py',
    '_base_/default_runtime.py',
]
strides = [8, 16, 32]
proposals = dict(nms_pre=500, max_per_img=100)
roi_extractor = dict(out_channels=128, featmap_strides=strides)
model = dict(
    data_preprocessor=dict(mean=[128.0, 128.0, 128.0], std=[128.0, 128.0, 128.0]),
    backbone=dict(widen_factor=0.75, out_indices=(5, 11, 13), padding='same'),
    neck=dict(in_channels=[192, 384, 768], out_channels=128, num_outs=4),
    rpn_head=dict(
        in_channels=128,
        feat_channels=128,
        anchor_generator=dict(scales=[4, 5.657], ratios=[1.0, 2.0, 3.0], strides=[*strides, 64])),
    roi_head=dict(
        bbox_roi_extractor=roi_extractor,
        bbox_head=dict(in_channels=128, fc_out_channels=512, num_classes=1),
        mask_roi_extractor=dict(  # outlines want the finest map: that of stride 8 up to 448 pixels
            finest_scale=224, roi_layer=dict(output_size=28), **roi_extractor),
        mask_head=dict(in_channels=128, conv_out_channels=128, num_convs=3, num_classes=1)),
    train_cfg=dict(rpn_proposal=proposals, rcnn=dict(sampler=dict(num=64, pos_fraction=0.125), mask_size=56)),
    test_cfg=dict(rpn=proposals, rcnn=dict(max_per_img=50)))
optim_wrapper = dict(optimizer=dict(lr=0.01))
auto_scale_lr = dict(base_batch_size=4)
default_hooks = dict(checkpoint=dict(interval=3))
