"""Draw a small data set: shapes to detect, in COCO's format, or photographs of places.

mbv1 demo-data --out-dir data/demo
mbv1 demo-data --kind places --out-dir data/world
"""

from __future__ import annotations

import argparse

from mbv1_backbone.cli import options

__all__ = ['add_arguments', 'run']


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    parser.set_defaults(run=run)
    parser.add_argument(
        '--kind', choices=('detection', 'places'), default='detection', help='of data (default: detection)'
    )
    options.output_folder(
        parser,
        'folder to write: annotations/{train,val}.json, or {train,test}.csv of places, and images/',
        files=(
            *('annotations/train.json', 'annotations/val.json', 'images/train_0000.jpg'),
            *('train.csv', 'test.csv'),
        ),
        required=True,
        former=True,
    )
    parser.add_argument(
        '--train', type=options.at_least(1), help='training images (default 1280, of places 2400)'
    )
    parser.add_argument(
        '--val', type=options.at_least(1), help='validation images (default 160, of places 480)'
    )
    parser.add_argument('--seed', type=options.seed, default=0)


def run(args: argparse.Namespace) -> None:
    """Draw the data set and print what it holds."""
    if args.kind == 'places':
        from mbv1_backbone.classification.world_data import make_world
        from mbv1_backbone.common.wording import amount

        for split, count in make_world(args.out_dir, args.train or 2400, args.val or 480, args.seed).items():
            print(f'{args.out_dir} {split}: {amount(count, "photograph")}')
        return
    from mbv1_backbone.detection.demo_data import SHAPES, make_demo_data

    report = make_demo_data(args.out_dir, args.train or 1280, args.val or 160, args.seed)
    for split, counts in report.items():
        summary = f'{counts["images"]} images ({counts["empty"]} empty), {counts["boxes"]} boxes'
        print(f'{args.out_dir} {split}: {summary}')
    print(f'classes: {", ".join(SHAPES)}')
