"""Measure speed, side by side in one run: medians of several rounds, in which all take their turn.

mbv1 benchmark all
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

from mbv1_backbone.cli import options
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.outputs import check_output_folder

__all__ = ['ROOT', 'add_arguments', 'run']

ROOT = Path(__file__).resolve().parents[2]
_RIVALS = ('numpy', 'faiss', 'hnsw16', 'hnswlib', 'usearch', 'qdrant')


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    _add_common(parser, rounds=5, out_dir='work_dirs/benchmark')
    for name, function, summary, groups in (
        ('backbones', 'backbones', 'The backbone in each runtime, and other projects.', ()),
        ('runtimes', 'runtimes', 'Runtimes and precisions, on one thread and on two.', ()),
        ('grid', 'grid', 'Milliseconds over width and resolution.', ()),
        ('detectors', 'detectors', 'Detectors, from file to boxes.', (_add_images, _add_photos)),
        ('faces', 'faces', 'Embeddings, from file to vector.', (_add_images, _add_faces)),
        (
            'face-detectors',
            'face_detectors',
            'Detectors of faces: recall, and a megapixel.',
            (_add_detectors,),
        ),
        ('gallery', 'galleries', 'Galleries beside other engines: search, changes, room.', (_add_gallery,)),
        ('all', 'everything', 'All of these.', (_add_images, _add_photos, _add_faces, _add_small_gallery)),
        ('shards', 'shards', 'One gallery against several that answer as one.', (_add_shards,)),
        ('scale', 'scale', 'A gallery of ten million entries, say: memory, time and recall.', (_add_scale,)),
        ('service', 'service', 'mbv1 serve beside the library: throughput, and p95.', (_add_service,)),
        ('training', 'training', 'A training step by stage.', (_add_training,)),
        ('variants', 'variants', "The paper's Tables 4 and 5 in miniature: accuracy.", (_add_variants,)),
    ):
        made = parser.add_verb(name, summary, run)
        made.set_defaults(benchmark=function)
        _add_common(made)
        for add in groups:
            add(made)


def run(args: argparse.Namespace) -> None:
    """Measure, where the benchmarks are.

    Raises:
        InputError: If this is not a clone of the project.
    """
    if not (ROOT / 'benchmarks' / 'commands.py').is_file():
        raise InputError('the benchmarks come with a clone of the project, not with the installed package')
    check_output_folder(args.out_dir, name='--out-dir')
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    getattr(import_module('benchmarks.commands'), args.benchmark)(args)


def _add_common(parser: options.Parser, **defaults: object) -> None:
    """``--rounds`` and ``--out-dir``, which may stand before or after what is measured."""
    parser.add_argument(
        '--rounds',
        type=options.at_least(1),
        default=defaults.get('rounds', argparse.SUPPRESS),
        help='that count (default 5)',
    )
    options.output_folder(
        parser,
        'folder for JSON and PNG (default: work_dirs/benchmark)',
        default=defaults.get('out_dir', argparse.SUPPRESS),
    )


def _add_images(parser: options.Parser) -> None:
    parser.add_argument(
        '--images', type=options.at_least(1), default=64, help='how many files are used (default 64)'
    )


def _add_photos(parser: options.Parser) -> None:
    parser.add_argument('--photos', default='data/demo/images', help='folder of photographs')
    parser.add_argument(
        '--tflite', help="Google's SSD MobileNetV1 file, to be run by TensorFlow Lite and by us"
    )


def _add_faces(parser: options.Parser) -> None:
    parser.add_argument('--faces', default='data/demo/images', help='folder of face images, or of any')
    parser.add_argument('--model', default='facenet_mbv1_1.0-160_color', help='name in the zoo, or weights')
    parser.add_argument('--batch-sizes', type=options.at_least(1), nargs='+', default=[1, 8])


def _add_service(parser: options.Parser) -> None:
    _add_images(parser)
    parser.add_argument('--photos', default='data/demo/images', help='folder of photographs')
    parser.add_argument('--detector', default='ssd_mbv1_0.75_tf_bccd', help='name in the zoo')
    parser.add_argument('--model', default='facenet_mbv1_1.0-160_color', help='embedder, likewise')
    parser.add_argument(
        '--clients', type=options.at_least(1), default=32, help='that ask at one time (default 32)'
    )


def _add_detectors(parser: options.Parser) -> None:
    parser.add_argument(
        '--photos', default='data/lfw_color/whole', help='photographs with a face in the middle of each'
    )
    parser.add_argument(
        '--detectors',
        nargs='+',
        default=['biubug6/retinaface_mobilenet0.25', 'vladmandic/ssd_mobilenetv1_face'],
        metavar='NAME',
        help="names in the zoo, files of mbv1 export, YuNet's .onnx (default: the zoo's)",
    )


def _add_gallery(parser: options.Parser) -> None:
    parser.add_argument(
        '--sizes', type=options.at_least(100), nargs='+', default=[10_000, 100_000], help='entries'
    )
    _add_rivals(parser)


def _add_small_gallery(parser: options.Parser) -> None:
    parser.add_argument(
        '--sizes', type=options.at_least(100), nargs='+', default=[10_000], help='entries of galleries'
    )
    _add_rivals(parser)


def _add_rivals(parser: options.Parser) -> None:
    parser.add_argument(
        '--people',
        nargs='+',
        choices=('made-up', 'real-like'),
        default=['made-up', 'real-like'],
        help='whose embeddings: made up, all alike, or drawn from a fit to real ones (default: both)',
    )
    parser.add_argument(
        '--real',
        metavar='FILE',
        help='real embeddings to fit to: a gallery, its export, or an .npz file with embeddings and '
        'identities or files (default: a fit to LFW by the zoo, which comes with the project)',
    )
    parser.add_argument(
        '--rivals',
        nargs='*',
        choices=_RIVALS,
        default=list(_RIVALS),
        help='what is measured beside the gallery (default: all that are installed)',
    )
    parser.add_argument(
        '--no-graphs', action='store_true', help='leave out the graphs among them, which are long to build'
    )
    parser.add_argument(
        '--ef-construction',
        type=options.at_least(1),
        default=200,
        help='candidates for the neighbours of a new entry, of all graphs (default 200)',
    )
    parser.add_argument(
        '--cache',
        action=options.OutputFolder,
        metavar='FOLDER',
        help="keeps other engines' indexes for the next run (default: cache in --out-dir)",
    )


def _add_shards(parser: options.Parser) -> None:
    parser.add_argument(
        '--entries', type=options.at_least(1), default=100_000, help='in all (default 100000)'
    )
    parser.add_argument('--shards', type=options.at_least(1), default=4, help='galleries (default 4)')


def _add_scale(parser: options.Parser) -> None:
    parser.add_argument(
        '--entries',
        type=options.at_least(1),
        default=1_000_000,
        help='a multiple of 50,000 (default 1000000)',
    )
    parser.add_argument(
        '--bytes-per-vector',
        type=options.at_least(1),
        metavar='N',
        help='room for the index (default: as is best)',
    )


def _add_training(parser: options.Parser) -> None:
    parser.add_argument('config', help='config, or a name in the model zoo: its config')
    options.add_data_root(parser)
    parser.add_argument('--amp', action=argparse.BooleanOptionalAction, default=None)


def _add_variants(parser: options.Parser) -> None:
    parser.add_argument('folder', help='photographs in train/CLASS/ and test/CLASS/, or in CLASS/')
    parser.add_argument('--seeds', type=options.at_least(1), default=3, help='runs a network (default 3)')
    parser.add_argument('--epochs', type=options.at_least(1), default=40, help='of each run (default 40)')
    parser.add_argument('--width', type=float, default=0.25, help='multiplier of all widths (default .25)')
    parser.add_argument('--size', type=options.at_least(32), default=64, help='of the input (default 64)')
