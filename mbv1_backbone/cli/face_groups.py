"""``mbv1 faces groups``: errors of an embedder by group.

mbv1 faces groups NAME faces.csv --root CROPS --by race gender
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mbv1_backbone.cli import options
from mbv1_backbone.common.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from mbv1_backbone.face.evaluation.groups import GroupRates

__all__ = ['add_arguments', 'run']


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    parser.description = (
        'False match rates within groups of people, and false non-match rates of faces beside altered '
        'copies, at one threshold for all. Each photograph must show another person. What changes between '
        'photographs of a person, such as age and pose, is not measured.'
    )
    parser.add_argument('model', help='embedder: name in the model zoo, weights, or an exported file')
    parser.add_argument('list', help='CSV with file and a column for each --by')
    parser.add_argument(
        '--root', required=True, metavar='FOLDER', help='of the aligned faces; .png will do for .jpg'
    )
    parser.add_argument(
        '--by', nargs='+', required=True, metavar='COLUMN', help='whose values are the groups'
    )
    parser.add_argument(
        '--far',
        type=options.within(1e-6, 0.5),
        default=0.01,
        help='of all pairs, whatever their groups: sets the threshold (default .01)',
    )
    parser.add_argument('--seed', type=options.seed, default=0, help='of the altered copies')
    options.output_file(parser, ('.json',), 'write the figures there')
    options.add_batch_size(parser)
    options.add_backend(parser)


def run(args: argparse.Namespace) -> None:
    """Embed, and print the rates."""
    from dataclasses import asdict

    from mbv1_backbone.cli.networks import open_network
    from mbv1_backbone.common.files import write_json
    from mbv1_backbone.face.evaluation.groups import rates_by_group
    from mbv1_backbone.face.files import read_rows

    rows = read_rows(args.list, ('file', *(column.lower() for column in args.by)))
    paths = [_locate(Path(args.root), row['file']) for row in rows]
    embedder = open_network(args, args.model, None, 'embedder', None)
    faces, copies = _embedded(embedder, paths, args.seed, args.batch_size)
    figures = {}
    for column in args.by:
        rates = rates_by_group(faces, copies, [row[column.lower()] for row in rows], args.far)
        figures[column] = asdict(rates)
        _print(column, rates, args.far)
    if args.out:
        write_json(args.out, figures, indent=2)


def _locate(root: Path, file: str) -> Path:
    """A face; crops of photographs in other formats end in .png."""
    from mbv1_backbone.face.utkface import find_crop

    path = root / file
    if (found := find_crop(root, file)) is not None:
        return found
    raise InputError(f'{path}: no such file, nor {path.with_suffix(".png").name}')


def _embedded(embedder: Any, paths: list[Path], seed: int, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of faces, and of their altered copies."""
    import numpy as np

    from mbv1_backbone.common.images import read_image
    from mbv1_backbone.face.evaluation.groups import altered
    from mbv1_backbone.face.geometry import fit_square

    generator = np.random.default_rng(seed)

    def both() -> Iterator[np.ndarray]:
        for path in paths:
            face = fit_square(read_image(path), embedder.input_size)
            yield face
            yield altered(face, generator)

    vectors = embedder.embed(both(), batch_size).vectors
    return vectors[::2], vectors[1::2]


def _print(column: str, rates: GroupRates, far: float) -> None:
    print(
        f'{column}: threshold {rates.threshold:.3f}, at which {rates.fmr:.3g} of all pairs match '
        f'(at most {far:g} may)'
    )
    for group in rates.groups:
        print(
            f'  {group.name:12} {group.faces:6} faces  false match rate {group.fmr:.4f}  '
            f'false non-match rate {group.fnmr:.4f}'
        )
