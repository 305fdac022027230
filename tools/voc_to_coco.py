"""Convert a PASCAL VOC data set: python tools/voc_to_coco.py VOCdevkit/VOC2012 data/voc --splits train val"""

import argparse
import sys

from mbv1_backbone.common.errors import command_line
from mbv1_backbone.detection.formats.voc import convert_voc


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Convert PASCAL VOC annotations to COCO's format.")
    parser.add_argument('root', help='folder with Annotations, ImageSets/Main and JPEGImages')
    parser.add_argument('out', help='folder to write: annotations/SPLIT.json and images/')
    parser.add_argument('--splits', nargs='+', default=['trainval', 'test'], help='lists of ImageSets/Main')
    parser.add_argument('--classes', nargs='+', help='classes to keep, in this order (default: all, sorted)')
    parser.add_argument('--link', action='store_true', help='link to the images instead of copying them')
    return parser.parse_args()


@command_line
def main() -> None:
    args = parse_args()
    report = convert_voc(args.root, args.out, args.splits, args.classes, args.link)
    print(f'{args.out}: classes {", ".join(report["classes"])}')
    for split in args.splits:
        counts = report[split]
        print(
            f'  {split}: {counts["images"]} images, {counts["boxes"]} boxes; left out {counts["dropped"]} '
            f'without area and {counts["other_classes"]} of other classes'
        )


if __name__ == '__main__':
    sys.exit(main())
