"""Mult-adds and parameters of a built model, and of the networks in the paper's tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from mbv1_backbone.models.mobilenet_v1 import MobileNetV1

__all__ = [
    'REGIONS',
    'Cell',
    'LayerCost',
    'by_kind',
    'count_classifier',
    'count_detector',
    'count_embedder',
    'count_image_classifier',
    'count_layers',
    'paper_tables',
    'total',
]

REGIONS = 300  # proposals an image that Faster R-CNN evaluates (paper, Table 13)


class LayerCost(NamedTuple):
    """Cost of one layer for one image.

    Attributes:
        name: Path of the module in its model.
        kind: ``Conv 1x1``, ``Conv 3x3``, ``Depthwise 3x3``, ``Linear``, ..., or ``other`` (normalisation).
        mult_adds: Multiply-accumulate operations of all its calls; biases and normalisation are not counted,
            as they fold into the layer before them.
        params: Learnable values; a normalisation's two a channel are counted, not folded.
    """

    name: str
    kind: str
    mult_adds: int
    params: int


def count_layers(model: nn.Module, run: Callable[[], Any]) -> list[LayerCost]:
    """Count every layer of ``model`` while ``run`` passes one image through it.

    Convolutions and linear layers are counted by their outputs' sizes, so layers that run on many regions or
    levels count as often as they run. The model is put into evaluation mode for the run.

    Example:
        >>> net = nn.Conv2d(3, 8, 3)
        >>> count_layers(net, lambda: net(torch.zeros(1, 3, 5, 5)))
        [LayerCost(name='', kind='Conv 3x3', mult_adds=1944, params=224)]
    """
    mult_adds: dict[nn.Module, int] = {}

    def count(module: nn.Module, _: Any, output: Tensor) -> None:
        mult_adds[module] = mult_adds.get(module, 0) + output.numel() * _per_output(module)

    layers = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    handles = [layer.register_forward_hook(count) for layer in layers]
    training = model.training
    try:
        with torch.inference_mode():
            model.eval()
            run()
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    costs = []
    for name, module in model.named_modules():
        params = sum(p.numel() for p in module.parameters(recurse=False))
        if params or module in mult_adds:
            costs.append(LayerCost(name, _kind(module), mult_adds.get(module, 0), params))
    return costs


def count_detector(model: BaseModel, height: int, width: int, regions: int = REGIONS) -> list[LayerCost]:
    """Count an mmdet detector on one image, a two-stage one with ``regions`` proposals.

    Args:
        model: Built by mmdet.
        height: Of the image, in pixels.
        width: Of the image, in pixels.
        regions: Proposals that a two-stage detector classifies.
    """
    from mmengine.structures import InstanceData

    image = _image(model, height, width)

    def run() -> None:
        maps = model.extract_feat(image)
        if not hasattr(model, 'roi_head'):
            model.bbox_head(maps)
            return
        model.rpn_head(maps)
        box = torch.tensor([[0.0, 0.0, width / 2, height / 2]])
        model.roi_head.forward(maps, [InstanceData(bboxes=box.repeat(regions, 1))])

    return count_layers(model, run)


def count_embedder(model: BaseModel) -> list[LayerCost]:
    """Count a face network, of embeddings or attributes, on one image of the size that it was made for."""
    size = model.data_preprocessor.input_size
    return count_layers(model, lambda: model(_image(model, size, size)))


def count_image_classifier(model: BaseModel, height: int, width: int) -> list[LayerCost]:
    """Count an mmpretrain classifier on one image.

    Args:
        model: Built by mmpretrain.
        height: Of the image, in pixels.
        width: Of the image, in pixels.
    """
    return count_layers(model, lambda: model(_image(model, height, width)))


def count_classifier(classes: int, size: int, **backbone: Any) -> list[LayerCost]:
    """Count MobileNetV1 with average pooling and a linear layer (none for 0 classes), on a square image."""
    net = MobileNetV1(**backbone)
    head = nn.Linear(net.taps[-1].channels, classes) if classes else nn.Identity()
    model = nn.Sequential(net, head)
    return count_layers(model, lambda: head(net(_image(net, size, size))[-1].mean((2, 3))))


def _image(model: nn.Module, height: int, width: int) -> torch.Tensor:
    """A black one, of the channels that the model's backbone takes."""
    channels = next((part.in_channels for part in model.modules() if isinstance(part, MobileNetV1)), 3)
    return torch.zeros(1, channels, height, width)


