# Paper, Table 12: attributes of CelebA's kind, 40 of them.
_base_ = [
    '_base_/models/mbv1_attributes_224.py',
    '_base_/datasets/celeba_224.py',
    '_base_/schedules/adamw_cosine_12e.py',
    '_base_/default_runtime.py',
]
default_hooks = dict(checkpoint=dict(save_best='attributes/mAP'))
custom_hooks = _base_.custom_hooks[1:]  # people are not what is told apart
