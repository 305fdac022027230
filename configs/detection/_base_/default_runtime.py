_base_ = 'mmdet::_base_/default_runtime.py'
custom_imports = dict(imports=['mbv1_backbone'], allow_failed_imports=False)

default_hooks = dict(
    logger=dict(interval=20),
    checkpoint=dict(
        type='SafeCheckpointHook', interval=1, max_keep_ckpts=3, save_best='coco/bbox_mAP', rule='greater'))
custom_hooks = [
    dict(type='NumClassCheckHook'),
    dict(type='CheckInvalidLossHook', interval=50, priority='VERY_LOW'),
    dict(type='SyncBuffersHook'),  # processes evaluate with the same batch norm statistics
    dict(type='CurvesHook'),
    dict(type='PretrainedHook'),  # warns where preprocessing is not that of the pre-trained weights
]

vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
visualizer = dict(vis_backends=vis_backends)
log_processor = dict(window_size=20)
randomness = dict(seed=0)
