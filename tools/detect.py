"""Detect in images: python tools/detect.py CONFIG CHECKPOINT photos/ 'more/*.jpg' --out-dir detections"""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from mbv1_backbone.detection.detector import Detector, image_ids
from mbv1_backbone.detection.draw import draw_boxes, save_png
from mbv1_backbone.errors import InputError, command_line
from mbv1_backbone.files import write_json
from mbv1_backbone.images import find_images, read_image


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Detect objects: pictures and detections.json.')
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('images', nargs='+', help='image files, folders or globs')
    parser.add_argument('--out-dir', required=True, help='folder for the pictures and detections.json')
    parser.add_argument(
        '--score-thr', type=float, default=0.3, help='leave out detections below it (default .3)'
    )
    parser.add_argument('--batch-size', type=int, default=8)
    parser.add_argument('--device', default='cpu', help='cpu, cuda:0, ...')
    return parser.parse_args()


@command_line
def main() -> None:
    args = parse_args()
    paths = find_images(args.images)
    detector = Detector.load(args.config, args.checkpoint, args.device)
    out, results, unread = Path(args.out_dir), [], []
    numbered = list(zip(image_ids(paths), paths, strict=True))
    width = len(str(len(paths)))
    repeated = len({path.stem for path in paths}) < len(paths)
    with tqdm(total=len(paths), unit='image') as bar:
        for start in range(0, len(paths), args.batch_size):
            batch = []
            for position, (image_id, path) in enumerate(numbered[start : start + args.batch_size], start + 1):
                try:
                    batch.append((position, image_id, path, read_image(path)))
                except InputError as error:
                    unread.append(str(error))
            found = detector.detect([image for *_, image in batch], args.batch_size)
            for (position, image_id, path, image), detections in zip(batch, found, strict=True):
                kept = detections.above(args.score_thr)
                results += detector.to_coco(kept, image_id, str(path))
                name = f'{position:0{width}}_{path.stem}.png' if repeated else f'{path.stem}.png'
                drawn = draw_boxes(image, kept.boxes, kept.labels, detector.classes, kept.scores)
                save_png(drawn, out / name)
            bar.update(min(args.batch_size, len(paths) - start))
    if len(unread) == len(paths):
        raise InputError(f'none of {len(paths)} images could be read; the first: {unread[0]}')
    write_json(out / 'detections.json', results, indent=1)
    print(
        f'{out}: {len(results)} detections in {len(paths) - len(unread)} images, detections.json and pictures'
    )
    for reason in unread:
        print(f'left out: {reason}')


if __name__ == '__main__':
    sys.exit(main())
