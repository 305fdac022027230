# 0.75 MobileNet-192: Table 10, 80.5 % top-1, 239 M mult-adds, 1.9 M params. Not trained here.
_base_ = 'mbv1_1.0-192_stanford-dogs.py'
model = dict(backbone=dict(widen_factor=0.75), head=dict(in_channels=768))
