"""Say where photographs were taken: the likeliest cells of the earth, and a map.

mbv1 locate CONFIG CHECKPOINT photos/ --out-dir places
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mbv1_backbone.cli import options
from mbv1_backbone.cli.image_verbs import add_images, add_outputs, inputs_of, look_at, print_left_out
from mbv1_backbone.common.files import shown

if TYPE_CHECKING:
    import numpy as np

    from mbv1_backbone.geolocation.locator import Located

__all__ = ['RESULTS', 'add_arguments', 'run']

RESULTS = 'locations.json'
_LOG = logging.getLogger('mbv1_backbone')


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    parser.set_defaults(run=run)
    parser.usage = 'mbv1 locate MODEL [CHECKPOINT] PHOTO [PHOTO ...] [options]'
    add_images(parser, 'exported file, or a config of places', 'PHOTO')
    add_outputs(parser, 'maps', RESULTS)
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
    from mbv1_backbone.cli.networks import open_network
    from mbv1_backbone.common.files import write_json
    from mbv1_backbone.common.wording import amount
    from mbv1_backbone.geolocation.locator import Locator

    inputs = inputs_of(args, RESULTS, 'photographs')
    network = open_network(args, args.model, inputs.checkpoint, 'classifier')
    locator = Locator(network, inputs.checkpoint or args.model)
    print(locator.classifier.backend)
    results: list[dict[str, Any]] = []

    def note(number: int, found: Located) -> tuple[Path, Located, dict[str, Any]]:
        results.append(_described(inputs.paths[number], found))
        print(_line(results[-1]))
        return inputs.paths[number], found, results[-1]

    stream = locator.stream(inputs.paths, args.top, args.batch_size)
    unread = look_at(inputs, stream, args.out_dir, note, lambda item: _map(*item), progress=False)
    if args.out_dir:
        write_json(Path(args.out_dir) / RESULTS, results, indent=1)
        print(f'{args.out_dir}: places of {amount(len(results), "photograph")}')
    print_left_out(unread)


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
    truth = gps_of(path)
    if truth == (0, 0):
        _LOG.warning('%s: GPS values 0, 0 often stand for unknown, and are not compared', shown(path))
    elif truth is not None:
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
    return f'{shown(result["file_name"])}: {places}{gps}'


def _map(path: Path, found: Located, result: dict[str, Any]) -> np.ndarray:
    import numpy as np

    from mbv1_backbone.classification.maps import TRUTH, Mark, draw_map, view_around
    from mbv1_backbone.classification.s2_cells import from_tokens

    marks = [
        Mark((place.latitude, place.longitude), f'{number}: {100 * place.probability:.1f} %')
        for number, place in enumerate(found.locations, 1)
    ]
    if 'gps' in result:
        marks.append(Mark((result['gps']['latitude'], result['gps']['longitude']), 'GPS', TRUTH))
    best = found.locations[0].probability or 1.0
    cells = from_tokens([place.cell for place in found.locations]).tolist()
    return draw_map(
        view_around(np.array([mark.place for mark in marks]), cells),
        cells,
        [place.probability / best for place in found.locations],
        marks,
        title=path.name,
        inset=found.image,
    )
