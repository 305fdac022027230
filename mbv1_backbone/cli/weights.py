"""Weights of other projects: import them, compare them with their own runtime.

mbv1 weights import SOURCE --out ours.safetensors
mbv1 weights compare classifier mobilenet_v1_0.75_192_quant.tflite --images FOLDER --labels FILE
mbv1 weights compare detector SSD.tflite CONFIG --images FOLDER --ann-file FILE
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from mbv1_backbone.cli import options
from mbv1_backbone.common.errors import InputError

__all__ = ['add_arguments', 'run_compare_classifier', 'run_compare_detector', 'run_import']


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    _add_import(
        parser.add_verb('import', "Turn another project's MobileNetV1 weights into ours.", run_import)
    )
    compare = parser.add_verb('compare', "Compare TFLite weights' own runtime with our import of them.")
    _add_compare(compare)


def _add_import(parser: options.Parser) -> None:
    parser.add_argument(
        'source',
        nargs='+',
        help='TFLite, Keras .h5, frozen TensorFlow graph .pb or .tgz, TensorFlow checkpoint, .pth or '
        '.safetensors, timm://NAME, keras://NAME; '
        'of a network in several TFLite files, all of them in order',
    )
    options.output_file(parser, ('.safetensors',), 'file to write')
    parser.add_argument(
        '--recalibrate-bn',
        metavar='FOLDER',
        help='measure batch norm statistics on these images, where the source has folded them away '
        '(TFLite): the outputs stay, and training can use the statistics of the batch',
    )


def _add_compare(parser: options.Parser) -> None:
    classifier = parser.add_verb(
        'classifier', 'Top-1 parity and correlation of the logits.', run_compare_classifier
    )
    classifier.add_argument('source', nargs='+', help='TFLite file, or the parts of one network in order')
    classifier.add_argument('--labels', required=True, help='text file: image name and class 0..999 a line')
    detector = parser.add_verb('detector', "COCO's AP of both.", run_compare_detector)
    detector.add_argument('source', help='TFLite file of the released SSD')
    detector.add_argument('config', help='config of our SSD, or a name in the model zoo: its config')
    detector.add_argument('--ann-file', required=True, help='COCO annotations')
    for kind in (classifier, detector):
        kind.add_argument('--images', required=True, help='folder of the images')


def run_import(args: argparse.Namespace) -> None:
    """Import the weights of another project and write them in our layout."""
    from mbv1_backbone.common.images import find_images
    from mbv1_backbone.weights import import_weights, write_weights
    from mbv1_backbone.weights.recalibrate import recalibrate_bn, square_batches
    from mbv1_backbone.weights.report import config_lines, move_table

    _take_former_place(args)
    weights = import_weights(*args.source)
    print(move_table(weights.moves))
    if args.recalibrate_bn:
        if 'rows.0.conv.weight' not in weights.state:
            raise InputError('--recalibrate-bn is for classifiers and backbones, not for detectors')
        images = find_images([args.recalibrate_bn])
        weights = recalibrate_bn(weights, square_batches(images, weights.recipe.input_size))
        print(f'batch norm statistics measured on {len(images)} images of {args.recalibrate_bn}')
    write_weights(weights, args.out)
    print(f'\n{args.out}: {sum(t.numel() for t in weights.state.values()) / 1e6:.3f} M values')
    print(f'fingerprint {weights.fingerprint}')
    print(f'\nIn a config:\n{config_lines(weights.recipe, args.out, weights.state)}')


def run_compare_classifier(args: argparse.Namespace) -> None:
    """Compare our classifier with its TFLite source and print the figures."""
    from mbv1_backbone.weights import import_weights
    from mbv1_backbone.weights.parity import compare, litert_runtime, our_runtime, read_labels
    from mbv1_backbone.weights.recalibrate import square_batches

    weights = import_weights(*args.source)
    files, labels = read_labels(args.labels, args.images)
    found = compare(
        our_runtime(weights),
        litert_runtime(args.source),
        square_batches(files, weights.recipe.input_size),
        [label + (weights.recipe.background is not None) for label in labels],
    )
    print(
        '{images} images: same top-1 class {same_top1:.3f}, correlation of the logits {correlation:.4f}; '
        'right ours {top1:.3f}, source {source_top1:.3f}'.format(**found.figures)
    )


def run_compare_detector(args: argparse.Namespace) -> None:
    """Compare our detector with its TFLite source and print the figures."""
    from mbv1_backbone.inference.detector import Detector
    from mbv1_backbone.inference.detector_parity import compare_with_tflite
    from mbv1_backbone.weights import import_weights, write_weights
    from mbv1_backbone.weights.zoo import find_any_config

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'ssd.safetensors'
        write_weights(import_weights(args.source), path)
        ours = Detector.load(find_any_config(args.config), path)
    for figures in compare_with_tflite(args.source, ours, args.images, args.ann_file):
        print(f'{figures.name:30} AP {figures.ap:.4f}  AP50 {figures.ap50:.4f}')


def _take_former_place(args: argparse.Namespace) -> None:
    """The file to write used to stand last."""
    if args.out is not None:
        return
    if len(args.source) < 2:
        raise InputError('give the file to write: --out FILE.safetensors')
    out = args.source.pop()
    options.warn_renamed(f'mbv1 weights import: the place of {out}', f'--out {out}')
    options.check_output_file(out, ('.safetensors',), '--out')
    args.out = out
