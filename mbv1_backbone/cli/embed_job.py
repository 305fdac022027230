"""Embed the faces of very many images into Parquet files, by any number of workers that may die.

mbv1 embed-job NAME photos/ --out-dir job --workers 4
torchrun --no-python --nproc-per-node 4 mbv1 embed-job NAME 's3://bucket/shards/*.tar' --out-dir /shared/job
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mbv1_backbone.cli import options
from mbv1_backbone.common.choices import FACE_POLICIES

if TYPE_CHECKING:
    from mbv1_backbone.jobs.plan import Plan

__all__ = ['add_arguments', 'run']


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    parser.set_defaults(run=run)
    parser.add_argument(
        'model', help='name in the model zoo, checkpoint, published weights, exported file, or a config'
    )
    parser.add_argument(
        'inputs',
        nargs='+',
        metavar='INPUT',
        help='folder of images, list of them (.txt), tar or Parquet files, globs; paths, or URLs of fsspec',
    )
    options.output_folder(
        parser, 'on a disk that all workers share; the same command goes on with what is there', required=True
    )
    parser.add_argument('--checkpoint', help='of the config')
    options.add_detector(parser)
    parser.add_argument('--policy', choices=FACE_POLICIES, default='largest', help='of several faces')
    parser.add_argument('--flip', action='store_true', help='average with the mirrored face')
    parser.add_argument(
        '--workers', type=options.at_least(1), default=1, metavar='N', help='processes here (default 1)'
    )
    parser.add_argument(
        '--part-size',
        type=options.at_least(1),
        default=1000,
        metavar='N',
        help='images that a worker takes at once (default 1000); a tar or Parquet file is taken whole',
    )
    parser.add_argument('--image-column', default='image', help='of Parquet files (default: image)')
    parser.add_argument('--name-column', help='of Parquet files (default: images are named by their row)')
    parser.add_argument(
        '--lease-timeout',
        type=options.within(1, 86400),
        default=300.0,
        metavar='S',
        help="seconds after which the part of another machine's silent worker is taken over (default 300)",
    )
    options.add_batch_size(parser)
    options.add_backend(parser)


def run(args: argparse.Namespace) -> None:
    """Work on the job, alone or by several processes, and say how it ended."""
    from mbv1_backbone.common.cpu import cores
    from mbv1_backbone.jobs.plan import check_job_folder
    from mbv1_backbone.jobs.processes import rank_and_size, run_workers

    check_job_folder(args.out_dir)
    rank, size = rank_and_size()
    if args.workers == 1:
        bar = _Bar() if rank == 0 else None
        plan = _work(args, rank / size, bar)
    else:
        from mbv1_backbone.jobs.plan import open_plan

        plain = {key: value for key, value in vars(args).items() if key not in ('parser', 'run')}
        if args.threads is None and args.device == 'cpu':
            plain['threads'] = max(1, cores() // args.workers)
        bar = _Bar()
        run_workers(args.workers, _worker, (plain,), lambda: bar.look(args.out_dir))
        plan = open_plan(args.out_dir)
    if bar is not None:
        bar.end(plan)


def _worker(plain: dict[str, Any], number: int) -> None:
    """One of several processes."""
    from mbv1_backbone.cli.guard import guarded

    args = argparse.Namespace(**plain)
    sys.exit(guarded(lambda: _discard(_work(args, number / args.workers)), [args.out_dir, *args.inputs]))


def _discard(_: object) -> None:
    pass


def _work(args: argparse.Namespace, share: float, bar: _Bar | None = None) -> Plan:
    from mbv1_backbone.cli.gallery.embedders import made_with, open_embedder
    from mbv1_backbone.jobs.inputs import absolute
    from mbv1_backbone.jobs.processes import local_rank
    from mbv1_backbone.jobs.worker import work

    if args.device == 'cuda' and (number := local_rank()) is not None:
        args.device = f'cuda:{number}'
    embedder = open_embedder(args)
    about = dict(
        inputs=[absolute(name) for name in args.inputs],
        part_size=args.part_size,
        image_column=args.image_column,
        name_column=args.name_column,
        policy=args.policy,
        flip=args.flip,
        made_with=made_with(args, embedder),
    )
    done: Callable[[Plan], object] | None = bar.show if bar is not None else None
    return work(args.out_dir, about, embedder, args.batch_size, share, args.lease_timeout, done)


class _Bar:
    """Parts that all workers of a job have done, with images and faces."""

    def __init__(self) -> None:
        self._counter: Any = None
        self._bar: Any = None

    def look(self, folder: str) -> None:
        """Show a job, once there is one."""
        from mbv1_backbone.jobs.plan import is_planned, open_plan

        if self._counter is not None:
            self.show(self._counter.plan)
        elif is_planned(folder):
            self.show(open_plan(folder))

    def show(self, plan: Plan) -> None:
        """Show how far a job is."""
        from tqdm import tqdm

        from mbv1_backbone.jobs.worker import JobCounter

        if self._counter is None:
            self._counter = JobCounter(plan)
            self._bar = tqdm(total=plan.parts, unit='part', leave=False)
        counts = self._counter.update()
        self._bar.update(counts.parts - self._bar.n)
        self._bar.set_postfix(images=counts.images, faces=counts.faces, failures=counts.failures)

    def end(self, plan: Plan) -> None:
        """Say what a job that is done has found."""
        from mbv1_backbone.common.wording import amount
        from mbv1_backbone.jobs.tables import FAILURES
        from mbv1_backbone.jobs.worker import JobCounter

        counts = (self._counter or JobCounter(plan)).update()
        if self._bar is not None:
            self._bar.close()
        print(
            f'{plan.folder}: {amount(counts.faces, "face")} of {amount(counts.images, "image")} in '
            f'{amount(counts.parts, "part")}, {counts.failures} left out ({FAILURES})'
        )
