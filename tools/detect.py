"""Detect in images: python tools/detect.py CONFIG CHECKPOINT photos/ 'more/*.jpg' --out-dir detections"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mbv1_backbone.common.errors import InputError, command_line
from mbv1_backbone.common.files import write_json
from mbv1_backbone.common.images import find_images
from mbv1_backbone.common.prefetch import prefetch
from mbv1_backbone.detection.drawing import draw_boxes, picture_names, save_png
from mbv1_backbone.inference.detector import Detections, Detector, image_ids
from mbv1_backbone.inference.loading import add_arguments, asked, load


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Detect objects: pictures and detections.json.')
    parser.add_argument('config')
    parser.add_argument('checkpoint', help='file, name in the model zoo, or file of tools/export.py')
    parser.add_argument('images', nargs='+', help='image files, folders or globs')
    parser.add_argument('--out-dir', required=True, help='folder for the pictures and detections.json')
    parser.add_argument('--no-pictures', action='store_true', help='write detections.json alone')
    parser.add_argument(
        '--score-thr', type=float, default=0.3, help='leave out detections below it (default .3)'
    )
    parser.add_argument('--batch-size', type=int, default=8)
    parser.add_argument('--device', default='cpu', help='cpu, cuda:0, ...; other than cpu: PyTorch')
    add_arguments(parser)
    return parser.parse_args()


@command_line
def main() -> None:
    args = parse_args()
    if args.batch_size < 1:
        raise InputError(f'--batch-size must be at least 1, got {args.batch_size}')
    paths = find_images(args.images)
    if args.device == 'cpu':
        detector = load(args.config, args.checkpoint, kind='detector', **asked(args))
    else:
        detector = Detector.load(args.config, args.checkpoint, args.device)
    print(detector.backend)
    out, results, unread = Path(args.out_dir), [], []
    names = picture_names(paths)

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
            save_png(draw_boxes(image, kept.boxes, kept.labels, detector.classes, kept.scores), out / name)

    with tqdm(total=len(paths), unit='image') as bar:
        for _ in prefetch(draw, seen(), threads=2, max_pending=4):
            bar.update()
    if len(unread) == len(paths):
        raise InputError(f'none of {len(paths)} images could be read; the first: {unread[0]}')
    write_json(out / 'detections.json', results, indent=1)
    print(f'{out}: {len(results)} detections in {len(paths) - len(unread)} images')
    for reason in unread:
        print(f'left out: {reason}')


if __name__ == '__main__':
    sys.exit(main())
