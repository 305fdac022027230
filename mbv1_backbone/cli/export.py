"""Export a model to a file, and compare it with PyTorch on real images.

mbv1 export NAME --to openvino --out ssd.xml --images FOLDER
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mbv1_backbone.cli import options
from mbv1_backbone.common.choices import EXPORT_FORMATS, EXPORT_INPUTS, EXPORT_PRECISIONS, PARTS

if TYPE_CHECKING:
    from mbv1_backbone.inference.exportable import Exportable
    from mbv1_backbone.inference.parity import Truth
    from mbv1_backbone.inference.resolve import Trained
    from mbv1_backbone.weights.parity import Parity

__all__ = ['SUFFIXES', 'add_arguments', 'run']

SUFFIXES = {
    'onnx': '.onnx',
    'openvino': '.xml',
    'litert': '.tflite',
    'ncnn': '.ncnn.param',
    'coreml': '.mlpackage',
    'torch-export': '.pt2',
    'aoti': '.aoti.pt2',
    'executorch': '.pte',
}


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    parser.set_defaults(run=run)
    parser.description = (
        'Write a backbone, classifier, face embedder or detector to a file, with all that lies between the '
        'bytes of an image and the prediction, and compare it with PyTorch on real images.'
    )
    parser.add_argument('model', help='name in the model zoo, weights that need no config, or a config')
    parser.add_argument('checkpoint', nargs='?', help='of the config: file, or name in the model zoo')
    parser.add_argument('--to', choices=EXPORT_FORMATS, required=True)
    parser.add_argument('--precision', choices=EXPORT_PRECISIONS, default='fp32')
    parser.add_argument(
        '--input-type',
        choices=EXPORT_INPUTS,
        default='uint8',
        help='of the images that an int8 file for LiteRT takes (default uint8; int8 is the bytes less 128)',
    )
    parser.add_argument('--part', choices=PARTS, default='whole', help='the backbone alone, with its taps')
    options.output_file(
        parser,
        tuple(dict.fromkeys(Path(suffix).suffix or suffix for suffix in SUFFIXES.values())),
        'file to write: .onnx, .xml for OpenVINO, .tflite for LiteRT, .ncnn.param, .mlpackage for Core ML, '
        '.pt2 for torch.export, .aoti.pt2 for AOTInductor, .pte for ExecuTorch',
        required=True,
    )
    parser.add_argument('--images', nargs='+', required=True, help='real images: files, folders or globs')
    parser.add_argument(
        '--num',
        type=options.at_least(1),
        default=64,
        help='how many of them are compared, and how many int8 is calibrated on (default 64)',
    )
    parser.add_argument('--calibrate', nargs='+', help='images for int8; by default those of --images')
    truth = parser.add_mutually_exclusive_group()
    truth.add_argument('--pairs', help='of faces: compare verification accuracy on this list, too')
    truth.add_argument('--ann-file', help="of detectors: compare COCO's AP on these annotations, too")
    truth.add_argument('--labels', help='of classifiers: compare top-1 accuracy on this list, too')
    parser.add_argument(
        '--keep',
        action='store_true',
        help='run this model by its int8 file for OpenVINO from now on, in all verbs and load(), where '
        'that is the fastest here; needs --pairs, --ann-file or --labels',
    )
    parser.add_argument('--data-root', help='folder of the images that such a file names')


def run(args: argparse.Namespace) -> None:
    """Export and compare."""
    from mbv1_backbone.cli.networks import source_and_checkpoint
    from mbv1_backbone.common.errors import InputError
    from mbv1_backbone.common.images import find_images, read_image
    from mbv1_backbone.export import writers
    from mbv1_backbone.inference.exportable import exportable, input_of
    from mbv1_backbone.inference.fastest import keep_int8
    from mbv1_backbone.inference.parity import Truth
    from mbv1_backbone.inference.resolve import resolve
    from mbv1_backbone.runtime.sessions import files_of

    out = _output(args)
    images = find_images(args.images)[: args.num]
    calibrate = find_images(args.calibrate)[: args.num] if args.calibrate else images
    network = resolve(*source_and_checkpoint(args.model, args.checkpoint))
    exported = exportable(network, args.precision, args.part)
    kind = exported.spec.kind
    truths = dict(embedder=args.pairs, detector=args.ann_file, classifier=args.labels)
    if any(file for of, file in truths.items() if of != kind):
        raise InputError(f'{args.model} is a {kind}: --pairs, --ann-file and --labels are of other networks')
    calibration = [input_of(read_image(p), exported.spec) for p in calibrate if args.precision == 'int8']
    truth = Truth(truths[kind], args.data_root) if truths.get(kind) else None
    whole = (args.to, args.precision, args.part) == ('openvino', 'int8', 'whole')
    if args.keep and (truth is None or not whole):
        raise InputError(
            '--keep is for whole networks by --to openvino --precision int8, with --pairs, --ann-file or '
            '--labels'
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f'.{out.name}.') as folder:
        draft = Path(folder) / out.name  # in its place only once it has been compared
        writers.write(*exported, draft, calibration, args.input_type)
        size = sum(path.stat().st_size for path in files_of(draft))
        print(f'{kind}, {size / 1e6:.2f} MB')
        if failures := _compare(network, exported, draft, images, truth):
            raise InputError(f'{out} is out of tolerance and was not written: {"; ".join(failures)}')
        _put(draft, out)
    print(f'{out}: written')
    if args.keep:
        print(f'{keep_int8(out, exported.spec)}: kept for {args.model}')


def _output(args: argparse.Namespace) -> Path:
    """Where to write, checked; and that what is asked for can be compared here."""
    from mbv1_backbone.common.errors import InputError
    from mbv1_backbone.common.outputs import check_output_file
    from mbv1_backbone.runtime.sessions import files_of

    out = Path(args.out)
    if not out.name.endswith(SUFFIXES[args.to]):
        raise InputError(f'--out must end in {SUFFIXES[args.to]} for {args.to}, got {out}')
    if args.to == 'torch-export' and out.name.endswith(SUFFIXES['aoti']):
        raise InputError(f'--out must not end in {SUFFIXES["aoti"]} for torch-export, got {out}')
    check_output_file(out, name='--out')
    for path in files_of(out)[1:]:  # some have others beside them
        check_output_file(path, name='--out')
        if out.suffix == '.xml' and path.exists() and not out.exists():
            raise InputError(f'--out {out}: {path.name} is there, and no {out.name} that it belongs to')
    truth = args.pairs or args.ann_file or args.labels
    if truth and not _runs_here(out):
        raise InputError(f'{truth}: Core ML runs on macOS and iOS alone, here no accuracy can be compared')
    return out


def _put(draft: Path, out: Path) -> None:
    """Move what was written to its place."""
    from mbv1_backbone.common.files import replace_folder
    from mbv1_backbone.runtime.sessions import files_of

    if draft.is_dir():
        replace_folder(draft, out)
        return
    for path in reversed(files_of(draft)):
        os.replace(path, out.with_name(path.name))


def _compare(
    network: Trained, exported: Exportable, file: Path, images: list[Path], truth: Truth | None
) -> list[str]:
    """Print how far the file is from PyTorch, and give what of it is too far."""
    from mbv1_backbone.inference.parity import as_trained, compare
    from mbv1_backbone.runtime.sessions import open_session

    if not _runs_here(file):
        return _compare_stored(exported, file)
    session = open_session(file)
    print(f'{session}, against PyTorch {as_trained(network, exported, session)}:')
    return _shown(compare(network, exported, session, images, truth))


def _runs_here(file: Path) -> bool:
    """Whether this system can run what is exported."""
    from mbv1_backbone.runtime.coreml import runs_coreml

    return file.suffix != '.mlpackage' or runs_coreml()


def _compare_stored(exported: Exportable, file: Path) -> list[str]:
    """The same of a file that this system cannot run."""
    from mbv1_backbone.export.coreml.stored import compare_stored

    print('Core ML runs on macOS and iOS alone: NOT RUN HERE, on no image. Compared instead, the weights and')
    print('biases that are stored with those of PyTorch, batch norms folded; tolerance of each:')
    halves = exported.spec.precision == 'fp16'
    print('one rounding to float16 (2^-11 of the value)' if halves else 'none, they are equal to the bit')
    return _shown(compare_stored(*exported, file))


def _shown(parity: Parity) -> list[str]:
    """Print the figures, and give what is out of tolerance."""
    for name, value in parity.figures.items():
        print(f'  {name:20} {value if isinstance(value, int) else format(value, ".6g")}')
    return parity.failures
