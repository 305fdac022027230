from .anchors import MobileSSDAnchorGenerator as MobileSSDAnchorGenerator
from .coco_data import CheckedCocoDataset as CheckedCocoDataset, CheckedCocoMetric as CheckedCocoMetric
from .drawing import DrawDetectionsHook as DrawDetectionsHook
from .shared_head import MobileNetV1SharedHead as MobileNetV1SharedHead
from .ssd_head import MobileSSDHead as MobileSSDHead
from .transforms import FastMinIoURandomCrop as FastMinIoURandomCrop, LoadImage as LoadImage
