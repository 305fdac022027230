# Faster R-CNN MobileNetV1 at 300 x 300: the paper's Table 13, 25.2 B mult-adds and 6.1 M params at 90 classes.
# Anchors have half the sizes of those at 600 pixels.
_base_ = [
    '_base_/models/faster_rcnn_mbv1.py',
    '_base_/datasets/coco_300.py',
    '_base_/schedules/sgd_cosine_120e.py',
    '_base_/default_runtime.py',
]
model = dict(rpn_head=dict(anchor_generator=dict(scales=[2, 4, 8, 16])))
optim_wrapper = dict(optimizer=dict(lr=0.02), clip_grad=dict(max_norm=10))
train_dataloader = dict(batch_size=8)
auto_scale_lr = dict(base_batch_size=16)
