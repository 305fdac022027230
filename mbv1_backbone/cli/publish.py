"""Write a checkpoint as safetensors, without optimiser state, with classes and fingerprint.

mbv1 publish CONFIG CHECKPOINT --out ssd.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mbv1_backbone.cli import options

__all__ = ['add_arguments', 'run']


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    parser.set_defaults(run=run)
    parser.add_argument('model', help='config, or a name in the model zoo')
    parser.add_argument('checkpoint', nargs='?', help='of the config: file, or name in the model zoo')
    options.output_file(parser, ('.safetensors',), 'file to write', required=True, former=True)
    parser.add_argument('--half', action='store_true', help='store float16')


def run(args: argparse.Namespace) -> None:
    """Write the weights of a checkpoint for the model zoo."""
    from mbv1_backbone import training
    from mbv1_backbone.cli.networks import config_and_checkpoint
    from mbv1_backbone.weights import write_weights

    config, checkpoint = config_and_checkpoint(args.model, args.checkpoint)
    cfg = training.load_config(config)
    weights = training.published(cfg, checkpoint, args.half)
    write_weights(weights, args.out)
    print(f'{args.out}: {Path(args.out).stat().st_size / 1e6:.2f} MB, fingerprint {weights.fingerprint}')
