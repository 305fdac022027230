# RetinaFace (https://arxiv.org/abs/1905.00641) on MobileNetV1 .25: boxes and five landmarks, images of any size.
# To use the released weights: biubug6/retinaface_mobilenet0.25 in the zoo. To train, start from ImageNet's weights:
#   mbv1 train configs/face/retinaface_mbv1_0.25.py --pretrained FILE
_base_ = [
    '_base_/models/retinaface_mbv1.py',
    '_base_/datasets/wider_640.py',
    '_base_/schedules/sgd_steps_250e.py',
    '_base_/wider_runtime.py',
]
