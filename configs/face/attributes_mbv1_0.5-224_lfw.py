_base_ = 'attributes_mbv1_1.0-224_lfw.py'
model = dict(backbone=dict(widen_factor=0.5))
