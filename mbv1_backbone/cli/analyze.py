"""Say why a detector misses things: kinds of error and their costs, curves, confusions, worst pictures.

mbv1 analyze CONFIG CHECKPOINT --out-dir work_dirs/analysis
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mbv1_backbone.cli import options, own_data
from mbv1_backbone.common.errors import InputError

if TYPE_CHECKING:
    from mmengine.config import Config

    from mbv1_backbone.detection.analysis import Analysis
    from mbv1_backbone.detection.formats.coco import CocoAnnotations

__all__ = ['add_arguments', 'run']

PAGE, REPORT = 'analysis.html', 'analysis.json'


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    parser.set_defaults(run=run)
    parser.add_argument(
        'model', nargs='?', help='config, or a name in the model zoo; none beside --predictions'
    )
    parser.add_argument('checkpoint', nargs='?', help='of the config: file, exported file or name in the zoo')
    parser.add_argument(
        '--predictions',
        metavar='FILE.json',
        help="detections in COCO's form of results, as of mbv1 test --out, in place of a checkpoint",
    )
    own_data.add_data(parser, "data set in place of the config's test data: a folder, data.yaml or .json")
    options.add_data_root(parser)
    options.output_folder(parser, f'folder for {PAGE} and {REPORT}', files=(PAGE, REPORT), required=True)
    options.add_cfg_options(parser)


def run(args: argparse.Namespace) -> None:
    """Detect or read detections, compare, write."""
    from mbv1_backbone.common.files import write_json
    from mbv1_backbone.detection.analysis import analyze
    from mbv1_backbone.detection.analysis_page import write_page
    from mbv1_backbone.detection.formats.values import read_json
    from mbv1_backbone.detection.matching import check_detections

    _check_arguments(args)
    if args.model is None:
        annotations, source = own_data.test_annotations(args), args.predictions
        raw = read_json(args.predictions)
    else:
        annotations, source, raw = _of_config(args)
    if not annotations.report.boxes:
        raise InputError(f'{annotations.path}: no box to compare with, {annotations.report.reasons()}')
    found = analyze(annotations, check_detections(raw, source, annotations))
    folder = Path(args.out_dir)
    write_page(found, folder / PAGE, f'Analysis: {source}')
    write_json(folder / REPORT, found.report(), indent=1)
    print('\n'.join(_summary(found)))
    print(f'{folder / PAGE}, {folder / REPORT}')


def _check_arguments(args: argparse.Namespace) -> None:
    if args.model is None and (args.predictions is None or args.data is None):
        raise InputError('give a config and its checkpoint, or --predictions with --data')
    if args.predictions is not None and args.checkpoint is not None:
        raise InputError(
            f'checkpoint {args.checkpoint} and --predictions {args.predictions}: give one of them'
        )
    own_data.check_test_options(args)


def _of_config(args: argparse.Namespace) -> tuple[CocoAnnotations, str, Any]:
    """The annotations of a config's test data, what the detections come from, and these."""
    from mbv1_backbone import training
    from mbv1_backbone.cli.networks import cfg_options, config_and_checkpoint
    from mbv1_backbone.detection.formats.values import read_json
    from mbv1_backbone.weights.zoo import find_any_config

    if args.predictions is not None:
        config, checkpoint = str(find_any_config(args.model)), None
    else:
        config, checkpoint = config_and_checkpoint(args.model, args.checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        cfg = training.load_config(config, cfg_options(args), args.data_root, folder)
        training.require_keys(cfg, 'test_dataloader', 'test_cfg', 'test_evaluator')
        if args.data is not None:
            own_data.set_test_data(cfg, args)
        training.require_data(cfg, 'test_dataloader')
        annotations = _annotations(cfg)
        if args.data is not None:  # not the copy in a folder that goes
            annotations = replace(annotations, path=args.data)
        if checkpoint is None:
            return annotations, args.predictions, read_json(args.predictions)
        return annotations, Path(checkpoint).name, _detect(cfg, checkpoint, Path(folder))


def _annotations(cfg: Config) -> CocoAnnotations:
    """Of a config's test data.

    Raises:
        InputError: If these are not one data set of boxes.
    """
    from mbv1_backbone.detection.formats.classes import check_classes
    from mbv1_backbone.detection.formats.coco import read_coco
    from mbv1_backbone.training.config import datasets_of

    found = list(datasets_of(cfg.test_dataloader))
    if len(found) != 1 or str(found[0].get('type')).rpartition('.')[2] != 'CheckedCocoDataset':
        kinds = ', '.join(str(dataset.get('type')) for dataset in found)
        raise InputError(
            f'config {cfg.filename}: must test on one data set of boxes in COCO form, got {kinds}'
        )
    [dataset] = found
    classes = (dataset.get('metainfo') or {}).get('classes')
    if classes is None:
        from mmdet.datasets import CocoDataset

        classes = CocoDataset.METAINFO['classes']
    root = Path(dataset.get('data_root') or '.')
    folder = root / ((dataset.get('data_prefix') or {}).get('img') or '')
    return read_coco(root / dataset.ann_file, folder, check_classes(list(classes)))


def _detect(cfg: Config, checkpoint: str, folder: Path) -> Any:
    """The detections of a checkpoint on the test data."""
    from mbv1_backbone import training
    from mbv1_backbone.detection.formats.values import read_json

    evaluators = cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
    metric = next(
        (e for e in evaluators if str(e.get('type')).rpartition('.')[2] == 'CheckedCocoMetric'), None
    )
    if metric is None:
        raise InputError(f'config {cfg.filename}: its test_evaluator is not CocoMetric')
    metric.outfile_prefix = str(folder / 'found')
    training.evaluate(cfg, checkpoint)
    return read_json(folder / 'found.bbox.json')


def _summary(found: Analysis) -> list[str]:
    from mbv1_backbone.detection.tide import KINDS

    report = found.report()
    lines = [
        f'AP {report["ap"]["all"]:.3f}, AP50 {report["ap50"]["all"]:.3f}; what each kind of error costs AP50:'
    ]
    for kind in sorted(KINDS, key=lambda kind: -found.tide.costs[kind]):
        lines.append(f'  {kind:11}{found.tide.costs[kind]:.3f}  {found.tide.counts[kind]} x {KINDS[kind]}')
    lines.append('best threshold of each class, with its F1:')
    for name, curve in [*zip(found.annotations.classes, found.curves, strict=True)][:20]:
        at_best = 'none' if curve.best is None else f'{curve.told:.3f}, F1 {curve.f1[curve.best]:.3f}'
        lines.append(f'  {name}: {at_best}')
    return lines
