"""Measure speed, side by side in one run: python tools/benchmark.py gallery"""

import argparse
import sys
from pathlib import Path

from mbv1_backbone.benchmarks import faces, gallery
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
    made = verbs.add_parser('gallery', help='search, changes and room of galleries, beside FAISS and others')
    made.add_argument('--sizes', type=int, nargs='+', default=[10_000, 100_000], help='entries (made up)')
    made.add_argument(
        '--no-graphs', action='store_true', help='leave out hnswlib and usearch, which are long to build'
    )
    made.set_defaults(command=measure_gallery)
    made = verbs.add_parser('shards', help='one gallery against several that answer as one')
    made.add_argument('--entries', type=int, default=100_000, help='in all (default 100000)')
    made.add_argument('--shards', type=int, default=4, help='galleries (default 4)')
    made.set_defaults(command=measure_shards)
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


def measure_gallery(args: argparse.Namespace) -> None:
    """Print queries a second and the verbs by size, and write ``gallery.json`` and ``gallery.png``."""
    about = machine('faiss-cpu', 'numpy')
    print(', '.join(f'{name} {value}' for name, value in about.items()))
    results = []
    for size in args.sizes:
        done = gallery.measure(size, Path(args.out) / 'gallery', args.rounds, not args.no_graphs)
        results.append(done)
        print(f'\n{size} entries, index {done["index"]} {done["width"] or ""}')
        _print_searches(done['search'])
        for name, value in done['gallery'].items():
            print(f'  {name:24} {value if isinstance(value, dict) else format(value, ".4g")}')
        write_json(Path(args.out) / 'gallery.json', dict(machine=about, results=results), indent=2)
    print(gallery.draw(results, 'Galleries of 128-d embeddings', Path(args.out) / 'gallery.png'))


def measure_shards(args: argparse.Namespace) -> None:
    """Print queries a second of both, and write ``shards.json``."""
    done = gallery.measure_shards(args.entries, Path(args.out) / 'gallery', args.rounds, args.shards)
    built = ', '.join(f'{seconds:.1f}' for seconds in done['build_s'])
    print(f'{args.entries} entries; parts built in {built} s, merged into one in {done["merge_s"]:.1f} s')
    _print_searches(done['search'])
    write_json(Path(args.out) / 'shards.json', dict(machine=machine('faiss-cpu'), result=done), indent=2)


def _print_searches(found: dict[str, dict[str, float]]) -> None:
    """Each way's figures, and its time beside plain FAISS's, or the first one's."""
    base = found.get('plain FAISS, same index', next(iter(found.values())))
    print(f'  {"":28}{"queries/s":>10}{"ms, single":>12}{"recall@10":>11}{"time of a batch":>17}')
    for name, value in found.items():
        print(
            f'  {name:28}{value["batch_qps"]:10.0f}{value["single_ms"]:12.3f}{value["recall"]:11.4f}'
            f'{base["batch_qps"] / value["batch_qps"]:16.3f}x'
        )


@command_line
def main() -> None:
    args = parse_args()
    args.command(args)


if __name__ == '__main__':
    sys.exit(main())
