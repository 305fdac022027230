"""Draw training samples as the network sees them: augmented images with boxes and anchors, or classes.

mbv1 browse CONFIG --out-dir samples
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mbv1_backbone.cli import options

if TYPE_CHECKING:
    from mmengine.config import Config

__all__ = ['add_arguments', 'run']


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    parser.set_defaults(run=run)
    parser.add_argument('config', help='config, or a name in the model zoo: its config')
    options.output_folder(parser, 'folder for the PNG files', required=True)
    parser.add_argument('--num', type=options.at_least(1), default=16, help='samples (default 16)')
    options.add_data_root(parser)
    options.add_cfg_options(parser)


def run(args: argparse.Namespace) -> None:
    """Draw what the training sees: a detector's first images with boxes, a classifier's with classes."""
    from tqdm import tqdm

    from mbv1_backbone import training
    from mbv1_backbone.cli.networks import cfg_options
    from mbv1_backbone.common.pictures import save_png
    from mbv1_backbone.weights.zoo import find_any_config

    cfg = training.load_config(find_any_config(args.config), cfg_options(args), args.data_root)
    training.require_keys(cfg, 'train_dataloader')
    training.require_data(cfg, 'train_dataloader')
    if training.kind_of(cfg) == 'classifier':
        _draw_classes(cfg, args)
        return
    from mbv1_backbone.detection.browse import browse

    boxes = anchors = 0
    for index, view in enumerate(tqdm(browse(cfg, args.num), total=args.num, unit='image')):
        save_png(view.picture, Path(args.out_dir) / f'{index:04d}_{Path(view.name).stem}.png')
        boxes, anchors = boxes + view.boxes, anchors + view.anchors
    print(f'{args.out_dir}: {boxes} boxes (left), {anchors} anchors matched to them (right)')


def _draw_classes(cfg: Config, args: argparse.Namespace) -> None:
    """Of a classifier."""
    from tqdm import tqdm

    from mbv1_backbone.classification.browse import browse
    from mbv1_backbone.common.pictures import save_png

    labels = []
    for index, sample in enumerate(tqdm(browse(cfg, args.num), total=args.num, unit='image')):
        save_png(sample.picture, Path(args.out_dir) / f'{index:04d}_{Path(sample.name).stem}.png')
        labels.append(sample.label)
    print(f'{args.out_dir}: {len(labels)} images of {len(set(labels))} classes')
