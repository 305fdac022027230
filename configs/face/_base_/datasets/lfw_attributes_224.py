# The paper's recipe (4.5): probabilities that a large network gives for CelebA's 40 attributes are the targets. Labels
# of them, for comparison: --cfg-options train_dataloader.dataset.hard=True
data_source = (
    'LFW in colour as folders of people, lists of people for training and held out (mbv1 faces split), and a CSV file '
    'attributes_soft.csv: file, and a column of probabilities for each attribute')
data_root = 'data/lfw_color/'
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
        type='AttributeDataset',
        data_root=data_root,
        ann_file='attributes_soft.csv',
        identities_file='train_identities.txt',
        data_prefix=dict(img='images'),
        hard=False,
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='AttributeDataset',
        data_root=data_root,
        ann_file='attributes_soft.csv',
        identities_file='dev_identities.txt',
        data_prefix=dict(img='images'),
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='AttributeMetric', min_images=5)  # of 1177 images
test_evaluator = val_evaluator
