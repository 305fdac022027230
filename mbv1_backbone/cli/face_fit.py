"""``mbv1 faces fit``: a student whose last layer alone is fitted to teachers.

mbv1 faces fit EMBEDDER targets.npz --crops CROPS --out student.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mbv1_backbone.cli import options
from mbv1_backbone.common.errors import InputError

__all__ = ['add_arguments', 'run']


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    parser.description = (
        'Take the backbone of an embedder as it is, and fit the linear layer behind it to what teachers say '
        '(mbv1 faces targets): minutes on a CPU, where training the whole network takes hours.'
    )
    parser.add_argument('model', help='embedder whose backbone is taken: name in the zoo, or weights')
    parser.add_argument('targets', help='.npz file of mbv1 faces targets')
    parser.add_argument('--crops', required=True, metavar='FOLDER', help='the faces that the targets are of')
    options.output_file(parser, ('.safetensors',), 'file to write', required=True)
    parser.add_argument(
        '--size',
        type=options.at_least(32),
        help="side of the student's images, all of it seen (default: the embedder's own, and its window)",
    )
    parser.add_argument(
        '--pictures', type=options.at_least(1), default=8192, help='that are regressed (default 8192)'
    )
    parser.add_argument('--seed', type=options.seed, default=0, help='of their draw')
    parser.add_argument('--half', action='store_true', help='store float16')


def run(args: argparse.Namespace) -> None:
    """Fit, and write the weights."""
    from dataclasses import replace

    from tqdm import tqdm

    from mbv1_backbone.face.distillation import Targets
    from mbv1_backbone.inference.head_fit import fit_head
    from mbv1_backbone.weights import write_weights

    if not Path(args.crops).is_dir():
        raise InputError(f'{args.crops}: no such folder')
    targets = Targets.read(args.targets)
    count = min(args.pictures, len(targets.recipes))
    with tqdm(total=count, unit='faces', dynamic_ncols=True) as bar:
        weights = fit_head(
            args.model, targets, args.crops, args.size, args.pictures, seed=args.seed, progress=bar.update
        )
    if args.half:
        weights = replace(weights, state={name: value.half() for name, value in weights.state.items()})
    write_weights(weights, args.out)
    print(
        f'{args.out}: {targets.embeddings.shape[1]} values fitted to {", ".join(targets.teachers)} on '
        f'{count} pictures, {Path(args.out).stat().st_size / 1e6:.2f} MB, fingerprint {weights.fingerprint}'
    )
