# Paper, 4.7 and Table 14, in colour: squared differences to what teachers say, who were run once on the pictures that
# the student sees. The start is the strongest MobileNetV1 of faces that there is, and the images are fed as to that one:
#   mbv1 train configs/face/facenet_mbv1_1.0-160_color.py --pretrained vladmandic/facenet_mobilenetv1_vggface2
_base_ = [
    '_base_/models/mbv1_embedding_160.py',
    '_base_/datasets/faces_160_targets.py',
    '_base_/schedules/adamw_cosine_12e.py',
    '_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(gray=False, mean=[123.68, 116.779, 103.939], std=[1.0, 1.0, 1.0]),
    backbone=dict(frozen_stages=5),  # edges and textures are the same in any photograph; a half of the time
    losses=dict(type='DistillationLoss'))
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
custom_hooks = [*_base_.custom_hooks, dict(type='FitHeadHook')]
