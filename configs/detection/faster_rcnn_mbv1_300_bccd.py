# Blood cells with the paper's Faster R-CNN at 300 x 300, on a schedule that a CPU core can do: 32 regions an image, cells
# as alike as can be, so that the few small platelets are among them; rows to 5 as they come, 1000 proposals before
# suppression.
#   mbv1 train configs/detection/faster_rcnn_mbv1_300_bccd.py --pretrained
_base_ = [
    '_base_/models/faster_rcnn_mbv1.py',
    '_base_/datasets/bccd_300.py',
    '_base_/schedules/sgd_cosine_120e.py',
    '_base_/default_runtime.py',
]
proposals = dict(nms_pre=1000)
model = dict(
    backbone=dict(padding='same', frozen_stages=5),  # padding as the released weights were trained with
    rpn_head=dict(anchor_generator=dict(scales=[1.25, 2.5, 3.5, 6.5])),  # cells: 20 to 104 pixels
    roi_head=dict(shared_head=dict(padding='same'), bbox_head=dict(num_classes=3)),
    train_cfg=dict(
        rpn_proposal=proposals,
        rcnn=dict(
            sampler=dict(
                _delete_=True,
                type='CombinedSampler',
                num=32,
                pos_fraction=0.5,
                add_gt_as_proposals=True,
                pos_sampler=dict(type='InstanceBalancedPosSampler'),
                neg_sampler=dict(type='RandomSampler')))),
    test_cfg=dict(rpn=proposals))
train_dataloader = dict(batch_size=4)
max_epochs = 25
train_cfg = dict(max_epochs=max_epochs, val_interval=5)
optim_wrapper = dict(optimizer=dict(lr=0.01), clip_grad=dict(max_norm=10))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min=0,
        by_epoch=True,
        convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=4)
default_hooks = dict(checkpoint=dict(interval=1))
