"""Import released weights: python tools/import_weights.py SOURCE OUT.safetensors"""

import argparse
import sys
from pathlib import Path

from mbv1_backbone.common.errors import InputError, command_line
from mbv1_backbone.common.images import find_images
from mbv1_backbone.weights import import_weights, write_weights
from mbv1_backbone.weights.recalibrate import square_batches, unfold
from mbv1_backbone.weights.report import config_lines, move_table


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Turn another project's MobileNetV1 weights into ours.")
    parser.add_argument(
        'source',
        nargs='+',
        help='TFLite, Keras .h5, TensorFlow checkpoint, .pth or .safetensors, timm://NAME, keras://NAME; '
        'of a network in several TFLite files, all of them in order',
    )
    parser.add_argument('out', help='.safetensors file to write')
    parser.add_argument(
        '--unfold',
        metavar='FOLDER',
        help='measure batch norm statistics on these images, where the source has folded them away '
        '(TFLite): the outputs stay, and training can use the statistics of the batch',
    )
    return parser.parse_args()


@command_line
def main() -> None:
    args = parse_args()
    if Path(args.out).suffix != '.safetensors':
        raise InputError(f'weights are written to a .safetensors file, got {args.out}')
    weights = import_weights(*args.source)
    print(move_table(weights.moves))
    if args.unfold:
        if 'rows.0.conv.weight' not in weights.state:
            raise InputError('--unfold is for classifiers and backbones, not for detectors')
        images = find_images([args.unfold])
        weights = unfold(weights, square_batches(images, weights.recipe.input_size))
        print(f'batch norm statistics measured on {len(images)} images of {args.unfold}')
    write_weights(weights, args.out)
    print(f'\n{args.out}: {sum(t.numel() for t in weights.state.values()) / 1e6:.3f} M values')
    print(f'fingerprint {weights.fingerprint}')
    print(f'\nIn a config:\n{config_lines(weights.recipe, args.out, weights.state)}')


if __name__ == '__main__':
    sys.exit(main())
