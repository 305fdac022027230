"""Draw training samples as the network sees them: augmented images, boxes and matched anchors.

mbv1 browse CONFIG --out-dir samples
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mbv1_backbone.cli import options

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
    """Draw what the training sees of its first images, with their boxes."""
    from tqdm import tqdm

    from mbv1_backbone import training
    from mbv1_backbone.cli.networks import cfg_options
    from mbv1_backbone.common.pictures import save_png
    from mbv1_backbone.detection.browse import browse
    from mbv1_backbone.weights.zoo import find_any_config

    cfg = training.load_config(find_any_config(args.config), cfg_options(args), args.data_root)
    training.require_keys(cfg, 'train_dataloader')
    training.require_data(cfg, 'train_dataloader')
    boxes = anchors = 0
    for index, view in enumerate(tqdm(browse(cfg, args.num), total=args.num, unit='image')):
        save_png(view.picture, Path(args.out_dir) / f'{index:04d}_{Path(view.name).stem}.png')
        boxes, anchors = boxes + view.boxes, anchors + view.anchors
    print(f'{args.out_dir}: {boxes} boxes (left), {anchors} anchors matched to them (right)')
