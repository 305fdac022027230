"""Make a file for the model zoo: python tools/publish_model.py CONFIG CHECKPOINT OUT.safetensors"""

import argparse
import sys
from pathlib import Path

from mbv1_backbone import training
from mbv1_backbone.common.errors import command_line
from mbv1_backbone.weights import write_weights


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Write a checkpoint without optimiser state as safetensors, with classes and fingerprint.'
    )
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('out', help='.safetensors file to write')
    parser.add_argument('--half', action='store_true', help='store float16')
    return parser.parse_args()


@command_line
def main() -> None:
    args = parse_args()
    cfg = training.load_config(args.config)
    weights = training.published(cfg, args.checkpoint, args.half)
    write_weights(weights, args.out)
    print(f'{args.out}: {Path(args.out).stat().st_size / 1e6:.2f} MB, fingerprint {weights.fingerprint}')


if __name__ == '__main__':
    sys.exit(main())
