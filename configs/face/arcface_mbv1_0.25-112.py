_base_ = 'arcface_mbv1_1.0-112.py'
model = dict(backbone=dict(widen_factor=0.25))
