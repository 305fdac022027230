# Blood cells with Faster R-CNN on a feature pyramid of taps 5, 11 and 13, all of it a quarter of mmdet's R-50 at a
# size for cells: 416 x 312 pixels, 128 channels, anchors of 16 to 192 pixels, half an octave apart.
#   mbv1 train configs/detection/faster_rcnn_mbv1_fpn_bccd.py --pretrained
_base_ = [
    '_base_/models/faster_rcnn_mbv1_fpn.py',
    '_base_/datasets/bccd_300.py',
    '_base_/schedules/sgd_cosine_36e.py',
    '_base_/default_runtime.py',
]
strides = [8, 16, 32]
proposals = dict(nms_pre=500, max_per_img=200)
model = dict(
    backbone=dict(out_indices=(5, 11, 13), padding='same'),  # padding as the released weights were trained with
    neck=dict(in_channels=[256, 512, 1024], out_channels=128, num_outs=4),
    rpn_head=dict(
        in_channels=128,
        feat_channels=128,
        anchor_generator=dict(scales=[2, 3], strides=[*strides, 64])),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=128, featmap_strides=strides, finest_scale=32),
        bbox_head=dict(in_channels=128, fc_out_channels=512, num_classes=3)),
    train_cfg=dict(rpn_proposal=proposals, rcnn=dict(sampler=dict(num=128))),
    test_cfg=dict(
        rpn=proposals, rcnn=dict(score_thr=0.01, nms=dict(type='nms', iou_threshold=0.6))))
resize = dict(type='Resize', scale=(416, 312), keep_ratio=False)
train_pipeline = _base_.train_pipeline
train_pipeline[3] = resize
test_pipeline = _base_.test_pipeline
test_pipeline[1] = resize
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=0.02))
auto_scale_lr = dict(base_batch_size=8)
default_hooks = dict(checkpoint=dict(interval=3))
