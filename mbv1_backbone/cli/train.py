"""Train a model.

mbv1 train configs/detection/ssd_mbv1_coco.py --data-root data/coco
mbv1 train --data data/cards --model ssd_mbv1
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from mbv1_backbone.cli import options, own_data, train_options

if TYPE_CHECKING:
    from mmengine.config import Config

__all__ = ['add_arguments', 'run']

NONE = 'none'  # of --pretrained


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    parser.set_defaults(run=run)
    parser.add_argument('config', nargs='?', help='config, or a name in the model zoo: its config')
    options.add_work_dir(parser, 'folder for logs, curves and checkpoints (default: work_dirs/CONFIG)')
    own_data.add_training(parser)
    options.add_data_root(parser)
    parser.add_argument(
        '--pretrained',
        nargs='?',
        const=options.DEFAULT,
        help='weights for the backbone, a file or timm://NAME, keras://NAME, ...; padding, activation and '
        "preprocessing follow them; without a value, and with --data, Google's ImageNet weights of the "
        "config's width; none for random ones",
    )
    parser.add_argument(
        '--amp',
        action=argparse.BooleanOptionalAction,
        default=None,
        help='mixed precision: bfloat16, on the CPU too (default: on CPUs that multiply in it)',
    )
    parser.add_argument(
        '--qat',
        metavar='CHECKPOINT',
        help='quantisation-aware fine-tuning of a trained network, so that it loses less in int8: 3 epochs '
        'of AdamW, rate from 1e-5 down, unless --cfg-options set train_cfg, optim_wrapper, param_scheduler',
    )
    parser.add_argument(
        '--distill',
        action='store_true',
        help='with --qat: learn from the network itself in float32, without labels (not of detectors)',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='go on from a checkpoint; without a value, from the newest in the work folder',
    )
    train_options.add_arguments(parser)
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale the learning rate to the batch')
    options.add_cfg_options(parser)
    options.add_launcher(parser)


def run(args: argparse.Namespace) -> None:
    """Train as a config and the options say."""
    began = time.monotonic()
    from mbv1_backbone import training
    from mbv1_backbone.cli.networks import cfg_options
    from mbv1_backbone.common.errors import InputError
    from mbv1_backbone.common.outputs import check_output_folder
    from mbv1_backbone.weights.zoo import find_any_config

    own_data.check_options(args)
    if args.distill and not args.qat:
        raise InputError('--distill goes with --qat')
    train_options.check(args)
    config = args.config if args.data is None else own_data.config_for_data(args)
    if config is None:
        return
    cfg = training.load_config(find_any_config(config), cfg_options(args), args.data_root, args.work_dir)
    training.require_keys(cfg, 'train_dataloader', 'train_cfg', 'optim_wrapper')
    check_output_folder(cfg.work_dir, name='--work-dir')
    _start(cfg, args)
    train_options.use(cfg, args, time.monotonic() - began)
    if args.qat:
        training.use_qat(cfg, args.qat, args.distill, cfg_options(args))
    training.require_data(cfg, 'train_dataloader', 'val_dataloader')
    if training.bfloat16_is_default() and not args.qat if args.amp is None else args.amp:
        training.use_bfloat16(cfg)
    if args.auto_scale_lr:
        training.scale_learning_rate(cfg)
    if args.resume:
        training.resume_from(cfg, args.resume)
    training.train(cfg, args.launcher)


def _start(cfg: Config, args: argparse.Namespace) -> None:
    """Have the backbone start from weights, as the options say."""
    from mbv1_backbone import training
    from mbv1_backbone.common.errors import InputError

    if args.pretrained is not None and args.pretrained != NONE:
        start = training.default_start(cfg) if args.pretrained == options.DEFAULT else args.pretrained
        training.use_pretrained(cfg, start)
    elif args.pretrained is None and args.data is not None and not args.warm_start:
        try:
            training.use_pretrained(cfg, training.default_start(cfg))
        except InputError as error:
            raise InputError(f'{error}; --pretrained none starts from random weights') from error
