"""Split a folder of people for training and evaluation: python tools/split_people.py data/people"""

import argparse
import sys
from pathlib import Path

from mbv1_backbone.common.errors import command_line
from mbv1_backbone.face.datasets import read_identities, scan_people
from mbv1_backbone.face.evaluation.splits import split_people, write_protocol


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Write lists of people for training and held out, and pairs, gallery and probes of these.'
    )
    parser.add_argument('folder', help='has images/PERSON/IMAGE; the lists are written beside images/')
    parser.add_argument('--list', help='CSV with file and identity, in place of one folder a person')
    parser.add_argument('--held-out', type=float, default=0.2, help='share of people (default .2)')
    parser.add_argument('--salt', default='', help='another word deals the people anew')
    return parser.parse_args()


@command_line
def main() -> None:
    args = parse_args()
    folder = Path(args.folder)
    files = read_identities(args.list) if args.list else scan_people(folder / 'images')
    training, held = split_people(list(files.values()), args.held_out, args.salt)
    counts = write_protocol(folder, files, training, held)
    print(f'{folder}: {len(training)} people for training, {len(held)} held out')
    print(', '.join(f'{name}: {count}' for name, count in counts.items()))


if __name__ == '__main__':
    sys.exit(main())
