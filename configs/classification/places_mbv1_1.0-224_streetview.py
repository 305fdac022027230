# Street views of one country, 75 places to learn from: too few for a network of its own, so that only the last layer
# learns, on the features of ImageNet. Then the whole network, a little: mbv1 train CONFIG --cfg-options
# load_from=CHECKPOINT model.backbone.frozen_stages=-1 optim_wrapper.optimizer.lr=1e-4 ...
_base_ = 'places_mbv1_1.0-224.py'
data_source = 'A folder with train.csv and test.csv (file, latitude, longitude) and the images; then: mbv1 cells \
ROOT/train.csv --out-dir ROOT --max-photos 16 --min-photos 4'
data_root = 'data/streetview'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=224, crop_ratio_range=(0.5, 1.0)),
    dict(type='ColorJitter', brightness=0.2, contrast=0.2, saturation=0.2),
    dict(type='PackInputs'),
]
train_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
val_evaluator = dict(data_root=data_root)
test_evaluator = val_evaluator
model = dict(
    backbone=dict(frozen_stages=13, norm_eval=True),
    head=dict(data_root=data_root, num_classes=32))

max_epochs = 12
train_cfg = dict(max_epochs=max_epochs, val_interval=4)
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=3e-3, weight_decay=0.05),
    paramwise_cfg=dict(dwconv_decay_mult=0.0, norm_decay_mult=0.0, bias_decay_mult=0.0))
param_scheduler = [
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min=1e-6,
        by_epoch=True,
        convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=32)
