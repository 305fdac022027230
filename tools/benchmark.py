"""Measure speed, side by side in one run: python tools/benchmark.py faces --model MODEL FOLDER"""

import argparse
import sys
from pathlib import Path

from mbv1_backbone.benchmarks import faces
from mbv1_backbone.benchmarks.timing import machine
from mbv1_backbone.errors import command_line
from mbv1_backbone.face.embedder import FaceEmbedder
from mbv1_backbone.files import write_json
from mbv1_backbone.images import find_images


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Medians of several rounds, in which all take their turn.')
    verbs = parser.add_subparsers(required=True, metavar='WHAT')
    made = verbs.add_parser('faces', help='from image files to embeddings, by stage')
    made.add_argument('folder', help='of face images')
    made.add_argument('--model', required=True, help='name in the model zoo, weights or checkpoint')
    made.add_argument('--images', type=int, default=256, help='how many to use (default 256)')
    made.add_argument('--batch-sizes', type=int, nargs='+', default=[1, 8, 32])
    made.set_defaults(command=measure_faces)
    parser.add_argument('--rounds', type=int, default=5, help='that count (default 5)')
    parser.add_argument('--out', default='work_dirs/benchmark', help='folder for JSON and PNG')
    return parser.parse_args()


def measure_faces(args: argparse.Namespace) -> None:
    """Print images a second, and write ``faces.json`` and ``faces.png``."""
    files = find_images([args.folder])[: args.images]
    rates = faces.measure(FaceEmbedder.load(args.model), files, args.batch_sizes, args.rounds)
    about = machine('torch', 'pillow', 'opencv-python')
    print(', '.join(f'{name} {value}' for name, value in about.items()))
    for name, rate in rates.items():
        print(f'{name:40} {rate:8.1f} images/s  {1000 / rate:8.2f} ms')
    write_json(Path(args.out) / 'faces.json', dict(machine=about, images_per_second=rates), indent=2)
    print(faces.draw(rates, f'{args.model}, {len(files)} files', Path(args.out) / 'faces.png'))


@command_line
def main() -> None:
    args = parse_args()
    args.command(args)


if __name__ == '__main__':
    sys.exit(main())
