"""Export a model: python tools/export.py CONFIG CHECKPOINT --to openvino --out ssd.xml --images DIR"""

import argparse
import sys
from pathlib import Path

from mbv1_backbone.common.errors import InputError, command_line
from mbv1_backbone.common.images import find_images, read_image
from mbv1_backbone.export import writers
from mbv1_backbone.inference.parity import Truth, compare
from mbv1_backbone.inference.resolve import PARTS, find_source, input_of
from mbv1_backbone.runtime.sessions import SUFFIXES, files_of, open_session


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Write a backbone, classifier, face embedder or detector to a file, with all that lies '
        'between bytes of an image and the answer, and compare it with PyTorch on real images.'
    )
    parser.add_argument('source', help='config; or weights or a name in the model zoo that need none')
    parser.add_argument('checkpoint', nargs='?', help='of the config: file, or name in the model zoo')
    parser.add_argument('--to', choices=['onnx', 'openvino'], required=True)
    parser.add_argument('--precision', choices=writers.PRECISIONS, default='fp32')
    parser.add_argument('--part', choices=PARTS, default='whole', help='the backbone alone, with its taps')
    parser.add_argument('--out', required=True, help='file to write: .onnx, or .xml for OpenVINO')
    parser.add_argument('--images', nargs='+', required=True, help='real images: files, folders or globs')
    parser.add_argument('--num', type=int, default=64, help='how many of them are compared (default 64)')
    parser.add_argument('--calibrate', nargs='+', help='images for int8; by default those of --images')
    truth = parser.add_mutually_exclusive_group()
    truth.add_argument('--pairs', help='of faces: compare verification accuracy on this list, too')
    truth.add_argument('--ann-file', help="of detectors: compare COCO's AP on these annotations, too")
    truth.add_argument('--labels', help='of classifiers: compare top-1 accuracy on this list, too')
    parser.add_argument('--data-root', help='folder of the images that such a file names')
    return parser.parse_args()


@command_line
def main() -> None:
    args = parse_args()
    wanted = SUFFIXES[args.to == 'openvino']
    out = Path(args.out)
    if out.suffix != wanted:
        raise InputError(f'--out must end in {wanted} for {args.to}, got {out}')
    images = find_images(args.images)[: args.num]
    calibrate = find_images(args.calibrate)[: args.num] if args.calibrate else images
    found = find_source(args.source, args.checkpoint, args.precision, args.part)
    kind, told = found.spec.kind, dict(embedder=args.pairs, detector=args.ann_file, classifier=args.labels)
    if any(file for of, file in told.items() if of != kind):
        raise InputError(f'{args.source} is a {kind}: --pairs, --ann-file and --labels are of other networks')
    calibration = [input_of(read_image(p), found.spec) for p in calibrate if args.precision == 'int8']
    writers.write(found.graph, found.spec, out, calibration)
    size = sum(path.stat().st_size for path in files_of(out))
    print(f'{out}: {kind}, {size / 1e6:.2f} MB')

    session = open_session(out)
    print(f'{session}, against PyTorch fp32:')
    truth = Truth(told[kind], args.data_root) if told.get(kind) else None
    parity = compare(found, session, images, truth)
    for name, value in parity.figures.items():
        print(f'  {name:20} {value:.6g}')
    if parity.failures:
        for path in files_of(out):
            path.unlink()
        raise InputError(f'{out} is out of tolerance and was removed: {"; ".join(parity.failures)}')


if __name__ == '__main__':
    sys.exit(main())
