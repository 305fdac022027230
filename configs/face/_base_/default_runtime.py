default_scope = 'mmengine'
custom_imports = dict(imports=['mbv1_backbone'], allow_failed_imports=False)

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=20),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='SafeCheckpointHook', interval=1, max_keep_ckpts=2, save_best='face/accuracy', rule='greater'),
    sampler_seed=dict(type='DistSamplerSeedHook'))
custom_hooks = [
    dict(type='DisjointPeopleHook'),  # nobody in training and in the test
    dict(type='SyncBuffersHook'),
    dict(type='CurvesHook'),
    dict(type='PretrainedHook'),
]
env_cfg = dict(cudnn_benchmark=True, mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='Visualizer', vis_backends=vis_backends)
log_processor = dict(window_size=20)
log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=0)
