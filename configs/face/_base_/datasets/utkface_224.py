# Faces as mbv1 faces crop aligns them, as mbv1 faces attributes sees those of photographs. Lists with the columns file,
# age, gender and race; without ann_file the names of UTKFace's own files are the labels, and split picks a part.
data_source = (
    'UTKFace comes from https://susanqq.github.io/UTKFace/ (not for commercial use); crops of it come from '
    'mbv1 faces crop data/utkface --out-dir data/utkface_crops')
data_root = 'data/'
train_pipeline = [
    dict(type='LoadFace', size=224),
    dict(type='FlipFace'),
    dict(type='MoveFace', size=224),
    dict(type='LightFace'),
    dict(type='PackFace'),
]
test_pipeline = [
    dict(type='LoadFace', size=224),
    dict(type='PackFace'),
]
train_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='UTKFace',
        data_root=data_root,
        ann_file='utkface/train.csv',
        data_prefix=dict(img='utkface_crops'),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='UTKFace',
        data_root=data_root,
        ann_file='utkface/val.csv',
        data_prefix=dict(img='utkface_crops'),
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='AgeGenderRaceMetric')
test_evaluator = val_evaluator
