"""Draw a small detection data set in COCO's format.

mbv1 demo-data --out-dir data/demo
"""

from __future__ import annotations

import argparse

from mbv1_backbone.cli import options

__all__ = ['add_arguments', 'run']


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    parser.set_defaults(run=run)
    options.output_folder(
        parser,
        'folder to write: annotations/{train,val}.json and images/',
        files=('annotations/train.json', 'annotations/val.json', 'images/train_0000.jpg'),
        required=True,
        former=True,
    )
    parser.add_argument(
        '--train', type=options.at_least(1), default=1280, help='training images (default 1280)'
    )
    parser.add_argument(
        '--val', type=options.at_least(1), default=160, help='validation images (default 160)'
    )
    parser.add_argument('--seed', type=options.at_least(0), default=0)


def run(args: argparse.Namespace) -> None:
    """Draw the data set and print what it holds."""
    from mbv1_backbone.detection.demo_data import SHAPES, make_demo_data

    report = make_demo_data(args.out_dir, args.train, args.val, args.seed)
    for split, counts in report.items():
        summary = f'{counts["images"]} images ({counts["empty"]} empty), {counts["boxes"]} boxes'
        print(f'{args.out_dir} {split}: {summary}')
    print(f'classes: {", ".join(SHAPES)}')
