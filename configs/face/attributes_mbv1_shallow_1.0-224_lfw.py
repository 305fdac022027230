# Beside the paper's grid: the shallow network of its Table 5, for which there are no ImageNet weights.
_base_ = 'attributes_mbv1_1.0-224_lfw.py'
model = dict(backbone=dict(variant='shallow'))
