"""Evaluate a checkpoint: python tools/test.py configs/detection/ssd_mbv1_coco.py epoch_120.pth"""

import argparse
import sys
from pathlib import Path

from mmengine.config import DictAction
from mmengine.dist import is_main_process

from mbv1_backbone import training
from mbv1_backbone.common.errors import InputError, command_line


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Evaluate a checkpoint on the test data of a config.')
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--work-dir', help='folder for logs and metrics (default: work_dirs/CONFIG)')
    parser.add_argument('--data-root', help="folder of the data, in place of the config's")
    parser.add_argument(
        '--out', help="write all detections to this .json file, in COCO's form; of faces, embeddings to .npz"
    )
    parser.add_argument('--show-dir', help='write every image with its annotations and detections here')
    parser.add_argument('--score-thr', type=float, default=0.3, help='lowest score drawn (default .3)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides: key=value ...')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    return parser.parse_args()


@command_line
def main() -> None:
    args = parse_args()
    cfg = training.load_config(args.config, args.cfg_options, args.data_root, args.work_dir)
    faces = cfg.test_evaluator.get('type') == 'FaceMetric'
    suffix = '.npz' if faces else '.json'
    if args.out and not args.out.endswith(suffix):
        raise InputError(f'--out must end in {suffix}, got {args.out}')
    if args.show_dir and faces:
        raise InputError('--show-dir draws detections; for faces there is tools/evaluate_faces.py --draw')
    training.require_data(cfg, 'test_dataloader')
    if args.show_dir:
        hook = dict(type='DrawDetectionsHook', out_dir=args.show_dir, score_thr=args.score_thr)
        cfg.custom_hooks = [*cfg.get('custom_hooks', []), hook]
    if args.out and faces:
        cfg.test_evaluator.out_file = args.out
    elif args.out:
        cfg.test_evaluator.outfile_prefix = args.out.removesuffix('.json')
    training.evaluate(cfg, args.checkpoint, args.launcher)
    if not is_main_process():
        return
    if args.out and not faces:
        Path(f'{args.out.removesuffix(".json")}.bbox.json').replace(args.out)
    for name, path in (('embeddings' if faces else 'detections', args.out), ('pictures', args.show_dir)):
        if path:
            print(f'{name}: {path}')


if __name__ == '__main__':
    sys.exit(main())
