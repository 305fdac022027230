_base_ = '../../detection/_base_/default_runtime.py'
default_hooks = dict(checkpoint=dict(save_best='wider/hard_ap'))
custom_hooks = [
    dict(type='CheckInvalidLossHook', interval=50, priority='VERY_LOW'),
    dict(type='SyncBuffersHook'),
    dict(type='CurvesHook'),
    dict(type='PretrainedHook'),
]
