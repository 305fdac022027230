"""Whole networks as plans in float32, from bytes of an image to predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.export.graphs import BackboneGraph, ClassifierGraph, EmbedderGraph, Graph, Normalise
from mbv1_backbone.export.plans.layers import OTHER_FORMATS, add_backbone, add_layers, add_linear
from mbv1_backbone.export.plans.plan import Candidates, Operator, Plan, Quantisation, Target

__all__ = ['MIN_SCORE', 'plan_of']

# Of a detection. Suppression takes longer than the network where every box of many classes takes part in it
# (53 ms with 80 classes in place of 11), so that there is more to it with more classes: .02 with COCO's 80,
# where AP is the same to the last digit.
MIN_SCORE = 0.002
_MIN_SCORE_A_CLASS = 1 / 4000


@torch.no_grad()
def plan_of(graph: Graph, size: tuple[int, int], target: Target) -> Plan:
    """A graph as operators, one image at a time, in float32.

    Takes ``images``, uint8 (1, H, W, 3) in RGB. A classifier gives probabilities (1, classes), an
    embedder an embedding of length 1 (1, D), a backbone a map a tap (1, h, w, channels), a detector what the
    target makes of its candidates; all in float32.

    Args:
        graph: Of a classifier, an embedder, a backbone, or an SSD.
        size: Height and width of its images, in pixels.
        target: The format that it is for.

    Raises:
        InputError: If something in it has no operator here; the message names it, and formats that have it.
    """
    plan = Plan(target.name)
    graph.eval()
    x = _add_normalise(plan, graph.normalise, size)  # type: ignore[arg-type]
    if isinstance(graph, ClassifierGraph):
        plan.outputs = (_add_classifier(plan, x, graph),)
    elif isinstance(graph, EmbedderGraph):
        plan.outputs = (_add_embedder(plan, x, graph),)
    elif isinstance(graph, BackboneGraph):
        plan.outputs = tuple(add_backbone(plan, x, graph.backbone))
    else:
        plan.outputs = target.add_detections(plan, _add_detector(plan, x, graph, size, target))
    return plan


def _add_normalise(plan: Plan, normalise: Normalise, size: tuple[int, int]) -> str:
    """From bytes to what the network wants: one operator where mean and deviation are of all colours."""
    if any(side % normalise.divisor for side in size):
        raise InputError(f'{plan.format}: sides must be multiples of {normalise.divisor} pixels, got {size}')
    factors = normalise.scale.double().flatten()
    mean = (-normalise.shift.double().flatten() / factors).round(decimals=4).tolist()
    std = (1 / factors).round(decimals=4).tolist()
    plan.mean, plan.std = tuple(mean), tuple(std)
    x, side = plan.tensor('images', (1, *size, 3), 'uint8'), tuple(size)
    if normalise.window is not None:
        top, left, length = normalise.window
        begin = plan.constant('window/begin', np.array([0, top, left, 0], np.int32))
        extent = plan.constant('window/size', np.array([1, length, length, 3], np.int32))
        side = (length, length)
        plan.operators.append(Operator('SLICE', (x, begin, extent), ('window',), {}))
        x = plan.tensor('window', (1, *side, 3), 'uint8')
    at_once = len(set(mean)) == len(set(std)) == 1 and mean[0].is_integer() and not normalise.gray
    scale = Quantisation.of(1 / std[0], int(mean[0])) if at_once else Quantisation.of(1.0, 0)
    for name in {'images', x}:
        plan.tensor(name, plan.values[name].shape, 'uint8', scale)
    x = plan.add('DEQUANTIZE', [x], 'pixels' if not at_once else 'normalised')
    if normalise.gray:
        luma = np.tile(normalise.luma.numpy().reshape(1, 1, 1, 3), (3, 1, 1, 1))
        weights = plan.constant('luma/weights', luma), plan.constant('luma/bias', np.zeros(3, np.float32))
        options: dict[str, Any] = dict(strideH=1, strideW=1, padding=0, fusedActivationFunction=0)
        x = plan.add('ROUND', [plan.add('CONV_2D', [x, *weights], 'luma', **options)], 'gray')
    if at_once:
        return x
    x = plan.add('SUB', [x, plan.constant('mean', np.array(mean, np.float32))], 'centred')
    factor = plan.constant('factor', normalise.scale.flatten().numpy())
    return plan.add('MUL', [x, factor], 'normalised', (1, *side, 3))


def _add_pooled(plan: Plan, x: str) -> str:
    axes = plan.constant('pooled/axes', np.array([1, 2], np.int32))
    return plan.add('MEAN', [x, axes], 'pooled', (1, 1, 1, plan.values[x].shape[3]), keepDims=True)


def _add_reshaped(plan: Plan, x: str, name: str, shape: Sequence[int]) -> str:
    sizes = plan.constant(f'{name}/shape', np.array(shape, np.int32))
    return plan.add('RESHAPE', [x, sizes], name, shape, newShape=list(shape))


def _add_classifier(plan: Plan, x: str, graph: ClassifierGraph) -> str:
    backbone, head = _parts_of_classifier(graph.network, plan.format)
    linear = nn.Linear(head.in_features, head.out_features, bias=True)
    weight, bias = head.weight.detach(), head.bias.detach()
    if graph.background is not None:  # its row is left out
        rows = [row for row in range(len(weight)) if row != graph.background]
        weight, bias = weight[rows], bias[rows]
    linear.weight, linear.bias = nn.Parameter(weight), nn.Parameter(bias)
    pooled = _add_pooled(plan, add_backbone(plan, x, backbone)[-1])
    logits = add_linear(plan, pooled, linear, 'head.fc')
    flat = _add_reshaped(plan, logits, 'logits', (1, len(weight)))
    return plan.add('SOFTMAX', [flat], 'probabilities', beta=1.0)


def _parts_of_classifier(network: Any, target: str) -> tuple[Any, nn.Linear]:
    """Backbone and last layer of an imported classifier, or of MMPretrain's with one linear layer.

    Raises:
        InputError: If it is of another kind.
    """
    if isinstance(network, nn.Sequential):
        return network[0].backbone, network[1]  # type: ignore[return-value]
    model = network.model
    fc, neck = getattr(model.head, 'fc', None), type(getattr(model, 'neck', None)).__name__
    if not isinstance(fc, nn.Linear) or fc.bias is None or neck != 'GlobalAveragePooling':
        raise InputError(
            f'{target} files hold classifiers with GlobalAveragePooling and one linear layer, not {neck} and '
            f'{type(model.head).__name__}; {OTHER_FORMATS}'
        )
    return model.backbone, fc


def _add_embedder(plan: Plan, x: str, graph: EmbedderGraph) -> str:
    head = graph.model.head
    pooled = _add_pooled(plan, add_backbone(plan, x, graph.model.backbone)[-1])
    if isinstance(head.fc, nn.Linear):
        pooled = add_linear(plan, pooled, head.fc, 'head.fc', head.norm, 'head.norm')
    elif not isinstance(head.norm, nn.Identity):
        raise InputError(f'{plan.format} files hold no batch norm without a layer before it; {OTHER_FORMATS}')
    flat = _add_reshaped(plan, pooled, 'features', (1, plan.values[pooled].shape[3]))
    return plan.add('L2_NORMALIZATION', [flat], 'embeddings', fusedActivationFunction=0)


def _add_detector(plan: Plan, x: str, graph: Any, size: tuple[int, int], target: Target) -> Candidates:
    model = graph.model
    if hasattr(model, 'roi_head'):
        raise InputError(
            f'{type(model).__name__}: {plan.format} files of this project have no operator RoIAlign, which '
            f'its second stage needs; {OTHER_FORMATS}'
        )
    head: Any = model.bbox_head
    neck: Any = getattr(model, 'neck', None)
    if type(head).__name__ != 'MobileSSDHead' or type(neck).__name__ != 'SSDNeck' or hasattr(neck, 'l2_norm'):
        raise InputError(
            f'{plan.format} files hold SSD and SSDLite (SSDNeck without l2_norm, MobileSSDHead), not '
            f'{type(neck).__name__} and {type(head).__name__}; {OTHER_FORMATS}'
        )
    levels = add_backbone(plan, x, model.backbone)
    for index, layer in enumerate(neck.extra_layers):
        levels.append(add_layers(plan, levels[-1], layer, f'neck.extra_layers.{index}'))
    parts: dict[str, list[str]] = dict(cls=[], reg=[])
    classes = _background_first(head) if target.background else list(range(head.num_classes))
    for level, name in enumerate(levels):
        boxes = head.prior_generator.num_base_priors[level]
        cells = boxes * plan.values[name].shape[1] * plan.values[name].shape[2]
        for branch, order in (('reg', target.box_order), ('cls', classes)):
            module = f'bbox_head.{branch}_convs.{level}'
            predictor = getattr(head, f'{branch}_convs')[level]
            found = _add_predictor(plan, name, predictor, module, boxes, order)
            parts[branch].append(_add_reshaped(plan, found, f'{module}/flat', (1, cells, len(order))))
    anchors = sum(plan.values[part].shape[1] for part in parts['cls'])
    logits = plan.add('CONCATENATION', parts['cls'], 'logits', (1, anchors, len(classes)), axis=1)
    encoded = plan.add('CONCATENATION', parts['reg'], 'encoded', (1, anchors, 4), axis=1)
    scores = plan.add('LOGISTIC', [logits], 'scores')
    return _candidates(plan, (encoded, scores), head, [plan.values[x].shape[1:3] for x in levels], size)


def _background_first(head: Any) -> list[int]:
    """Places of a box's logits in the plan's order: the background, where there is one, is the first."""
    classes = list(range(head.num_classes))
    return [head.num_classes, *classes] if head.num_logits > head.num_classes else classes


def _add_predictor(plan: Plan, x: str, module: Any, name: str, boxes: int, order: Sequence[int]) -> str:
    """Add a predictor of the outputs of each box that ``order`` names."""
    if isinstance(module, nn.Sequential):
        x = add_layers(plan, x, module[0], f'{name}.0')
        module, name = module[1], f'{name}.1'
    copy = nn.Conv2d(module.in_channels, boxes * len(order), 1)

    def reordered(tensor: Tensor) -> nn.Parameter:
        per_box = tensor.detach().unflatten(0, (boxes, -1))
        return nn.Parameter(per_box[:, list(order)].flatten(0, 1))

    copy.weight, copy.bias = reordered(module.weight), reordered(module.bias)
    return add_layers(plan, x, copy, name)


def _candidates(
    plan: Plan, names: tuple[str, str], head: Any, shapes: Sequence[tuple[int, ...]], size: tuple[int, int]
) -> Candidates:
    """Encoded boxes and scores, with all that is needed to decode and to suppress them."""
    from mbv1_backbone.export.detectors import coder_of, limits_of  # needs mmdet, which faces do without

    coder, (score_thr, iou_threshold, count) = coder_of(head), limits_of(head.test_cfg)
    if any(coder.means):
        raise InputError(
            f'{plan.format}: bbox_coder.target_means must be 0, got {coder.means}; {OTHER_FORMATS}'
        )
    return Candidates(
        *names,
        anchors=_anchors(head, shapes, size),
        stds=tuple(map(float, coder.stds)),
        classes=int(head.num_classes),
        min_score=max(score_thr, MIN_SCORE, head.num_classes * _MIN_SCORE_A_CLASS),
        iou_threshold=iou_threshold,
        count=count,
    )


def _anchors(head: Any, shapes: Sequence[tuple[int, ...]], size: tuple[int, int]) -> np.ndarray:
    """Centre x, y, width and height of each, as shares of the image, float64 (A, 4)."""
    height, width = size
    x1, y1, x2, y2 = torch.cat(head.prior_generator.grid_priors(shapes, device='cpu')).double().unbind(1)
    places = [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]
    anchors: np.ndarray = torch.stack(places, 1).numpy()
    return anchors
