# SSD300 MobileNetV1 built as TensorFlow's, with SAME padding everywhere: for detectors of the Object Detection API, and
# for finetuning them:
#   mbv1 weights import ssd_mobilenet_v1_coco/frozen_inference_graph.pb --out ssd.safetensors
#   mbv1 detect configs/detection/ssd_mbv1_tf_coco.py ssd.safetensors photo.jpg --out-dir detections
_base_ = 'ssd_mbv1_coco.py'
model = dict(
    backbone=dict(padding='same'),
    neck=dict(conv_cfg=dict(type='Conv2dSame')))
