"""Divide the earth into cells by where photographs were taken: the classes of a network of places.

mbv1 cells data/places/train.csv --out-dir data/places
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mbv1_backbone.cli import options
from mbv1_backbone.common.errors import InputError

__all__ = ['FILE', 'MAP', 'add_arguments', 'run']

FILE, MAP = 'cells.json', 'cells.png'


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    parser.set_defaults(run=run)
    parser.add_argument(
        'source',
        metavar='PHOTOS',
        help='of the training photographs: a CSV file of file, latitude and longitude, or a folder of '
        'photographs with GPS values',
    )
    options.output_folder(
        parser,
        f'folder for {FILE} and a map of them, {MAP}',
        files=(FILE, MAP),
        metavar='FOLDER',
        required=True,
    )
    parser.add_argument(
        '--max-photos',
        type=options.at_least(1),
        default=10_000,
        metavar='N',
        help="divide cells with more (default 10000, PlaNet's)",
    )
    parser.add_argument(
        '--min-photos',
        type=options.at_least(1),
        default=50,
        metavar='N',
        help="leave out cells with fewer (default 50, PlaNet's)",
    )
    parser.add_argument(
        '--min-level',
        type=options.at_least(0),
        default=0,
        metavar='N',
        help="begin with S2's cells of this level, 0 to 30 (default 0: the six faces of a cube)",
    )


def run(args: argparse.Namespace) -> None:
    """Read the photographs, divide, write, and say what there is.

    Raises:
        InputError: If the photographs cannot be used, or would be overwritten.
    """
    from mbv1_backbone.classification.coordinates import read_located
    from mbv1_backbone.classification.maps import draw_map, shades_of, view_around
    from mbv1_backbone.classification.partition import Partition
    from mbv1_backbone.classification.s2_cells import levels_of
    from mbv1_backbone.common.outputs import check_apart, check_output_folder
    from mbv1_backbone.common.pictures import save_png
    from mbv1_backbone.common.wording import amount

    source, out = Path(args.source), Path(args.out_dir)
    earlier = _is_ours(out / FILE)
    if not earlier and source.is_dir():
        check_apart(out / MAP, [source], '--out-dir')
    found = read_located(source, out / MAP if earlier else None)
    folder = source if source.is_dir() else source.parent
    read = [source, *(folder / file for file in found.files)]
    check_output_folder(out, (FILE, MAP), name='--out-dir', read=read)
    cells = Partition.fit(found.places, args.max_photos, args.min_photos, args.min_level)
    cells.save(out / FILE)
    levels = levels_of(cells.ids)
    left_out = f'; in none: {amount(cells.left_out, "photograph")}' if cells.left_out else ''
    title = f'{len(cells)} cells of {amount(len(found), "photograph")}'
    print(
        f'{out / FILE}: {title}{left_out}; levels {levels.min()} to {levels.max()}, {cells.photos.min()} to '
        f'{amount(int(cells.photos.max()), "photograph")} each'
    )
    view = view_around(found.places)
    save_png(draw_map(view, cells.ids.tolist(), shades_of(cells.photos), title=title), out / MAP)
    print(f'map: {out / MAP}')


def _is_ours(path: Path) -> bool:
    """Whether a file is of an earlier run, whose map is no photograph."""
    from mbv1_backbone.classification.partition import Partition

    try:
        Partition.load(path)
    except InputError:
        return False
    return True
