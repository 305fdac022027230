# The training people, and the development people, nobody in both. The images are LFW's, square, 160 pixels.
data_source = 'LFW as folders of people, with lists of people and pairs: see "Faces" in the README.'
data_root = 'data/lfw/'
train_pipeline = [
    dict(type='LoadFace', size=160),
    dict(type='FlipFace'),
    dict(type='MoveFace', size=160),
    dict(type='LightFace'),
    dict(type='PackFace'),
]
test_pipeline = [
    dict(type='LoadFace', size=160),
    dict(type='PackFace'),
]
train_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='FaceDataset',
        data_root=data_root,
        identities_file='train_identities.txt',
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='FaceDataset',
        data_root=data_root,
        identities_file='dev_identities.txt',
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='FaceMetric',
    data_root=data_root,
    pairs='dev_pairs.csv',
    gallery='dev_gallery.csv',
    probes='dev_probes_known.csv',
    unknown='dev_probes_unknown.csv')
test_evaluator = val_evaluator
