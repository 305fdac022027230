_base_ = 'age_gender_race_mbv1_1.0-128_utkface.py'
model = dict(backbone=dict(widen_factor=0.25))
