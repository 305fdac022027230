# Photographs in train/CLASS/ and test/CLASS/, read and resized (by Pillow, with its
# antialiasing) as every verb and every exported classifier does.
data_root = 'data/photographs'
train_pipeline = [
    dict(type='LoadPhoto'),
    dict(type='RandomResizedCrop', scale=224, crop_ratio_range=(0.35, 1.0), backend='pillow'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadPhoto'),
    dict(type='MiddleSquare', size=224),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='CustomDataset', data_root=data_root, data_prefix='train', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CustomDataset', data_root=data_root, data_prefix='test', pipeline=test_pipeline))
test_dataloader = val_dataloader
# accuracy/top1, and the mean over classes of each one's share that is right: single-label/recall
val_evaluator = [
    dict(type='Accuracy', topk=(1, )),
    dict(type='SingleLabelMetric', items=('recall', ), average='macro'),
]
test_evaluator = val_evaluator
