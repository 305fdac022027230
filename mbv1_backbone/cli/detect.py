"""Detect objects in images: pictures and detections.json; in films and cameras: a film and JSON lines.

mbv1 detect NAME photos/ 'more/*.jpg' --out-dir detections
mbv1 detect NAME street.mp4 --out-dir street --line 0,240,640,240
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mbv1_backbone.cli import film_options, options
from mbv1_backbone.cli.image_verbs import add_images, add_outputs, inputs_of, look_at, print_left_out

if TYPE_CHECKING:
    import numpy as np

    from mbv1_backbone.inference.detections import Detections, ImageResult

__all__ = ['RESULTS', 'add_arguments', 'run']

RESULTS = 'detections.json'


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    parser.set_defaults(run=run)
    parser.usage = 'mbv1 detect MODEL [CHECKPOINT] IMAGE|FILM|CAMERA ... --out-dir FOLDER [options]'
    add_images(
        parser,
        'name in the model zoo, exported file, or a config',
        'IMAGE',
        ': file, name in the zoo or exported file',
        "; or films; or a camera's number or /dev/videoN, an rtsp:// or http:// address, or - for JPEG files "
        'on standard input',
    )
    add_outputs(parser, 'the pictures', RESULTS, required=True)
    parser.add_argument(
        '--score-thr',
        type=options.within(0, 1),
        default=0.3,
        help='leave out detections below it (default .3)',
    )
    options.add_batch_size(parser)
    film_options.add_film_options(parser)
    film_options.add_counting(parser)
    options.add_backend(parser)


def run(args: argparse.Namespace) -> None:
    """Detect, draw, write."""
    if film_options.is_about_films(args, args.images):
        from mbv1_backbone.cli.detect_films import run_films

        run_films(args)
        return
    inputs = inputs_of(args, RESULTS)
    from mbv1_backbone.cli.networks import open_network
    from mbv1_backbone.common.files import write_json
    from mbv1_backbone.common.wording import amount
    from mbv1_backbone.detection.drawing import draw_boxes
    from mbv1_backbone.inference.detections import image_ids

    paths = inputs.paths
    detector = open_network(args, args.model, inputs.checkpoint, 'detector')
    print(detector.backend)
    results, ids = [], image_ids(paths)

    def note(number: int, found: ImageResult) -> tuple[np.ndarray, Detections]:
        kept = found.detections.above(args.score_thr)
        results.extend(detector.to_coco(kept, ids[number], str(paths[number])))
        return found.image, kept

    def draw(item: tuple[np.ndarray, Detections]) -> np.ndarray:
        image, kept = item
        said = kept.labels.tolist(), detector.classes, kept.scores.tolist()
        return draw_boxes(image, kept.boxes, *said, masks=kept.masks)

    unread = look_at(inputs, detector.stream(paths, args.batch_size), args.out_dir, note, draw)
    write_json(Path(args.out_dir) / RESULTS, results, indent=1)
    print(
        f'{args.out_dir}: {amount(len(results), "detection")} in {amount(len(paths) - len(unread), "image")}'
    )
    print_left_out(unread)
