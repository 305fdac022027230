# Conv MobileNet: full convolutions in the place of separable ones, the paper's Table 4: 71.7 % top-1, 4866 M mult-adds,
# 29.3 M params: eight times the cost of training of MobileNet itself.
_base_ = 'mbv1_1.0-224_imagenet.py'
model = dict(backbone=dict(variant='full'))
