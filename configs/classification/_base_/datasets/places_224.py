# Photographs and where they were taken: train.csv and test.csv of file, latitude and longitude, and cells.json, which
# mbv1 cells makes of train.csv. Not mirrored: on which side cars drive, and what signs say, tells where a place is.
# Resized by Pillow, with its antialiasing, as mbv1 locate and exported networks do.
data_source = 'train.csv and test.csv: file, latitude, longitude. Cells: mbv1 cells ROOT/train.csv --out-dir ROOT'
data_root = 'data/places'
cells = 'cells.json'
train_pipeline = [
    dict(type='LoadPhoto'),
    dict(type='RandomResizedCrop', scale=224, crop_ratio_range=(0.35, 1.0), backend='pillow'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadPhoto'),
    dict(type='MiddleSquare', size=224),
    dict(type='PackInputs', meta_keys=('img_path', 'latitude', 'longitude')),
]
train_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='PlacesDataset', data_root=data_root, ann_file='train.csv', cells=cells, pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='PlacesDataset',
        data_root=data_root,
        ann_file='test.csv',
        cells=cells,
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='PlacesMetric', data_root=data_root, cells=cells, baselines=False)
test_evaluator = dict(type='PlacesMetric', data_root=data_root, cells=cells)
