"""Detect in very many images, into Parquet files, by any number of workers that may die.

mbv1 detect-job NAME photos/ --out-dir job --workers 4
torchrun --no-python --nproc-per-node 4 mbv1 detect-job NAME 's3://bucket/shards/*.tar' --out-dir /shared/job
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from mbv1_backbone.cli import options
from mbv1_backbone.cli.job_verbs import add_job, run_job

__all__ = ['add_arguments', 'opened', 'run']


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    parser.set_defaults(run=run)
    add_job(parser, 'name in the model zoo, exported file, or a config')
    parser.add_argument(
        '--score-thr',
        type=options.within(0, 1),
        default=0.3,
        help='leave out detections below it (default .3)',
    )


def run(args: argparse.Namespace) -> None:
    """Work on the job."""
    run_job(args, opened)


def opened(args: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """The detector, and what the output depends on beside it."""
    from mbv1_backbone.cli.networks import open_network

    detector = open_network(args, args.model, args.checkpoint, 'detector')
    print(detector.backend, file=sys.stderr)
    names = [Path(one).name if Path(one).is_file() else one for one in (args.model, args.checkpoint) if one]
    return detector, dict(score_thr=args.score_thr, made_with={'model': ' '.join(names)})
