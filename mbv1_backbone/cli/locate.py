"""Say where photographs were taken: the likeliest cells of the earth, and a map.

mbv1 locate CONFIG CHECKPOINT photos/ --out-dir places
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mbv1_backbone.cli import options
from mbv1_backbone.common.errors import InputError

if TYPE_CHECKING:
    from mbv1_backbone.geolocation.locator import Located, Locator

__all__ = ['RESULTS', 'add_arguments', 'run']

RESULTS = 'locations.json'


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    parser.set_defaults(run=run)
    parser.usage = 'mbv1 locate MODEL [CHECKPOINT] PHOTO [PHOTO ...] [options]'
    parser.add_argument('model', metavar='MODEL', help='exported file, or a config of places')
    parser.add_argument(
        'images',
        nargs='*',
        metavar='[CHECKPOINT] PHOTO',
        help='image files, folders or globs; of a config its checkpoint comes first',
    )
    options.output_folder(parser, f'folder for maps and {RESULTS}', files=(RESULTS,), metavar='FOLDER')
    parser.add_argument('--no-pictures', action='store_true', help=f'write {RESULTS} alone')
    parser.add_argument(
        '--top', type=options.at_least(1), default=5, metavar='N', help='cells of each photograph (default 5)'
    )
    options.add_batch_size(parser)
    options.add_backend(parser)


def run(args: argparse.Namespace) -> None:
    """Locate, print, draw, write.

    Raises:
        InputError: If the network or the photographs cannot be used, or none could be read.
    """
    from mbv1_backbone.cli.networks import is_config, open_network
    from mbv1_backbone.common.files import write_json
    from mbv1_backbone.common.images import find_images
    from mbv1_backbone.common.outputs import check_output_folder
    from mbv1_backbone.common.pictures import picture_names
    from mbv1_backbone.geolocation.locator import Locator

    follows = is_config(args.model)
    if len(args.images) < 1 + follows:
        raise InputError(f'{args.model}: give {"its checkpoint and " if follows else ""}photographs after it')
    if args.no_pictures and not args.out_dir:
        raise InputError(f'--no-pictures is about --out-dir, where {RESULTS} is written')
    paths = find_images(args.images[follows:])
    pictures = [] if args.no_pictures or not args.out_dir else picture_names(paths)
    if args.out_dir:
        check_output_folder(args.out_dir, pictures, name='--out-dir', read=paths)
    locator = Locator(open_network(args, args.model, args.images[0] if follows else None, 'classifier'))
    print(locator.classifier.backend)
    results, unread = _locate(args, locator, paths, pictures)
    if not results:
        raise InputError(f'none of {len(paths)} photographs could be read; the first: {unread[0]}')
    if args.out_dir:
        write_json(Path(args.out_dir) / RESULTS, results, indent=1)
        print(f'{args.out_dir}: places of {len(results)} photographs')
    for reason in unread:
        print(f'left out: {reason}')


def _locate(
    args: argparse.Namespace, locator: Locator, paths: list[Path], pictures: list[str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Where photographs are from, drawn where there are names for pictures, and why others were not read."""
    from mbv1_backbone.common.prefetch import prefetch

    results: list[dict[str, Any]] = []
    unread: list[str] = []

    def seen() -> Iterator[tuple[str, Path, Located, dict[str, Any]]]:
        stream = locator.stream(paths, args.top, args.batch_size)
        for path, name, found in zip(paths, pictures or [''] * len(paths), stream, strict=True):
            if isinstance(found, InputError):
                unread.append(str(found))
                continue
            results.append(_described(path, found))
            print(_line(results[-1]))
            yield name, path, found, results[-1]

    def draw(item: tuple[str, Path, Located, dict[str, Any]]) -> None:
        if pictures:
            _draw(Path(args.out_dir) / item[0], *item[1:])

    for _ in prefetch(draw, seen(), threads=2, max_pending=4):
        pass
    return results, unread


def _described(path: Path, found: Located) -> dict[str, Any]:
    """A photograph's cells, and how far the best is from the place that its camera wrote down."""
    import numpy as np

    from mbv1_backbone.classification.coordinates import gps_of
    from mbv1_backbone.classification.sphere import great_circle

    locations = [
        dict(
            cell=place.cell,
            latitude=round(place.latitude, 6),
            longitude=round(place.longitude, 6),
            probability=round(place.probability, 6),
        )
        for place in found.locations
    ]
    described: dict[str, Any] = dict(file_name=str(path), locations=locations)
    if truth := gps_of(path):
        best = found.locations[0]
        [distance] = great_circle(np.array([[best.latitude, best.longitude]]), np.array([truth]))
        described['gps'] = dict(latitude=truth[0], longitude=truth[1], distance_km=round(float(distance), 1))
    return described


def _line(result: dict[str, Any]) -> str:
    """One line of the terminal."""
    places = ', '.join(
        f'{p["latitude"]:.3f} {p["longitude"]:.3f} ({p["probability"]:.3f})' for p in result['locations']
    )
    gps = f'; {result["gps"]["distance_km"]} km from its GPS values' if 'gps' in result else ''
    return f'{result["file_name"]}: {places}{gps}'


def _draw(target: Path, path: Path, found: Located, result: dict[str, Any]) -> None:
    import numpy as np

    from mbv1_backbone.classification.maps import TRUTH, Mark, draw_map, view_around
    from mbv1_backbone.classification.s2_cells import from_tokens
    from mbv1_backbone.common.pictures import save_png

    marks = [
        Mark((place.latitude, place.longitude), f'{number}: {100 * place.probability:.1f} %')
        for number, place in enumerate(found.locations, 1)
    ]
    if 'gps' in result:
        marks.append(Mark((result['gps']['latitude'], result['gps']['longitude']), 'GPS', TRUTH))
    best = found.locations[0].probability or 1.0
    picture = draw_map(
        view_around(np.array([mark.place for mark in marks])),
        from_tokens([place.cell for place in found.locations]).tolist(),
        [place.probability / best for place in found.locations],
        marks,
        title=path.name,
        inset=found.image,
    )
    save_png(picture, target)
