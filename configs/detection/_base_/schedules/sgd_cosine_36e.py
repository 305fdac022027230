# Of a few hundred photographs, from pre-trained weights: a short warm-up, and gradients of two stages clipped.
_base_ = 'sgd_cosine_120e.py'
max_epochs = 36
train_cfg = dict(max_epochs=max_epochs, val_interval=6)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min=0,
        by_epoch=True,
        convert_to_iter_based=True),
]
optim_wrapper = dict(clip_grad=dict(max_norm=10))
