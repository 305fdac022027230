# Shallow MobileNet, without the five blocks of 14x14x512: the paper's Table 5: 65.3 % top-1, 307 M mult-adds, 2.9 M
# params.
_base_ = 'mbv1_1.0-224_imagenet.py'
model = dict(backbone=dict(variant='shallow'))
