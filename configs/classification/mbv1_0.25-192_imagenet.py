_base_ = 'mbv1_1.0-192_imagenet.py'
model = dict(backbone=dict(widen_factor=0.25), head=dict(in_channels=256))
