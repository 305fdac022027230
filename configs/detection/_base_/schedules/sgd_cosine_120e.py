# Stated for a batch of 192 images (8 processes of 24); other batches: mbv1 train --auto-scale-lr. The rate
# is near the released momentum recipe's (.7 at 512), and ten times that of mmdet's SSDLite, which takes 600 epochs.
max_epochs = 120
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min=0,
        by_epoch=True,
        convert_to_iter_based=True),
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.15, momentum=0.9, weight_decay=4e-5),
    paramwise_cfg=dict(dwconv_decay_mult=0.0))  # paper, 3.2: no decay on depthwise filters
auto_scale_lr = dict(enable=False, base_batch_size=192)
