_base_ = 'coco_300.py'
data_source = (
    'Penn-Fudan comes from https://www.cis.upenn.edu/~jshi/ped_html/; put its PNGImages into images/, and '
    "its masks as COCO's instances into train.json and test.json.")

classes = ('person',)
data_root = 'data/pennfudan/'
resize = dict(type='Resize', scale=(640, 544), keep_ratio=False)
with_masks = dict(type='LoadAnnotations', with_bbox=True, with_mask=True)
train_pipeline = [
    dict(type='LoadImage', cache_mb=200),
    with_masks,
    dict(
        type='PhotoMetricDistortion',
        brightness_delta=32,
        contrast_range=(0.5, 1.5),
        saturation_range=(0.5, 1.5),
        hue_delta=18),
    dict(type='FastMinIoURandomCrop', min_ious=(0.3, 0.5, 0.7, 0.9), min_crop_size=0.5),
    resize,
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = _base_.test_pipeline
test_pipeline[1:3] = [resize, with_masks]
dataset = dict(data_root=data_root, metainfo=dict(classes=classes), data_prefix=dict(img='images/'))
train_dataloader = dict(
    batch_size=4, dataset=dict(ann_file='train.json', pipeline=train_pipeline, **dataset))
val_dataloader = dict(dataset=dict(ann_file='test.json', pipeline=test_pipeline, **dataset))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'test.json', metric=['bbox', 'segm'])
test_evaluator = val_evaluator
