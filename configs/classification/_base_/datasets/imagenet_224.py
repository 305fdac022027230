# ImageNet as MMPretrain has it: train/SYNSET/*.JPEG, and val/ with meta/val.txt or in folders too. The smallest crops
# are larger than Inception's (.08 of the image): the paper limits them for its small networks (section 3.2). Resized by
# Pillow, with its antialiasing, as every verb and every exported classifier does.
_base_ = 'mmpretrain::_base_/datasets/imagenet_bs32.py'
data_source = 'ImageNet 2012 comes from https://image-net.org/download: unpack it into train/SYNSET and val/SYNSET.'

data_root = 'data/imagenet'
train_pipeline = [
    dict(type='LoadPhoto'),
    dict(type='RandomResizedCrop', scale=224, crop_ratio_range=(0.35, 1.0), backend='pillow'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadPhoto'),
    dict(type='MiddleSquare', size=224, crop=0.875),  # as ImageNet is evaluated: 224 of 256
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
