# The five drawn shapes of mbv1 demo-data at half width and 160 pixels: minutes on two CPU cores,
# in float32. More images teach more than more epochs: 1280 for 18, not 640 for 40.
_base_ = 'ssd_mbv1_coco.py'
data_source = 'The demo data are made by: mbv1 demo-data --out-dir data/demo'

classes = ('ball', 'car', 'flower', 'house', 'star')
data_root = 'data/demo/'
input_size = (160, 160)
train_pipeline = [
    dict(type='LoadImage', cache_mb=250),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Expand', mean=[127.5, 127.5, 127.5], to_rgb=True, ratio_range=(1, 1.5)),
    dict(type='Resize', scale=input_size, keep_ratio=False),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='Resize', scale=input_size, keep_ratio=False),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
dataset = dict(data_root=data_root, data_prefix=dict(img='images/'), metainfo=dict(classes=classes))
train_dataloader = dict(
    batch_size=16,
    num_workers=1,  # enough, and it leaves the cores to the network
    dataset=dict(ann_file='annotations/train.json', pipeline=train_pipeline, **dataset))
val_dataloader = dict(
    num_workers=1, dataset=dict(ann_file='annotations/val.json', pipeline=test_pipeline, **dataset))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/val.json')
test_evaluator = val_evaluator

model = dict(
    backbone=dict(widen_factor=0.5),
    neck=dict(in_channels=(256, 512), out_channels=(256, 512, 256, 128, 128, 64)),
    bbox_head=dict(
        num_classes=len(classes),
        in_channels=(256, 512, 256, 128, 128, 64),
        anchor_generator=dict(input_size=160)))

max_epochs = 20
train_cfg = dict(max_epochs=max_epochs, val_interval=6)
optim_wrapper = dict(optimizer=dict(lr=0.1))
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
auto_scale_lr = dict(base_batch_size=16)
