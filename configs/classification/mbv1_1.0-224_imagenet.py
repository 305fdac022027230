# 1.0 MobileNet-224: the paper's Tables 4 to 8, 70.6 % top-1, 569 M mult-adds, 4.2 M params. 100 epochs of ImageNet are
# 128 M images, 100 days at the 15 images a second that one CPU core trains in float32: a matter for GPUs. The batch of
# 256 is 8 processes of 32: tools/dist_train.sh CONFIG 8; other batches: mbv1 train --auto-scale-lr. Not trained here.
_base_ = [
    '_base_/models/mbv1_224.py',
    '_base_/datasets/imagenet_224.py',
    '_base_/schedules/rmsprop_exp_100e.py',
    '_base_/default_runtime.py',
]
