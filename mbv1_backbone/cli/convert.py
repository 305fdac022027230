"""Convert data sets to COCO's format, or to folders of classes.

mbv1 convert voc VOCdevkit/VOC2012 --out-dir data/voc --splits train val
"""

from __future__ import annotations

import argparse

from mbv1_backbone.cli import options

__all__ = ['add_arguments', 'run_stanford_dogs', 'run_voc']


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    _add_voc(parser)
    _add_stanford_dogs(parser)


def _add_voc(parser: options.Parser) -> None:
    made = parser.add_verb('voc', "Convert PASCAL VOC annotations to COCO's format.", run_voc)
    made.add_argument('root', help='folder with Annotations and JPEGImages, or annotations and images')
    options.output_folder(
        made,
        'folder to write: annotations/SPLIT.json and images/',
        files=('annotations/SPLIT.json', 'images/IMAGE.jpg'),
        required=True,
        former=True,
    )
    made.add_argument(
        '--splits', nargs='+', help='lists of ImageSets/Main (default: trainval and test, or train and val)'
    )
    made.add_argument(
        '--split',
        nargs='+',
        type=float,
        metavar='SHARE',
        help='divide at random, 0.8 0.2 into train and val, three shares into train, val and test',
    )
    made.add_argument('--seed', type=options.seed, default=0, help='of the division (default 0)')
    made.add_argument('--classes', nargs='+', help='classes to keep, in this order (default: all, sorted)')
    made.add_argument('--link', action='store_true', help='link to the images instead of copying them')


def _add_stanford_dogs(parser: options.Parser) -> None:
    made = parser.add_verb(
        'stanford-dogs', 'Lay Stanford Dogs out in folders, a breed each.', run_stanford_dogs
    )
    made.add_argument('root', help='folder with Images, the lists and, for --boxes, Annotation')
    options.output_folder(
        made, 'new folder to write: train/BREED/ and test/BREED/', empty=True, required=True
    )
    made.add_argument('--boxes', action='store_true', help="write the dogs' boxes, not whole photographs")
    made.add_argument('--link', action='store_true', help='link to the photographs instead of copying them')


def run_stanford_dogs(args: argparse.Namespace) -> None:
    """Lay out Stanford Dogs."""
    from mbv1_backbone.classification.stanford_dogs import WHOLE, convert_stanford_dogs

    found = convert_stanford_dogs(args.root, args.out_dir, args.boxes, args.link)
    print(f'{args.out_dir}: ' + ', '.join(f'{count} {name}' for name, count in found.items()))
    if found != WHOLE and not (args.boxes and found['classes'] == WHOLE['classes']):
        print('the whole set has ' + ', '.join(f'{count} {name}' for name, count in WHOLE.items()))


def run_voc(args: argparse.Namespace) -> None:
    """Convert PASCAL VOC."""
    from mbv1_backbone.detection.formats.voc import convert_voc, summary

    report = convert_voc(
        args.root, args.out_dir, args.splits, args.classes, args.link, shares=args.split, seed=args.seed
    )
    print(f'{args.out_dir}: {summary(report)}')
