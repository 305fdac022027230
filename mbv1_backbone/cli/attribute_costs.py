"""``mbv1 faces attribute-costs``: mean average precision of attribute networks beside their cost.

mbv1 faces attribute-costs work_dirs/attributes_* --out-dir work_dirs/costs
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mbv1_backbone.cli import options
from mbv1_backbone.common.errors import InputError

if TYPE_CHECKING:
    from mbv1_backbone.face.attribute_costs import CostedRun

__all__ = ['CURVES', 'RESULTS', 'add_arguments', 'run']

CURVES, RESULTS = 'attribute_costs.png', 'attribute_costs.json'
_METRIC = 'attributes/mAP'


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    parser.description = (
        "Read work folders of finished trainings of attributes_mbv1_* configs, and print each network's mean "
        'average precision of the last epoch, its epochs, its cost, and whether it learned from a '
        "teacher's probabilities or from labels."
    )
    parser.add_argument('runs', nargs='+', metavar='WORK_DIR', help='of mbv1 train')
    options.output_folder(parser, f'folder for {CURVES}, both curves, and {RESULTS}', files=(CURVES, RESULTS))


def run(args: argparse.Namespace) -> None:
    """Read, print, draw."""
    from mbv1_backbone.common.files import write_json
    from mbv1_backbone.face.attribute_costs import draw_costs

    runs = sorted((_read(Path(folder)) for folder in args.runs), key=lambda run: (run.targets, run.mult_adds))
    print('network             targets        epochs  mean AP  mult-adds M  params M')
    for one in runs:
        print(
            f'{one.name:19} {one.targets:14} {one.epochs:6} {one.mean_ap:8.4f} {one.mult_adds / 1e6:12.1f} '
            f'{one.params / 1e6:9.2f}'
        )
    if args.out_dir:
        folder = Path(args.out_dir)
        print(draw_costs(runs, folder / CURVES))
        write_json(folder / RESULTS, [one._asdict() for one in runs], indent=1)


def _read(folder: Path) -> CostedRun:
    """A run of a work folder.

    Raises:
        InputError: If it is none of an attribute network, or has not ended.
    """
    from mmengine.registry import MODELS

    from mbv1_backbone.compat.registry import use_scope
    from mbv1_backbone.face.attribute_costs import CostedRun
    from mbv1_backbone.models.complexity import count_embedder, total
    from mbv1_backbone.training import load_config
    from mbv1_backbone.training.curves import read_scalars

    configs = sorted(folder.glob('*.py'))
    if len(configs) != 1:
        raise InputError(f'{folder}: not the work folder of a training: it has {len(configs)} configs')
    cfg = load_config(configs[0])
    if str(cfg.model.get('type')).rpartition('.')[2] != 'FaceAttributeModel':
        raise InputError(f'{folder}: its config {configs[0].name} is not of an attribute network')
    points = read_scalars(folder)[1].get(_METRIC) or [(0, 0.0)]
    epochs, mean_ap = points[-1]
    if epochs < cfg.train_cfg.max_epochs:
        raise InputError(
            f'{folder}: the training has not ended: {epochs} of {cfg.train_cfg.max_epochs} epochs'
        )
    use_scope('mmengine')
    model = MODELS.build(dict(cfg.model, _scope_='mmengine'))
    dataset = cfg.train_dataloader.dataset
    soft = not dataset.get('hard') and (dataset.type == 'AttributeDataset' or dataset.get('teacher_file'))
    backbone = cfg.model.backbone
    variant, width = backbone.get('variant', 'separable'), backbone.get('widen_factor', 1.0)
    prefix = '' if variant == 'separable' else f'{variant} '
    name = f'{prefix}{width}-{model.data_preprocessor.input_size}'
    return CostedRun(
        name, 'probabilities' if soft else 'labels', epochs, mean_ap, *total(count_embedder(model))
    )
