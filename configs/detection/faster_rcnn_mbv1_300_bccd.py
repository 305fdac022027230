# Blood cells with the paper's Faster R-CNN at 300 x 300, on a schedule that two CPU cores can do.
_base_ = [
    '_base_/models/faster_rcnn_mbv1.py',
    '_base_/datasets/bccd_300.py',
    '_base_/schedules/sgd_cosine_120e.py',
    '_base_/default_runtime.py',
]
model = dict(
    rpn_head=dict(anchor_generator=dict(scales=[1, 2, 4, 8])),  # cells: 16 to 128 pixels
    roi_head=dict(bbox_head=dict(num_classes=3)),
    train_cfg=dict(rcnn=dict(sampler=dict(num=32))))
train_dataloader = dict(batch_size=8)
max_epochs = 8
train_cfg = dict(max_epochs=max_epochs, val_interval=4)
optim_wrapper = dict(optimizer=dict(lr=0.01), clip_grad=dict(max_norm=10))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min=0,
        by_epoch=True,
        convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=8)
default_hooks = dict(checkpoint=dict(interval=1))
