# Faster R-CNN with a feature pyramid on taps 3, 5, 11 and 13 (strides 4 to 32), at 600 x 600.
_base_ = [
    '_base_/models/faster_rcnn_mbv1_fpn.py',
    '_base_/datasets/coco_600.py',
    '_base_/schedules/sgd_cosine_120e.py',
    '_base_/default_runtime.py',
]
optim_wrapper = dict(optimizer=dict(lr=0.02), clip_grad=dict(max_norm=10))
train_dataloader = dict(batch_size=2)
auto_scale_lr = dict(base_batch_size=16)
