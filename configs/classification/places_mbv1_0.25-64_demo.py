# The drawn world of mbv1 demo-data --kind places at quarter width and 64 pixels, from scratch: minutes on two CPU cores.
_base_ = 'places_mbv1_1.0-224.py'
data_source = 'mbv1 demo-data --kind places --out-dir data/world, then: mbv1 cells data/world/train.csv \
--out-dir data/world --max-photos 40 --min-photos 8'
data_root = 'data/world'
train_pipeline = [
    dict(type='LoadPhoto'),
    dict(type='RandomCrop', crop_size=64, padding=4, padding_mode='edge'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadPhoto'),
    dict(type='MiddleSquare', size=64),
    dict(type='PackInputs', meta_keys=('img_path', 'latitude', 'longitude')),
]
train_dataloader = dict(
    batch_size=32, num_workers=1, dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(data_root=data_root)
test_evaluator = val_evaluator
model = dict(
    backbone=dict(widen_factor=0.25),
    head=dict(in_channels=256, data_root=data_root, num_classes=96))

max_epochs = 16
train_cfg = dict(max_epochs=max_epochs, val_interval=4)
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=3e-3, weight_decay=0.02),
    paramwise_cfg=dict(dwconv_decay_mult=0.0, norm_decay_mult=0.0, bias_decay_mult=0.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min=1e-5,
        by_epoch=True,
        convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=32)
