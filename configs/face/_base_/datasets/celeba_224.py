# CelebA's files as they come. To distil: train_dataloader.dataset.teacher_file, an .npz file with files, names and
# attributes, the teacher's probabilities for any images: labels are not needed (paper, 4.5).
data_source = 'CelebA (aligned and cropped images) comes from http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html'
data_root = 'data/celeba/'
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
        type='CelebA',
        split='train',
        data_root=data_root,
        ann_file='list_attr_celeba.txt',
        data_prefix=dict(img='img_align_celeba'),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CelebA',
        split='val',
        data_root=data_root,
        ann_file='list_attr_celeba.txt',
        data_prefix=dict(img='img_align_celeba'),
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = dict(
    batch_size=64,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CelebA',
        split='test',
        data_root=data_root,
        ann_file='list_attr_celeba.txt',
        data_prefix=dict(img='img_align_celeba'),
        test_mode=True,
        pipeline=test_pipeline))
val_evaluator = dict(type='AttributeMetric')
test_evaluator = val_evaluator
