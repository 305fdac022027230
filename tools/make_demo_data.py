"""Draw a small detection data set in COCO's format: python tools/make_demo_data.py data/demo"""

import argparse
import sys

from mbv1_backbone.common.errors import InputError, command_line
from mbv1_backbone.detection.demo_data import SHAPES, make_demo_data


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Draw a small detection data set in COCO's format.")
    parser.add_argument('out', help='folder to write: annotations/{train,val}.json and images/')
    parser.add_argument('--train', type=int, default=640, help='training images (default 640)')
    parser.add_argument('--val', type=int, default=160, help='validation images (default 160)')
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args()


@command_line
def main() -> None:
    args = parse_args()
    for name, least in (('train', 1), ('val', 1), ('seed', 0)):
        if getattr(args, name) < least:
            raise InputError(f'--{name} must be at least {least}, got {getattr(args, name)}')
    report = make_demo_data(args.out, args.train, args.val, args.seed)
    for split, counts in report.items():
        summary = f'{counts["images"]} images ({counts["empty"]} empty), {counts["boxes"]} boxes'
        print(f'{args.out} {split}: {summary}')
    print(f'classes: {", ".join(SHAPES)}')


if __name__ == '__main__':
    sys.exit(main())
