# Faces cut out and aligned (mbv1 faces crop), and what two teachers say of them, of their mirror images and of
# blends of two (mbv1 faces targets). The development people are LFW's, in nobody's training.
_base_ = 'lfw_160.py'
data_source = 'faces of any source, aligned, and the targets of teachers: see "Distillation" in docs/faces.md.'
train_pipeline = [
    dict(type='LoadRecipe', size=160),
    dict(type='MoveFace', size=160),
    dict(type='LightFace'),
    dict(type='PackFace'),
]
train_dataloader = dict(
    _delete_=True,
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='DistillationDataset',
        data_root='data/faces/',
        targets_file='targets.npz',
        data_prefix=dict(img='crops'),
        pipeline=train_pipeline))
