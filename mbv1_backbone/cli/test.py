"""Evaluate a checkpoint on the test data of a config.

mbv1 test configs/detection/ssd_mbv1_coco.py epoch_120.pth
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from mbv1_backbone.cli import options, own_data

if TYPE_CHECKING:
    from mmengine.config import Config

__all__ = ['add_arguments', 'run']


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    parser.set_defaults(run=run)
    parser.add_argument('model', help='config, or a name in the model zoo')
    parser.add_argument('checkpoint', nargs='?', help='of the config: file, exported file or name in the zoo')
    options.add_work_dir(parser, 'folder for logs and metrics (default: work_dirs/CONFIG)')
    options.add_data_root(parser)
    own_data.add_data(parser, 'evaluate boxes on this data set instead: a folder, data.yaml or .json')
    options.output_file(
        parser,
        ('.json', '.npz'),
        "write all detections to this .json file, in COCO's form; of faces, embeddings to .npz",
    )
    options.output_folder(parser, 'write every image with its annotations and detections there')
    parser.add_argument(
        '--score-thr', type=options.within(0, 1), default=0.3, help='lowest score drawn (default .3)'
    )
    options.add_cfg_options(parser)
    options.add_launcher(parser)


def run(args: argparse.Namespace) -> None:
    """Evaluate a checkpoint on the test data of a config and print the metrics."""
    from mmengine.dist import is_main_process

    from mbv1_backbone import training
    from mbv1_backbone.cli.networks import cfg_options, config_and_checkpoint
    from mbv1_backbone.common.outputs import check_output_folder

    own_data.check_test_options(args)
    config, checkpoint = config_and_checkpoint(args.model, args.checkpoint)
    cfg = training.load_config(config, cfg_options(args), args.data_root, args.work_dir)
    training.require_keys(cfg, 'test_dataloader', 'test_cfg', 'test_evaluator')
    faces = _set_outputs(cfg, args)
    check_output_folder(cfg.work_dir, name='--work-dir')
    if args.data is not None:
        own_data.set_test_data(cfg, args)
    training.require_data(cfg, 'test_dataloader')
    training.evaluate(cfg, checkpoint, args.launcher)
    if not is_main_process():
        return
    if args.out and not faces:
        _put_results(args.out)
    for name, path in (('embeddings' if faces else 'detections', args.out), ('pictures', args.out_dir)):
        if path:
            print(f'{name}: {path}')


def _put_results(out: str) -> None:
    """Put mmdet's file of boxes in its place, with the masks of mmdet's other file where there is one."""
    boxes, masks = (Path(f'{out.removesuffix(".json")}.{kind}.json') for kind in ('bbox', 'segm'))
    if masks.is_file():
        from mbv1_backbone.common.files import write_json

        pairs = zip(*(json.loads(path.read_bytes()) for path in (boxes, masks)), strict=True)
        write_json(boxes, [{**box, 'segmentation': mask['segmentation']} for box, mask in pairs])
        masks.unlink()
    boxes.replace(out)


def _set_outputs(cfg: Config, args: argparse.Namespace) -> bool:
    """Have the evaluator and a hook write what is asked for.

    Returns:
        Whether embeddings of faces are evaluated.

    Raises:
        InputError: If the config's evaluator does not write that, or the file cannot be written.
    """
    from mbv1_backbone.common.errors import InputError
    from mbv1_backbone.common.outputs import check_output_file

    evaluators = cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
    kinds = dict(FaceMetric='FaceMetric', CocoMetric='CocoMetric', CheckedCocoMetric='CocoMetric')
    writers = {kinds[e.type]: e for e in evaluators if e.get('type') in kinds}
    faces = 'FaceMetric' in writers
    if args.out_dir and faces:
        raise InputError('--out-dir draws detections; for faces there is mbv1 faces evaluate --out-dir')
    if args.out_dir:
        hook = dict(type='DrawDetectionsHook', out_dir=args.out_dir, score_thr=args.score_thr)
        cfg.custom_hooks = [*cfg.get('custom_hooks', []), hook]
    if args.out and not writers:
        raise InputError(f'--out is what CocoMetric and FaceMetric write; {cfg.filename} has neither')
    if args.out and faces:
        writers['FaceMetric'].out_file = str(check_output_file(args.out, ['.npz'], '--out'))
    elif args.out:
        writers['CocoMetric'].outfile_prefix = args.out.removesuffix('.json')
        check_output_file(args.out, ['.json'], '--out')
        check_output_file(f'{args.out.removesuffix(".json")}.bbox.json', name='--out')  # mmdet's name for it
    return faces
