"""Fetch Labeled Faces in the Wild and cut its faces out: python tools/prepare_lfw.py data/mylfw"""

import argparse
import sys

from mbv1_backbone.common.errors import command_line
from mbv1_backbone.face.lfw import cut_lfw, fetch_lfw


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Write images/PERSON/IMAGE, the middle 160 pixels of photographs, and LFW's pairs.txt."
    )
    parser.add_argument('out', help='new folder')
    parser.add_argument('--source', help='folder of people that is there already (default: download)')
    return parser.parse_args()


@command_line
def main() -> None:
    args = parse_args()
    count = cut_lfw(args.source or fetch_lfw(), args.out)
    print(f'{args.out}: {count} images; next: python tools/split_people.py {args.out}')


if __name__ == '__main__':
    sys.exit(main())
