"""Count mult-adds and params of a network, by kind of layer; or the paper's tables beside ours.

mbv1 complexity CONFIG [--shape 300 300]
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from mbv1_backbone.cli import options
from mbv1_backbone.compat.registry import use_scope

if TYPE_CHECKING:
    from mmengine.config import Config

    from mbv1_backbone.models import complexity

__all__ = ['DETECTORS', 'add_arguments', 'run']

DETECTORS = {  # Table 13
    'SSD 300': ('configs/detection/ssd_mbv1_coco.py', 300, 1.2e9, 6.8e6),
    'Faster R-CNN 300': ('configs/detection/faster_rcnn_mbv1_300_coco.py', 300, 25.2e9, 6.1e6),
    'Faster R-CNN 600': ('configs/detection/faster_rcnn_mbv1_600_coco.py', 600, 30.5e9, 6.1e6),
}


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    parser.set_defaults(run=run)
    parser.add_argument(
        'config', nargs='?', help='config of a detector, a classifier or a face network, or a name in the zoo'
    )
    parser.add_argument(
        '--shape',
        nargs=2,
        type=options.at_least(1),
        metavar=('H', 'W'),
        help='of a detector (default 300 300) or a classifier (default: of its test pipeline, or 224 224)',
    )
    parser.add_argument('--paper', action='store_true', help="the paper's tables, beside ours")
    parser.add_argument('--json', action='store_true', help='print JSON')


def run(args: argparse.Namespace) -> None:
    """Count and print."""
    from mbv1_backbone.common.errors import InputError
    from mbv1_backbone.models import complexity
    from mbv1_backbone.training import load_config
    from mbv1_backbone.weights.zoo import find_any_config

    if args.paper:
        cells = _paper_cells()
        print(json.dumps([cell._asdict() for cell in cells], indent=1)) if args.json else _print_paper(cells)
        return
    if args.config is None:
        raise InputError('give a config, or --paper')
    cfg = load_config(find_any_config(args.config))
    costs = _count(cfg, args.shape)
    if args.json:
        print(json.dumps([cost._asdict() for cost in costs], indent=1))
        return
    for cost in costs:
        print(f'{cost.mult_adds / 1e6:12.3f} M {cost.params:10}  {cost.kind:14} {cost.name}')
    for kind, (mult_adds, params) in {**complexity.by_kind(costs), 'all': complexity.total(costs)}.items():
        print(f'{mult_adds / 1e6:12.3f} M {params:10}  {kind}')


def _count(cfg: Config, shape: tuple[int, int] | None) -> list[complexity.LayerCost]:
    """Count a config's network on an image of a shape, (H, W); a face network has its own."""
    from mmengine.registry import MODELS

    from mbv1_backbone.common.errors import InputError, one_line, user_errors
    from mbv1_backbone.training.classifier_input import classifier_size
    from mbv1_backbone.training.config import kind_of

    kind = kind_of(cfg)
    shape = classifier_size(cfg) if kind == 'classifier' and shape is None else shape
    use_scope(cfg.get('default_scope', 'mmpretrain' if kind == 'classifier' else 'mmdet'))
    with user_errors(f'config {cfg.filename}'):
        model = MODELS.build(cfg.model)
    try:
        with user_errors(f'config {cfg.filename}'):
            return _counted(model, kind, f'config {cfg.filename}', shape)
    except RuntimeError as error:  # torch's, of layers that do not fit each other or the image
        raise InputError(f'config {cfg.filename}: the network cannot be run: {one_line(error)}') from error


def _counted(
    model: Any, kind: str | None, config: str, shape: tuple[int, int] | None
) -> list[complexity.LayerCost]:
    """Count a built model; ``config`` names it in errors."""
    from mbv1_backbone.common.errors import InputError
    from mbv1_backbone.models import complexity

    if hasattr(getattr(model, 'data_preprocessor', None), 'input_size'):
        if shape is not None:
            raise InputError(f'{config}: its images have one size, --shape is of other networks')
        return complexity.count_embedder(model)
    if kind == 'classifier':
        return complexity.count_image_classifier(model, *(shape or (224, 224)))
    if not any(hasattr(model, head) for head in ('bbox_head', 'rpn_head')):
        raise InputError(f'{config}: not a detector, classifier or face network')
    return complexity.count_detector(model, *(shape or (300, 300)))


def _paper_cells() -> list[complexity.Cell]:
    from mmengine.registry import MODELS

    from mbv1_backbone.models import complexity
    from mbv1_backbone.training import load_config

    use_scope('mmdet')
    detectors = []
    for name, (path, size, mult_adds, params) in DETECTORS.items():
        model = load_config(path).model
        head = model.bbox_head if 'bbox_head' in model else model.roi_head.bbox_head
        head.num_classes = 90  # as the paper's software counted COCO
        detectors.append((name, MODELS.build(model), size, mult_adds, params))
    return complexity.paper_tables(detectors)


def _print_paper(cells: list[complexity.Cell]) -> None:
    print('table  network                   mult-adds M    paper  ratio   params M    paper  ratio')
    for cell in cells:
        figures = ''
        for ours, paper in ((cell.mult_adds, cell.paper_mult_adds), (cell.params, cell.paper_params)):
            figures += f'{ours / 1e6:12.3f} {paper / 1e6:8.5g} {ours / paper:6.3f}' if paper else ' ' * 28
        print(f'{cell.table:5}  {cell.name:24}{figures}  {cell.note}')
