"""Export a model: python tools/export.py CONFIG CHECKPOINT --to openvino --out ssd.xml --images DIR"""

import argparse
import sys
from pathlib import Path

from mbv1_backbone.deploy import export, parity
from mbv1_backbone.deploy.sessions import SUFFIXES, open_session
from mbv1_backbone.engine import load_config
from mbv1_backbone.errors import InputError, command_line
from mbv1_backbone.face.embedder import ExportedEmbedder, FaceEmbedder
from mbv1_backbone.face.geometry import fit_square
from mbv1_backbone.images import find_images, read_image


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Write a face embedder or a detector to a file, with all that lies between '
        'bytes of an image and the answer, and compare it with PyTorch on real images.'
    )
    parser.add_argument('config')
    parser.add_argument('checkpoint', help='file, or name in the model zoo')
    parser.add_argument('--to', choices=['onnx', 'openvino'], required=True)
    parser.add_argument('--precision', choices=export.PRECISIONS, default='fp32')
    parser.add_argument('--out', required=True, help='file to write: .onnx, or .xml for OpenVINO')
    parser.add_argument('--images', nargs='+', required=True, help='real images: files, folders or globs')
    parser.add_argument('--num', type=int, default=64, help='how many of them are compared (default 64)')
    parser.add_argument('--calibrate', nargs='+', help='images for int8; by default those of --images')
    parser.add_argument('--pairs', help='of faces: compare verification accuracy on this list, too')
    parser.add_argument('--ann-file', help="of detectors: compare COCO's AP on these annotations, too")
    parser.add_argument('--data-root', help='folder of the images that --pairs or --ann-file name')
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
    cfg = load_config(args.config)
    if cfg.model.type == 'FaceEmbeddingModel':
        ours = FaceEmbedder.load(args.config, args.checkpoint)
        graph, about = export.embedder_graph(ours, args.precision)
        calibration = [fit_square(read_image(path), ours.input_size) for path in calibrate]
    else:
        from mbv1_backbone.detection.detector import Detector, fit

        ours = Detector.load(cfg, args.checkpoint)
        graph, about = export.detector_graph(ours, cfg, args.precision)
        calibration = [fit(read_image(path), about)[0] for path in calibrate]
    export.write(graph, about, out, calibration if args.precision == 'int8' else ())
    size = sum(path.stat().st_size for path in (out, out.with_suffix('.bin')) if path.exists())
    print(f'{out}: {size / 1e6:.2f} MB')

    session = open_session(out)
    print(f'{session.backend}, {session.precision}, against PyTorch fp32:')
    if about.kind == 'embedder':
        found = parity.compare_embedders(
            ours, ExportedEmbedder(session), session.precision, images, args.pairs, args.data_root
        )
    else:
        from mbv1_backbone.detection.detector import ExportedDetector

        found = parity.compare_detectors(
            ours, ExportedDetector(session), session.precision, images, args.ann_file, args.data_root
        )
    for name, value in found.figures.items():
        print(f'  {name:20} {value:.6g}')
    if found.failures:
        for path in (out, out.with_suffix('.bin')):
            path.unlink(missing_ok=True)
        raise InputError(f'{out} is out of tolerance and was removed: {"; ".join(found.failures)}')


if __name__ == '__main__':
    sys.exit(main())
