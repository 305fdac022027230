"""Compare imported weights with the source's own runtime, on real images.

python tools/compare_weights.py classifier mobilenet_v1_0.75_192_quant.tflite --images DIR --labels FILE
python tools/compare_weights.py detector SSD.tflite CONFIG --images DIR --ann-file FILE
"""

import argparse
import sys
import tempfile
from pathlib import Path

from mbv1_backbone.common.errors import InputError, command_line
from mbv1_backbone.inference.detector import Detector
from mbv1_backbone.inference.detector_parity import compare_detectors
from mbv1_backbone.weights import import_weights, write_weights
from mbv1_backbone.weights.parity import compare, litert_runtime, our_runtime, read_labels
from mbv1_backbone.weights.recalibrate import square_batches


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Compare TFLite weights' own runtime with our import of them."
    )
    kinds = parser.add_subparsers(dest='kind', required=True)
    classifier = kinds.add_parser('classifier', help='top-1 agreement and correlation of the logits')
    classifier.add_argument('source', nargs='+', help='TFLite file, or the parts of one network in order')
    classifier.add_argument('--labels', required=True, help='text file: image name and class 0..999 a line')
    detector = kinds.add_parser('detector', help="COCO's AP of both")
    detector.add_argument('source', help='TFLite file of the released SSD')
    detector.add_argument('config', help='config of our SSD')
    detector.add_argument('--ann-file', required=True, help='COCO annotations')
    for kind in (classifier, detector):
        kind.add_argument('--images', required=True, help='folder of the images')
    return parser.parse_args()


@command_line
def main() -> None:
    args = parse_args()
    if args.kind == 'classifier':
        weights = import_weights(*args.source)
        files, labels = read_labels(args.labels, args.images)
        found = compare(
            our_runtime(weights),
            litert_runtime(args.source),
            square_batches(files, weights.recipe.input_size),
            [label + (weights.recipe.background is not None) for label in labels],
        )
        print(
            f'{found.images} images: same top-1 class {found.same_top1:.3f}, correlation of the logits '
            f'{found.correlation:.4f}; right ours {found.top1:.3f}, source {found.source_top1:.3f}'
        )
        return
    if not Path(args.ann_file).is_file():
        raise InputError(f'--ann-file {args.ann_file}: no such file')
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'ssd.safetensors'
        write_weights(import_weights(args.source), path)
        ours = Detector.load(args.config, path)
    for figures in compare_detectors(args.source, ours, args.images, args.ann_file):
        print(f'{figures.name:30} AP {figures.ap:.4f}  AP50 {figures.ap50:.4f}')


if __name__ == '__main__':
    sys.exit(main())
