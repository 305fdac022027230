"""What ``mbv1 train`` takes beside a config: averaged weights, an early end, mosaics, a start, a time."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from mbv1_backbone.cli import options
from mbv1_backbone.common.errors import InputError

if TYPE_CHECKING:
    from mmengine.config import Config

__all__ = ['add_arguments', 'check', 'seconds', 'use']

_PATIENCE = 5  # validations
_LEAST = 60  # seconds
_OPTIONS = ('ema', 'early_stop', 'mosaic', 'warm_start', 'time_budget')
_UNITS = dict(h=3600, m=60, s=1)


def seconds(text: str) -> int:
    """The type of an option: a time such as ``30m``, ``2h``, ``1h30m`` or ``90s``.

    Raises:
        ArgumentTypeError: If it is none, or less than a minute.
    """
    found = re.fullmatch(r'(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?', text)
    parts = found.groups() if found and text else ()
    if not parts:
        raise argparse.ArgumentTypeError(f'must be a time such as 30m, 2h, 1h30m or 90s, got {text!r}')
    total = sum(int(part or 0) * size for part, size in zip(parts, _UNITS.values(), strict=True))
    if total < _LEAST:
        raise argparse.ArgumentTypeError(f'must be at least {_LEAST}s, got {text}')
    return total


def add_arguments(parser: options.Parser) -> None:
    """The options of a run."""
    parser.add_argument(
        '--warm-start',
        metavar='CHECKPOINT',
        help='start the whole network from a trained one, a checkpoint or a name in the model zoo, of the '
        'same network and any classes; the rows of its head that are of other classes start anew. With '
        '--data and a name, --model is its network',
    )
    parser.add_argument(
        '--ema',
        action='store_true',
        help='validate and keep the exponential mean of the weights over a twentieth of the run',
    )
    parser.add_argument(
        '--early-stop',
        nargs='?',
        type=options.at_least(1),
        const=_PATIENCE,
        metavar='N',
        help='stop once so many validations in turn are no better than the best before them (without a '
        f'value {_PATIENCE})',
    )
    parser.add_argument(
        '--mosaic',
        action='store_true',
        help='of detectors: make mosaics of four of half of the training images, but for the last of the run',
    )
    parser.add_argument(
        '--time-budget',
        type=seconds,
        metavar='TIME',
        help='end in this time, such as 30m or 2h, with a validation and a whole checkpoint, the learning '
        "rate at 0; in place of the config's epochs and schedule",
    )


def check(args: argparse.Namespace) -> None:
    """Check that options go together.

    Raises:
        InputError: If they do not.
    """
    given = [f'--{name.replace("_", "-")}' for name in _OPTIONS if getattr(args, name)]
    if args.qat and given:
        raise InputError(f'{given[0]} is not for --qat, which has a short schedule of its own')
    if args.save_config and given:
        raise InputError(f'--save-config does not train: give {given[0]} to mbv1 train with the saved config')
    if args.warm_start and args.pretrained is not None:
        raise InputError('--warm-start and --pretrained both say what to start from: give one')
    if args.time_budget and args.epochs:
        raise InputError('--time-budget and --epochs both say how long to train: give one')
    if args.warm_start is not None:
        _check_start(args)


def _check_start(args: argparse.Namespace) -> None:
    """Find what ``--warm-start`` names before data is read, and the network of it."""
    from mbv1_backbone.weights.zoo import config_of, find_checkpoint

    if not args.warm_start:
        raise InputError('--warm-start must be a checkpoint or a name in the model zoo, got an empty one')
    config = config_of(args.warm_start)
    if config is not None and config.parent.name != 'detection' and args.data is not None:
        raise InputError(f'--warm-start {args.warm_start}: of faces, no start for boxes of your own')
    find_checkpoint(args.warm_start)
    if args.data is not None and args.model is None:
        if config is None:
            raise InputError(f'--warm-start {args.warm_start} with --data: give its network as --model')
        args.model = args.warm_start


def use(cfg: Config, args: argparse.Namespace, gone: float) -> None:
    """Change a config as the options say.

    Args:
        cfg: Changed in place.
        args: Parsed.
        gone: Seconds since the command began.

    Raises:
        InputError: If an option is not for this config.
    """
    if args.warm_start:
        from mbv1_backbone.training.warm_start import use_warm_start

        use_warm_start(cfg, args.warm_start)
    if args.ema or args.early_stop:
        from mbv1_backbone.training.averaging import use_averaging, use_early_stop

        if args.ema:
            use_averaging(cfg)
        if args.early_stop:
            use_early_stop(cfg, args.early_stop)
    if args.mosaic:
        from mbv1_backbone.training.mosaic import use_mosaic

        use_mosaic(cfg)
    if args.time_budget:
        from mbv1_backbone.training.time_budget import use_time_budget

        use_time_budget(cfg, args.time_budget - gone)
