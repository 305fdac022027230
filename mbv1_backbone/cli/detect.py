"""Detect objects in images: pictures and detections.json.

mbv1 detect NAME photos/ 'more/*.jpg' --out-dir detections
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mbv1_backbone.cli import options

if TYPE_CHECKING:
    import numpy as np

    from mbv1_backbone.inference.detector import Detections

__all__ = ['RESULTS', 'add_arguments', 'run']

RESULTS = 'detections.json'


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    parser.set_defaults(run=run)
    parser.usage = 'mbv1 detect MODEL [CHECKPOINT] IMAGE [IMAGE ...] --out-dir FOLDER [options]'
    parser.add_argument('model', metavar='MODEL', help='name in the model zoo, exported file, or a config')
    parser.add_argument(
        'images',
        nargs='*',
        metavar='[CHECKPOINT] IMAGE',
        help='image files, folders or globs; of a config its checkpoint comes first: file, name '
        'in the zoo or exported file',
    )
    options.output_folder(
        parser, f'folder for the pictures and {RESULTS}', files=(RESULTS,), metavar='FOLDER', required=True
    )
    parser.add_argument('--no-pictures', action='store_true', help=f'write {RESULTS} alone')
    parser.add_argument(
        '--score-thr',
        type=options.within(0, 1),
        default=0.3,
        help='leave out detections below it (default .3)',
    )
    options.add_batch_size(parser)
    options.add_backend(parser)


def run(args: argparse.Namespace) -> None:
    """Detect, draw, write."""
    from tqdm import tqdm

    from mbv1_backbone.cli.networks import is_config, open_network
    from mbv1_backbone.common.errors import InputError
    from mbv1_backbone.common.files import write_json
    from mbv1_backbone.common.images import find_images
    from mbv1_backbone.common.outputs import check_output_folder
    from mbv1_backbone.common.pictures import picture_names, save_png
    from mbv1_backbone.common.prefetch import prefetch
    from mbv1_backbone.detection.drawing import draw_boxes
    from mbv1_backbone.inference.detector import image_ids

    follows = is_config(args.model)
    if len(args.images) < 1 + follows:
        raise InputError(f'{args.model}: give {"its checkpoint and " if follows else ""}images after it')
    checkpoint, patterns = (args.images[0] if follows else None), args.images[follows:]
    paths = find_images(patterns)
    names = picture_names(paths)
    check_output_folder(args.out_dir, () if args.no_pictures else names, name='--out-dir', read=paths)
    detector = open_network(args, args.model, checkpoint, 'detector')
    print(detector.backend)
    out, results, unread = Path(args.out_dir), [], []

    def seen() -> Iterator[tuple[str, np.ndarray, Detections]]:
        stream = detector.stream(paths, args.batch_size)
        for image_id, path, name, found in zip(image_ids(paths), paths, names, stream, strict=True):
            if isinstance(found, InputError):
                unread.append(str(found))
                continue
            kept = found.detections.above(args.score_thr)
            results.extend(detector.to_coco(kept, image_id, str(path)))
            yield name, found.image, kept

    def draw(item: tuple[str, np.ndarray, Detections]) -> None:
        name, image, kept = item
        if not args.no_pictures:
            save_png(
                draw_boxes(image, kept.boxes, kept.labels.tolist(), detector.classes, kept.scores.tolist()),
                out / name,
            )

    with tqdm(total=len(paths), unit='image') as bar:
        for _ in prefetch(draw, seen(), threads=2, max_pending=4):
            bar.update()
    if len(unread) == len(paths):
        raise InputError(f'none of {len(paths)} images could be read; the first: {unread[0]}')
    write_json(out / RESULTS, results, indent=1)
    print(f'{out}: {len(results)} detections in {len(paths) - len(unread)} images')
    for reason in unread:
        print(f'left out: {reason}')
