"""Small networks of each kind as graphs, for the formats that are written from plans."""

from dataclasses import asdict, replace

import numpy as np
import torch
from mmengine.registry import MODELS, init_default_scope

from mbv1_backbone.export.detectors import detector_graph_of
from mbv1_backbone.export.graphs import BackboneGraph, ClassifierGraph, Normalise
from mbv1_backbone.models.mobilenet_v1 import MobileNetV1
from mbv1_backbone.models.recipe import Recipe, recipe_of
from mbv1_backbone.runtime.spec import ModelSpec
from mbv1_backbone.training import load_config
from support.project import ROOT

IMAGENET = dict(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))


def patterns(count, size=64, seed=0):
    small = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return np.stack([np.kron(image, np.ones((size // 4, size // 4, 1), np.uint8)) for image in small])


def small_backbone(**options):
    torch.manual_seed(0)
    backbone = MobileNetV1(0.25, **options)
    return settled(backbone, backbone)


def settled(model, forward, size=64):
    """Batch norms with the statistics of patterns, so that the layers of a random network say something."""
    for module in model.train().modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.3)
    with torch.no_grad():
        forward((torch.from_numpy(patterns(16, size, seed=2)).permute(0, 3, 1, 2) - 127.5) / 60)
    return model.eval()


def spec_of(kind, recipe, size=64, precision='fp32', **options):
    return ModelSpec(kind, (size, size), precision, '0' * 64, asdict(recipe), any_size=True, **options)


def classifier(precision='fp32', normalise=IMAGENET, background=0, **options):
    backbone = small_backbone(**options)
    pooled = torch.nn.Module()
    pooled.backbone = backbone
    pooled.forward = lambda x: backbone(x)[-1].mean((2, 3))
    linear = torch.nn.Linear(256, 11)
    torch.nn.init.normal_(linear.weight, 0, 0.3)
    network = torch.nn.Sequential(pooled, linear)
    recipe = Recipe('test', 0.25, **backbone.built_with, **normalise, input_size=64, background=background)
    graph = ClassifierGraph(network, Normalise(recipe.mean, recipe.std), background)
    return graph, spec_of('classifier', recipe, precision=precision)


def taps(out_indices=(5, 11, 13), precision='fp32', normalise=IMAGENET, **options):
    """A backbone's graph and spec."""
    backbone = small_backbone(out_indices=out_indices, **options)
    recipe = Recipe('test', 0.25, **backbone.built_with, **normalise, input_size=64)
    graph = BackboneGraph(backbone, Normalise(recipe.mean, recipe.std))
    return graph, spec_of('backbone', recipe, precision=precision)


def two_stages():
    """A Faster R-CNN's graph and spec, which plans have no operators for."""
    cfg = load_config(str(ROOT / 'configs' / 'detection' / 'faster_rcnn_mbv1_300_coco.py')).model
    init_default_scope('mmdet')
    model = MODELS.build(dict(cfg, _scope_='mmdet')).eval()
    return detector_graph_of(model, (64, 64)), ssd_spec(model, 64)


def small_ssd(name='ssdlite_mbv1_coco', background=True, size=128, classes=3):
    """Random weights, with scores far enough from each other."""
    torch.manual_seed(0)
    cfg = load_config(str(ROOT / 'configs' / 'detection' / f'{name}.py')).model
    channels = (128, 256, 64, 64, 64, 32)
    cfg.backbone.widen_factor = 0.25
    cfg.neck.in_channels, cfg.neck.out_channels = channels[:2], channels
    cfg.bbox_head.in_channels, cfg.bbox_head.num_classes = channels, classes
    cfg.bbox_head.anchor_generator.input_size, cfg.bbox_head.background_logit = size, background
    cfg.test_cfg.update(score_thr=0.3, max_per_img=20, nms=dict(type='nms', iou_threshold=0.5))
    init_default_scope('mmdet')
    model = MODELS.build(dict(cfg, _scope_='mmdet'))
    model.init_weights()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if 'bbox_head' in key and parameter.ndim > 1 and parameter.shape[1] > 1:
                parameter.normal_(0, 0.3 if 'cls' in key else 0.05)
    return settled(model, lambda images: model.bbox_head(model.extract_feat(images)), size)


def ssd_spec(model, size=128, precision='fp32', classes=('a', 'b', 'c')):
    recipe = recipe_of(model, 'test')
    return replace(spec_of('detector', recipe, size, precision), any_size=False, classes=classes)
