"""Measure speed, side by side in one run: python tools/benchmark.py all"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import commands
from mbv1_backbone.common.errors import command_line
from mbv1_backbone.training.precision import bfloat16_is_default


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Medians of several rounds, in which all take their turn.')
    parser.add_argument('--rounds', type=int, default=5, help='that count (default 5)')
    parser.add_argument('--out', default='work_dirs/benchmark', help='folder for JSON and PNG')
    verbs = parser.add_subparsers(required=True, metavar='WHAT')

    def options() -> argparse.ArgumentParser:
        return argparse.ArgumentParser(add_help=False)

    images, photos, faces, sizes = options(), options(), options(), options()
    images.add_argument('--images', type=int, default=64, help='how many files are used (default 64)')
    photos.add_argument('--photos', default='data/demo/images', help='folder of photographs')
    photos.add_argument(
        '--tflite', help="Google's SSD MobileNetV1 file, to be run by TensorFlow Lite and by us"
    )
    faces.add_argument('--faces', default='data/demo/images', help='folder of face images, or of any')
    faces.add_argument('--model', default='facenet_mbv1_1.0-160_distill', help='name in the zoo, or weights')
    faces.add_argument('--batch-sizes', type=int, nargs='+', default=[1, 8])
    sizes.add_argument('--sizes', type=int, nargs='+', default=[10_000, 100_000], help='entries, made up')
    sizes.add_argument(
        '--no-graphs', action='store_true', help='leave out hnswlib and usearch, which are long to build'
    )
    for name, command, parents in (
        ('backbones', commands.backbones, ()),
        ('grid', commands.grid, ()),
        ('detectors', commands.detectors, (images, photos)),
        ('faces', commands.faces, (images, faces)),
        ('gallery', commands.galleries, (sizes,)),
        ('all', commands.everything, (images, photos, faces, sizes)),
    ):
        help = (command.__doc__ or '').rstrip('.')
        verbs.add_parser(name, help=help, parents=parents).set_defaults(command=command)
    made = verbs.add_parser('shards', help='one gallery against several that answer as one')
    made.add_argument('--entries', type=int, default=100_000, help='in all (default 100000)')
    made.add_argument('--shards', type=int, default=4, help='galleries (default 4)')
    made.set_defaults(command=commands.shards)
    made = verbs.add_parser('training', help='a training step by stage')
    made.add_argument('config')
    made.add_argument('--data-root', help="folder of the data, in place of the config's")
    made.add_argument('--amp', action=argparse.BooleanOptionalAction, default=bfloat16_is_default())
    made.set_defaults(command=commands.training)
    return parser.parse_args()


@command_line
def main() -> None:
    args = parse_args()
    args.command(args)


if __name__ == '__main__':
    sys.exit(main())
