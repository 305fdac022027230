# What timm's 75.4 % of the same network was trained with (https://huggingface.co/blog/rwightman/mobilenet-baselines):
# MobileNetV4's recipe for its small network, whose numbers are published and stand here (rate .002 at a batch of 4096,
# beta1 .6, epsilon 1e-6, decay .01, five epochs of warm-up, cosine, average of the weights at .9999:
# https://github.com/tensorflow/models/blob/master/official/vision/configs/experiments/image_classification/imagenet_mobilenetv4_conv_small_tpu.yaml),
# for 3600 epochs. timm's own file is not published: it says "inspired by" these, "with timm enhancements".
max_epochs = 3600
warmup_epochs = 5
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-3,
        by_epoch=True,
        begin=0,
        end=warmup_epochs,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        begin=warmup_epochs,
        end=max_epochs,
        T_max=max_epochs - warmup_epochs,
        eta_min=0,
        by_epoch=True,
        convert_to_iter_based=True),
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-3, betas=(0.6, 0.999), eps=1e-6, weight_decay=0.01),
    paramwise_cfg=dict(dwconv_decay_mult=0.0, norm_decay_mult=0.0, bias_decay_mult=0.0))
auto_scale_lr = dict(enable=False, base_batch_size=4096)
