"""Embed the faces of very many images into Parquet files, by any number of workers that may die.

mbv1 embed-job NAME photos/ --out-dir job --workers 4
torchrun --no-python --nproc-per-node 4 mbv1 embed-job NAME 's3://bucket/shards/*.tar' --out-dir /shared/job
"""

from __future__ import annotations

import argparse
from typing import Any

from mbv1_backbone.cli import options
from mbv1_backbone.cli.job_verbs import add_job, run_job
from mbv1_backbone.common.choices import FACE_POLICIES

__all__ = ['add_arguments', 'opened', 'run']


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    parser.set_defaults(run=run)
    add_job(parser, 'name in the model zoo, checkpoint, published weights, exported file, or a config')
    options.add_detector(parser)
    parser.add_argument('--policy', choices=FACE_POLICIES, default='largest', help='of several faces')
    parser.add_argument('--flip', action='store_true', help='average with the mirrored face')


def run(args: argparse.Namespace) -> None:
    """Work on the job."""
    run_job(args, opened)


def opened(args: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """The embedder, and what the output depends on beside it."""
    from mbv1_backbone.cli.gallery.embedders import made_with, open_embedder

    embedder = open_embedder(args)
    return embedder, dict(policy=args.policy, flip=args.flip, made_with=made_with(args, embedder))
