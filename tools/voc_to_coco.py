"""Convert a PASCAL VOC data set: python tools/voc_to_coco.py photos data/photos --split 0.8 0.2"""

import argparse
import sys

from mbv1_backbone.common.errors import command_line
from mbv1_backbone.detection.formats.voc import convert_voc, summary


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Convert PASCAL VOC annotations to COCO's format.")
    parser.add_argument('root', help='folder with Annotations and JPEGImages, or annotations and images')
    parser.add_argument('out', help='folder to write: annotations/SPLIT.json and images/')
    parser.add_argument(
        '--splits', nargs='+', help='lists of ImageSets/Main (default: trainval and test, or train and val)'
    )
    parser.add_argument(
        '--split',
        nargs='+',
        type=float,
        metavar='SHARE',
        help='divide at random, 0.8 0.2 into train and val, three shares into train, val and test',
    )
    parser.add_argument('--seed', type=int, default=0, help='of the division (default 0)')
    parser.add_argument('--classes', nargs='+', help='classes to keep, in this order (default: all, sorted)')
    parser.add_argument('--link', action='store_true', help='link to the images instead of copying them')
    return parser.parse_args()


@command_line
def main() -> None:
    args = parse_args()
    report = convert_voc(
        args.root, args.out, args.splits, args.classes, args.link, shares=args.split, seed=args.seed
    )
    print(f'{args.out}: {summary(report)}')


if __name__ == '__main__':
    sys.exit(main())
