_base_ = 'mbv1_1.0-160_imagenet.py'
model = dict(backbone=dict(widen_factor=0.5), head=dict(in_channels=512))
