"""Train a model: python tools/train.py configs/detection/ssd_mbv1_coco.py --data-root data/coco"""

import argparse
import sys

from mmengine.config import DictAction

from mbv1_backbone import training
from mbv1_backbone.common.errors import command_line


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train a model.')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--work-dir', help='folder for logs, curves and checkpoints (default: work_dirs/CONFIG)'
    )
    parser.add_argument('--data-root', help="folder of the data, in place of the config's")
    parser.add_argument(
        '--pretrained',
        help='weights for the backbone, a file or timm://NAME, keras://NAME, ...; padding, activation and '
        'preprocessing follow them',
    )
    parser.add_argument(
        '--amp',
        action=argparse.BooleanOptionalAction,
        default=training.bfloat16_is_default(),
        help='mixed precision: bfloat16, on the CPU too (default: on CPUs that multiply in it)',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='go on from a checkpoint; without a value, from the newest in the work folder',
    )
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale the learning rate to the batch')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides: key=value ...')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    return parser.parse_args()


@command_line
def main() -> None:
    args = parse_args()
    cfg = training.load_config(args.config, args.cfg_options, args.data_root, args.work_dir)
    if args.pretrained:
        training.use_pretrained(cfg, args.pretrained)
    training.require_data(cfg, 'train_dataloader', 'val_dataloader')
    if args.amp:
        training.use_bfloat16(cfg)
    if args.auto_scale_lr:
        training.scale_learning_rate(cfg)
    if args.resume:
        training.resume_from(cfg, args.resume)
    training.train(cfg, args.launcher)


if __name__ == '__main__':
    sys.exit(main())
