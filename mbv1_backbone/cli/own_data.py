"""``--data`` of several verbs: a data set of one's own in place of a config's."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mbv1_backbone.cli import options
from mbv1_backbone.common.errors import InputError

if TYPE_CHECKING:
    from mmengine.config import Config

    from mbv1_backbone.detection.formats.coco import CocoAnnotations
    from mbv1_backbone.detection.formats.splits import DetectionData, Split

__all__ = [
    'add_data',
    'add_training',
    'check_options',
    'check_test_options',
    'config_for_data',
    'set_test_data',
    'test_annotations',
]

_MODEL = 'ssd_mbv1'
_NOT_HELD_OUT = (
    'nothing of it is to test with or to validate on: a network that was trained on it has seen these '
    'images; the config that mbv1 train --data writes tests on those that it held out'
)
_OF_DATA = ('model', 'layout', 'held_out', 'size', 'epochs', 'batch_size', 'save_config')


def add_data(parser: options.Parser, help: str) -> None:
    """``--data`` and ``--layout``."""
    parser.add_argument('--data', help=help)
    parser.add_argument(
        '--layout', choices=('coco', 'yolo', 'voc'), help='of --data (default: the one that is found)'
    )


def add_training(parser: options.Parser) -> None:
    """What ``mbv1 train`` takes for a data set without a config."""
    add_data(
        parser,
        "in place of a config: data set with boxes, a folder, YOLO's data.yaml or COCO's .json; classes, "
        'input size, anchors and schedule follow from it',
    )
    parser.add_argument(
        '--model', help=f'of --data: ssd_mbv1, ssd_mbv1_0.5, ..., or a detection config (default {_MODEL})'
    )
    parser.add_argument(
        '--held-out',
        type=float,
        metavar='SHARE',
        help='of --data that is not divided, to validate on (default .2)',
    )
    parser.add_argument('--size', type=options.at_least(32), help='of --data: side of the input, in pixels')
    parser.add_argument('--epochs', type=options.at_least(1), help='of --data: length of the training')
    parser.add_argument('--batch-size', type=options.at_least(1), metavar='N', help='of --data: images')
    parser.add_argument(
        '--save-config',
        action=options.OutputFile,
        suffixes=('.py',),
        metavar='FILE.py',
        help='of --data: write the config there, and do not train',
    )


def check_options(args: argparse.Namespace) -> None:
    """Check that a config is given or a data set, and its options only with it; no config is written over.

    Raises:
        InputError: If not.
    """
    if args.data is None:
        if args.config is None:
            raise InputError('give a config, or a data set with --data; see mbv1 train --help')
        for name in _OF_DATA:
            if getattr(args, name) is not None:
                option = name.replace('_', '-')
                raise InputError(f'--{option} is of --data, not of config {args.config}')
    elif args.config is not None:
        raise InputError(f'config {args.config} and --data {args.data}: give one; --model names a config')
    elif args.data_root is not None:
        raise InputError(f'--data-root is of a config, not of --data {args.data}')
    elif args.save_config and Path(args.save_config).exists():
        raise InputError(
            f'--save-config {args.save_config}: is there already, perhaps with changes of yours; remove it, '
            'or name another file'
        )


def check_test_options(args: argparse.Namespace) -> None:
    """Check that options of one kind of data are not given with the other, where they would say nothing.

    Raises:
        InputError: If they are.
    """
    if args.data is None and args.layout is not None:
        raise InputError(f'--layout {args.layout} is of --data, which is not given')
    if args.data is not None and args.data_root is not None:
        raise InputError(f'--data-root is of a config, not of --data {args.data}')


def config_for_data(args: argparse.Namespace) -> str | None:
    """Propose a detector for ``--data``, say why, and write its config.

    Returns:
        The config to train; None where ``--save-config`` has it.

    Raises:
        InputError: If the data set or the model cannot be used.
    """
    from mbv1_backbone.common.outputs import check_output_folder
    from mbv1_backbone.detection.formats.layouts import open_data
    from mbv1_backbone.detection.formats.splits import divided
    from mbv1_backbone.training.own_config import write_config
    from mbv1_backbone.training.own_data import Choice, base_config, propose

    model = args.model or _MODEL
    base_config(model)  # before files are read
    data = divided(open_data(args.data, args.layout), args.held_out)
    proposal = propose(data, model, Choice(args.size, args.epochs, args.batch_size))
    print('\n'.join(proposal.lines), flush=True)
    if args.save_config:
        path = Path(args.save_config)
        write_config(proposal, path, path.with_name(f'{path.stem}_annotations'))
        print(f'{path}: mbv1 train {path} --pretrained')
        return None
    name = Path(model).name.removesuffix('.py')
    args.work_dir = args.work_dir or str(Path('work_dirs') / f'{name}_{data.name}')
    folder = check_output_folder(args.work_dir, name='--work-dir')
    path = folder / f'{name}.py'
    write_config(proposal, path, folder / 'annotations')
    return str(path)


def set_test_data(cfg: Config, args: argparse.Namespace) -> None:
    """Have a config's test data be ``--data``: what it has to test with, to validate on, or whole.

    Raises:
        InputError: If the data set cannot be used.
    """
    from mbv1_backbone.training.own_config import use_data

    data, split = _to_test(args)
    use_data(cfg, data, split, Path(cfg.work_dir) / 'annotations')


def test_annotations(args: argparse.Namespace) -> CocoAnnotations:
    """The annotations of what ``--data`` has to test with, with its own classes.

    Raises:
        InputError: If the data set cannot be used.
    """
    data, split = _to_test(args)
    return split.read(data.classes)


def _to_test(args: argparse.Namespace) -> tuple[DetectionData, Split]:
    """The data set and the part of it to test with, which is said, with what is to be known of it."""
    from mbv1_backbone.detection.formats.layouts import open_data

    data = open_data(args.data, args.layout)
    role = next(role for role in ('test', 'val', 'all', 'train') if role in data.splits)
    split = data.splits[role]
    notes = [*data.notes, *([_NOT_HELD_OUT] if role in ('all', 'train') else [])]
    print(f'{args.data}: {data.layout}, {len(split.coco["images"])} images ({role})')
    print(''.join(f'  {note}\n' for note in notes), end='', flush=True)
    return data, split
