_base_ = 'facenet_mbv1_1.0-160_triplet.py'
model = dict(backbone=dict(widen_factor=0.75))
