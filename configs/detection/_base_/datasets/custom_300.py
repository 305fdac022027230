# Photographs of your own: neutral augmentation, for things that have an upright. Left and right are exchanged; where
# that makes another class of a thing (letters, arrows, left hands), take RandomFlip out.
_base_ = 'coco_300.py'
data_source = 'Photographs with boxes are converted by: mbv1 convert voc FOLDER --out-dir data/custom'

train_pipeline = [
    dict(type='LoadImage', cache_mb=400),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PhotoMetricDistortion',
        brightness_delta=32,
        contrast_range=(0.5, 1.5),
        saturation_range=(0.5, 1.5),
        hue_delta=18),
    dict(type='Expand', mean=[127.5, 127.5, 127.5], to_rgb=True, ratio_range=(1, 2)),
    dict(type='FastMinIoURandomCrop', min_ious=(0.3, 0.5, 0.7, 0.9), min_crop_size=0.3),
    dict(type='Resize', scale=(300, 300), keep_ratio=False),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(
    batch_size=16,
    dataset=dict(
        ann_file='annotations/train.json',
        data_prefix=dict(img='images/'),
        pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(ann_file='annotations/val.json', data_prefix=dict(img='images/')))
test_dataloader = val_dataloader
