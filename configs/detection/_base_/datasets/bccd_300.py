_base_ = 'coco_300.py'
data_source = (
    'BCCD comes from https://github.com/Shenggan/BCCD_Dataset; then: '
    'mbv1 convert voc BCCD_Dataset/BCCD --out-dir data/bccd --splits trainval test')

classes = ('Platelets', 'RBC', 'WBC')
data_root = 'data/bccd/'
# Cells are of one size and colour, and have no upright: crops and flips, no zooming out, true colours.
train_pipeline = [
    dict(type='LoadImage', cache_mb=400),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='FastMinIoURandomCrop', min_ious=(0.5, 0.7, 0.9), min_crop_size=0.5),
    dict(type='Resize', scale=(300, 300), keep_ratio=False),
    dict(type='RandomFlip', prob=0.75, direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='PackDetInputs'),
]
dataset = dict(data_root=data_root, metainfo=dict(classes=classes))
train_dataloader = dict(
    batch_size=16,
    dataset=dict(
        ann_file='annotations/trainval.json',
        data_prefix=dict(img='images/'),
        pipeline=train_pipeline,
        **dataset))
val_dataloader = dict(
    dataset=dict(ann_file='annotations/test.json', data_prefix=dict(img='images/'), **dataset))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/test.json')
test_evaluator = val_evaluator
