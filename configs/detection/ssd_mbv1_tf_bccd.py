# Blood cells from weights of TensorFlow: SAME padding in the backbone, bytes less 128 over 128. What
#   tools/train.py configs/detection/ssd_mbv1_bccd.py --pretrained mobilenet_v1_1.0_224_quant.tflite
# makes of that config; for evaluating and using what was trained so.
_base_ = 'ssd_mbv1_bccd.py'
model = dict(
    data_preprocessor=dict(mean=[128.0, 128.0, 128.0], std=[128.0, 128.0, 128.0]),
    backbone=dict(padding='same'))