def total(costs: Sequence[LayerCost]) -> tuple[int, int]:
    """(mult-adds, params) of all layers together."""
    return sum(cost.mult_adds for cost in costs), sum(cost.params for cost in costs)


def by_kind(costs: Sequence[LayerCost]) -> dict[str, tuple[int, int]]:
    """(mult-adds, params) by kind of layer, dearest first."""
    kinds = {cost.kind for cost in costs}
    sums = {kind: total([cost for cost in costs if cost.kind == kind]) for kind in kinds}
    return dict(sorted(sums.items(), key=lambda item: -item[1][0]))


class Cell(NamedTuple):
    """One resource cell of the paper beside ours, in plain units; None where the paper gives nothing.

    Attributes:
        table: Number of the paper's table.
        name: Its row.
        mult_adds: Ours.
        paper_mult_adds: The paper's.
        params: Ours.
        paper_params: The paper's.
        derivable: Whether the paper's figures follow from what it says.
        note: Why not, where they don't.
    """

    table: int
    name: str
    mult_adds: int
    paper_mult_adds: float | None
    params: int
    paper_params: float | None
    derivable: bool = True
    note: str = ''


_MISPRINT = 'printed 1.19 % is 1.91 %: so the shares add up to 100 %'
_WIDER_STEM = 'fits a network of at least 16 channels a layer (46.0 M at 224, 15.0 M at 128), not alpha = .25'
_NO_HEAD = 'the head is not described, and no one head gives the four params'
_CELLS = 'the number of cells is not printed; 9,600 fit both: 3.2 M + 1024 x 9,600, .568 B + .010 B'
_CONTRADICTS = f'{_NO_HEAD}; below the 290 M that Table 7 gives the same network'

# table, row, network, input size, classes, mult-adds / 1e6, params / 1e6, note where not derivable
_NETWORKS: tuple[tuple[int, str, dict[str, Any], int, int, float, float | None, str], ...] = (
    (4, 'Conv MobileNet', dict(variant='full'), 224, 1000, 4866, 29.3, ''),
    (4, 'MobileNet', {}, 224, 1000, 569, 4.2, ''),
    (5, '0.75 MobileNet', dict(widen_factor=0.75), 224, 1000, 325, 2.6, ''),
    (5, 'Shallow MobileNet', dict(variant='shallow'), 224, 1000, 307, 2.9, ''),
    (6, '1.0 MobileNet-224', {}, 224, 1000, 569, 4.2, ''),
    (6, '0.75 MobileNet-224', dict(widen_factor=0.75), 224, 1000, 325, 2.6, ''),
    (6, '0.5 MobileNet-224', dict(widen_factor=0.5), 224, 1000, 149, 1.3, ''),
    (6, '0.25 MobileNet-224', dict(widen_factor=0.25), 224, 1000, 41, 0.5, ''),
    (7, '1.0 MobileNet-224', {}, 224, 1000, 569, 4.2, ''),
    (7, '1.0 MobileNet-192', {}, 192, 1000, 418, 4.2, ''),
    (7, '1.0 MobileNet-160', {}, 160, 1000, 290, 4.2, ''),
    (7, '1.0 MobileNet-128', {}, 128, 1000, 186, 4.2, ''),
    (8, '1.0 MobileNet-224', {}, 224, 1000, 569, 4.2, ''),
    (9, '0.50 MobileNet-160', dict(widen_factor=0.5), 160, 1000, 76, 1.32, ''),
    (10, '1.0 MobileNet-224', {}, 224, 120, 569, 3.3, ''),
    (10, '0.75 MobileNet-224', dict(widen_factor=0.75), 224, 120, 325, 1.9, ''),
    (10, '1.0 MobileNet-192', {}, 192, 120, 418, 3.3, ''),
    (10, '0.75 MobileNet-192', dict(widen_factor=0.75), 192, 120, 239, 1.9, ''),
    (11, 'PlaNet MobileNet', {}, 224, 9600, 580, 13.0, _CELLS),
    (12, '1.0 MobileNet-224', {}, 224, 0, 568, 3.2, ''),
    (12, '0.5 MobileNet-224', dict(widen_factor=0.5), 224, 0, 149, 0.8, ''),
    (12, '0.25 MobileNet-224', dict(widen_factor=0.25), 224, 0, 45, 0.2, _WIDER_STEM),
    (12, '1.0 MobileNet-128', {}, 128, 0, 185, 3.2, ''),
    (12, '0.5 MobileNet-128', dict(widen_factor=0.5), 128, 0, 48, 0.8, ''),
    (12, '0.25 MobileNet-128', dict(widen_factor=0.25), 128, 0, 15, 0.2, _WIDER_STEM),
    (14, '1.0 MobileNet-160', {}, 160, 128, 286, 4.9, _CONTRADICTS),
    (14, '1.0 MobileNet-128', {}, 128, 128, 185, 5.5, _NO_HEAD),
    (14, '0.75 MobileNet-160', dict(widen_factor=0.75), 160, 128, 166, 3.4, _NO_HEAD),
    (14, '0.75 MobileNet-128', dict(widen_factor=0.75), 128, 128, 108, 3.8, _NO_HEAD),
)

