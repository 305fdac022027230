# Street views of one country, 75 places to learn from: too few for a network of its own, so that only the last layer
# learns, on ImageNet's features: mbv1 train CONFIG --pretrained google/mobilenet_v1_1.0_224_float. The whole network
# learns from there with --cfg-options load_from=CHECKPOINT model.backbone.frozen_stages=-1 optim_wrapper.optimizer.lr=3e-5,
# a hundredth of the rate: at a tenth it forgets first (loss 5.7 after three steps, 1.5 before).
_base_ = 'places_mbv1_1.0-224.py'
data_source = 'A folder with train.csv and test.csv (file, latitude, longitude) and the images; then: mbv1 cells \
ROOT/train.csv --out-dir ROOT --max-photos 16 --min-photos 4'
data_root = 'data/streetview'
train_pipeline = [
    dict(type='LoadPhoto'),
    dict(type='RandomResizedCrop', scale=224, crop_ratio_range=(0.5, 1.0), backend='pillow'),
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

max_epochs = 6
train_cfg = dict(max_epochs=max_epochs, val_interval=3)
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=3e-3, weight_decay=0.0))
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
