# 1.0 MobileNet-224: the paper's Tables 4 to 8, 70.6 % top-1, 569 M mult-adds, 4.2 M params. 100 epochs of ImageNet:
# 128 M images, some four days of one GPU that trains 370 images a second. The batch of 256 is 8 processes of 32:
# tools/dist_train.sh CONFIG 8; other batches: mbv1 train --auto-scale-lr. Not trained here.
_base_ = [
    '_base_/models/mbv1_224.py',
    '_base_/datasets/imagenet_224.py',
    '_base_/schedules/rmsprop_exp_100e.py',
    '_base_/default_runtime.py',
]
