_base_ = 'mmpretrain::_base_/default_runtime.py'
custom_imports = dict(imports=['mbv1_backbone'], allow_failed_imports=False)

default_hooks = dict(
    logger=dict(interval=20),
    checkpoint=dict(
        type='SafeCheckpointHook', interval=1, max_keep_ckpts=3, save_best='accuracy/top1', rule='greater'))
custom_hooks = [
    dict(type='SyncBuffersHook'),  # processes evaluate with the same batch norm statistics
    dict(type='CurvesHook'),
    dict(type='PretrainedHook'),  # warns where preprocessing is not that of the pre-trained weights
]
log_processor = dict(window_size=20)
randomness = dict(seed=0)
