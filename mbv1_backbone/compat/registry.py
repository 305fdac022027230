"""Our names in mmengine's registries, each loaded when it is first asked for."""

from __future__ import annotations

import functools
import time
from importlib import import_module
from typing import Any

__all__ = ['NAMES', 'extend', 'use_scope']

# What each module registers. A test compares it with the decorators in the code.
NAMES: dict[str, tuple[str, ...]] = {
    'classification.heads': ('DropoutLinearClsHead',),
    'classification.place_data': ('PlacesDataset',),
    'classification.place_head': ('PlacesHead',),
    'classification.place_metric': ('PlacesMetric',),
    'classification.transforms': ('LoadPhoto', 'MiddleSquare'),
    'detection.anchors': ('MobileSSDAnchorGenerator',),
    'detection.coco_data': ('CheckedCocoDataset', 'CheckedCocoMetric'),
    'detection.drawing': ('DrawDetectionsHook',),
    'detection.shared_head': ('MobileNetV1SharedHead',),
    'detection.ssd_head': ('MobileSSDHead',),
    'detection.transforms': ('BoundedResize', 'FastMinIoURandomCrop', 'LoadImage'),
    'face.age_gender': ('AgeGenderModel',),
    'face.age_gender_race': ('AgeGenderRaceMetric', 'AgeGenderRaceModel'),
    'face.attribute_data': ('AttributeDataset', 'CelebA'),
    'face.attributes': ('AttributeMetric', 'FaceAttributeModel'),
    'face.datasets': ('FaceDataset',),
    'face.detectors.dataset': ('CropPhoto', 'FlipPhoto', 'LoadFaceBoxes', 'PackPhoto', 'WiderFaces'),
    'face.detectors.landmark_head': ('RetinaFaceHead',),
    'face.detectors.retinaface': ('RetinaFaceNeck',),
    'face.distillation': ('DistillationDataset', 'LoadRecipe'),
    'face.evaluation.metric': ('DisjointPeopleHook', 'FaceMetric'),
    'face.evaluation.wider': ('WiderFaceMetric',),
    'face.head_fit': ('FitHeadHook',),
    'face.losses': ('ArcFaceLoss', 'CosFaceLoss', 'DistillationLoss', 'SemiHardTripletLoss'),
    'face.model': ('EmbeddingHead', 'FaceEmbeddingModel', 'FacePreprocessor'),
    'face.sampler': ('PKBatchSampler',),
    'face.teachers': ('NcnnTeacher', 'OnnxTeacher', 'TorchScriptTeacher'),
    'face.transforms': ('BlendFaces', 'FlipFace', 'LightFace', 'LoadFace', 'MoveFace', 'PackFace'),
    'face.utkface': ('UTKFace',),
    'geolocation.nearest': ('NearestPhotographHook',),
    'models.layers': ('Conv2dSame', 'SteadyBN'),
    'models.mobilenet_v1': ('MobileNetV1',),
    'models.pretrained': ('PretrainedHook',),
    'training.averaging': ('RunEMAHook', 'StopEarlyHook'),
    'training.checkpoint_hook': ('SafeCheckpointHook',),
    'training.recalibration': ('RecalibrateHook',),
    'training.curves': ('CurvesHook',),
    'training.mosaic': ('MosaicOffHook',),
    'training.precision': ('BFloat16OptimWrapper',),
    'training.qat': ('QuantiseHook',),
    'training.time_budget': ('TimedRateHook', 'TimedTrainLoop'),
    'training.warm_start': ('WarmStartHook',),
}
_MODULES = {name: f'mbv1_backbone.{module}' for module, names in NAMES.items() for name in names}


def extend(registry: Any) -> None:
    """Let every registry load the module that registers one of our names, where it is asked for one.

    mmengine's own way, ``Registry(locations=...)``, is for the registries that a project makes, and ours
    go into mmengine's root registries, whose locations their children (mmdet's, mmpretrain's) do not
    import (https://github.com/open-mmlab/mmengine/blob/v0.10.7/mmengine/registry/registry.py#L402).

    Args:
        registry: mmengine's class ``Registry``; its ``get`` is wrapped, once.
    """
    if not hasattr(registry.get, '__wrapped__'):
        registry.get = _loading(registry.get)


def _loading(get: Any) -> Any:
    @functools.wraps(get)
    def get_or_load(self: Any, key: str) -> Any:
        found = get(self, key)
        module = _MODULES.get(key.rpartition('.')[2])
        if found is not None or module is None:
            return found
        import_module(module)
        return get(self, key)

    return get_or_load


def use_scope(scope: str) -> None:
    """Make a scope mmengine's default one, whichever it was: its own function warns on standard output.

    Args:
        scope: Of a registry: ``mmdet``, ``mmpretrain``, ...
    """
    from mmengine.registry import DefaultScope

    current = DefaultScope.get_current_instance()
    if current is None or current.scope_name != scope:
        DefaultScope.get_instance(f'{scope}-{time.time_ns()}', scope_name=scope)
