# The paper's recipe (3.2): RMSProp, no label smoothing, no decay on depthwise filters. It states no number: these are
# Inception V3's, which it refers to (arXiv:1512.00567, section 8): decay .9, epsilon 1, rate .045, times .94 every two
# epochs, gradients clipped at 2, 100 epochs; momentum .9 as TensorFlow-slim has it. The updates are synchronous here,
# the paper's asynchronous. TensorFlow adds epsilon inside the square root and starts the mean square at 1, PyTorch
# outside and at 0: steps are alike while the mean square is far below 1.
max_epochs = 100
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = dict(type='StepLR', by_epoch=True, step_size=2, gamma=0.94)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='RMSprop', lr=0.045, alpha=0.9, momentum=0.9, eps=1.0, weight_decay=4e-5),
    paramwise_cfg=dict(dwconv_decay_mult=0.0, norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=2.0))
auto_scale_lr = dict(enable=False, base_batch_size=256)
