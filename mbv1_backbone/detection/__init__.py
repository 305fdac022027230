"""SSD on MobileNetV1 for MMDetection; importing it registers the heads, anchors, transforms and hooks."""

from mmdet.models.dense_heads import SSDHead

from mbv1_backbone.detection.anchors import MobileSSDAnchorGenerator
from mbv1_backbone.detection.drawing import DrawDetectionsHook
from mbv1_backbone.detection.shared_head import MobileNetV1SharedHead
from mbv1_backbone.detection.ssd_head import MobileSSDHead
from mbv1_backbone.detection.transforms import FastMinIoURandomCrop, LoadImage

if not hasattr(SSDHead, 'loss_cls'):
    # mmdet 3.3.0's own SSDHead never runs the constructor that sets it, and prediction asks for it
    # (mmdetection issues 11063, 11305, 11780). Its loss is cross entropy whatever this says.
    SSDHead.loss_cls = None

__all__ = [
    'DrawDetectionsHook',
    'FastMinIoURandomCrop',
    'LoadImage',
    'MobileNetV1SharedHead',
    'MobileSSDAnchorGenerator',
    'MobileSSDHead',
]
