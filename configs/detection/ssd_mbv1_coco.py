# SSD300 MobileNetV1 on COCO: the paper's Table 13, 1.2 B mult-adds and 6.8 M params at 90 classes.
_base_ = [
    '_base_/models/ssd300_mbv1.py',
    '_base_/datasets/coco_300.py',
    '_base_/schedules/sgd_cosine_120e.py',
    '_base_/default_runtime.py',
]
