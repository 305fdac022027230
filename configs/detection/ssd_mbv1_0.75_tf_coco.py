# SSD300 MobileNetV1 of width .75 built as TensorFlow's: SAME padding everywhere, bytes less 128 over 128. For
# Google's released COCO detector, and for finetuning it:
#   mbv1 weights import ssd_mobilenet_v1_0.75_coco_quant.tflite --out ssd_0.75.safetensors
_base_ = 'ssd_mbv1_tf_coco.py'
model = dict(
    data_preprocessor=dict(mean=[128.0, 128.0, 128.0], std=[128.0, 128.0, 128.0]),
    backbone=dict(widen_factor=0.75),
    neck=dict(
        in_channels=(384, 768),
        out_channels=(384, 768, 384, 192, 192, 96)),
    bbox_head=dict(in_channels=(384, 768, 384, 192, 192, 96)))