# Table 2: percent of mult-adds and of params
_SHARES = {
    'Conv 1x1': (94.86, 74.59, ''),
    'Depthwise 3x3': (3.06, 1.06, ''),
    'Conv 3x3': (1.19, 0.02, _MISPRINT),
    'Linear': (0.18, 24.33, ''),
}

# Table 3: row, channels, side of the map, depthwise separable, mult-adds / 1e6, params / 1e6
_SINGLE_LAYERS = (
    ('Convolution', 512, 14, False, 462, 2.36),
    ('Depthwise Separable Conv', 512, 14, True, 52.3, 0.27),
    ('alpha = 0.75', 384, 14, True, 29.6, 0.15),
    ('rho = 0.714', 384, 10, True, 15.1, 0.15),
)


def paper_tables(detectors: Sequence[tuple[str, nn.Module, int, float, float]] = ()) -> list[Cell]:
    """Every resource cell of the paper that belongs to a MobileNet, beside ours.

    Args:
        detectors: For Table 13: row, built model, input size, the paper's mult-adds and params.
    """
    cells = _table_2() + [_single_layer(*row) for row in _SINGLE_LAYERS]
    for table, name, options, size, classes, paper_mult_adds, paper_params, note in _NETWORKS:
        mult_adds, params = total(count_classifier(classes, size, **options))
        published = (paper_mult_adds * 1e6, None if paper_params is None else paper_params * 1e6)
        cells.append(Cell(table, name, mult_adds, published[0], params, published[1], not note, note))
    for name, model, size, paper_mult_adds, paper_params in detectors:
        mult_adds, params = total(count_detector(model, size, size))
        cells.append(Cell(13, name, mult_adds, paper_mult_adds, params, paper_params))
    return sorted(cells, key=lambda cell: cell.table)


def _table_2() -> list[Cell]:
    costs = count_classifier(1000, 224)
    ours, (all_mult_adds, all_params) = by_kind(costs), total(costs)
    return [
        Cell(
            *(2, kind, ours[kind][0], mult_share / 100 * all_mult_adds),
            *(ours[kind][1], param_share / 100 * all_params, not note, note),
        )
        for kind, (mult_share, param_share, note) in _SHARES.items()
    ]


def _single_layer(
    name: str, channels: int, side: int, separable: bool, mult_adds: float, params: float
) -> Cell:
    groups = channels if separable else 1
    layers = [nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False)]
    if separable:
        layers.append(nn.Conv2d(channels, channels, 1, bias=False))
    model = nn.Sequential(*layers)
    ours = total(count_layers(model, lambda: model(torch.zeros(1, channels, side, side))))
    return Cell(3, name, ours[0], mult_adds * 1e6, ours[1], params * 1e6)


def _per_output(module: nn.Module) -> int:
    """Mult-adds for one value of the output."""
    if isinstance(module, nn.Linear):
        return module.in_features
    assert isinstance(module, nn.Conv2d)
    height, width = module.kernel_size
    return module.in_channels // module.groups * height * width


def _kind(module: nn.Module) -> str:
    if isinstance(module, nn.Linear):
        return 'Linear'
    if not isinstance(module, nn.Conv2d):
        return 'other'
    height, width = module.kernel_size
    depthwise = module.groups == module.in_channels > 1
    return f'{"Depthwise" if depthwise else "Conv"} {height}x{width}'
