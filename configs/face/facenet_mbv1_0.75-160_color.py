# From Google's ImageNet weights: mbv1 train configs/face/facenet_mbv1_0.75-160_color.py --pretrained
_base_ = 'facenet_mbv1_1.0-160_color.py'
model = dict(
    data_preprocessor=dict(mean=[128.0, 128.0, 128.0], std=[128.0, 128.0, 128.0]),
    backbone=dict(widen_factor=0.75, frozen_stages=-1))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
