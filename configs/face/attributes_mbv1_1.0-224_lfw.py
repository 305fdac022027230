# Paper, 4.5 and Table 12, on LFW: a large network's outputs for CelebA's 40 attributes are distilled.
_base_ = [
    '_base_/models/mbv1_attributes_224.py',
    '_base_/datasets/lfw_attributes_224.py',
    '_base_/schedules/adamw_cosine_12e.py',
    '_base_/default_runtime.py',
]
default_hooks = dict(checkpoint=dict(save_best=None))  # the last epoch counts: nothing is chosen on held-out people
custom_hooks = _base_.custom_hooks[1:]  # people are not what is told apart
