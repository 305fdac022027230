# Age, gender and race by the labels of UTKFace.
_base_ = [
    '_base_/models/mbv1_age_gender_race_224.py',
    '_base_/datasets/utkface_224.py',
    '_base_/schedules/adamw_cosine_12e.py',
    '_base_/default_runtime.py',
]
default_hooks = dict(checkpoint=dict(save_best=None))  # the last epoch counts
custom_hooks = _base_.custom_hooks[1:]  # people are not what is told apart
param_scheduler = _base_.param_scheduler
param_scheduler[0].end = 37  # an epoch of 2400 images
