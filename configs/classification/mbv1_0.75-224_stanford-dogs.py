# 0.75 MobileNet-224: Table 10, 81.9 % top-1, 325 M mult-adds, 1.9 M params. Not trained here.
_base_ = 'mbv1_1.0-224_stanford-dogs.py'
model = dict(backbone=dict(widen_factor=0.75), head=dict(in_channels=768))
