"""What the verbs ``embed-job`` and ``detect-job`` share: inputs, workers, and how far a job is."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mbv1_backbone.cli import options

if TYPE_CHECKING:
    from mbv1_backbone.jobs.plan import Plan

__all__ = ['Opener', 'add_job', 'run_job']

# From the arguments a network, and what the output depends on beside it. It is pickled by its name.
Opener = Callable[[argparse.Namespace], tuple[Any, dict[str, Any]]]
_FILES = ('model', 'checkpoint', 'detector')  # arguments that may be paths


def add_job(parser: options.Parser, model: str) -> None:
    """Inputs, the output's folder, and who works on them.

    Args:
        parser: Gets the arguments.
        model: What is said of the model.
    """
    parser.add_argument('model', help=model)
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
    parser.add_argument(
        '--workers', type=options.at_least(1), default=1, metavar='N', help='processes here (default 1)'
    )
    parser.add_argument(
        '--ray',
        metavar='ADDRESS',
        help='workers as tasks of a Ray cluster in place of processes here: auto (the one that this machine '
        'belongs to), local (a new one on this machine), HOST:PORT or ray://HOST:PORT',
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


def run_job(args: argparse.Namespace, opened: Opener) -> None:
    """Work on the job, alone or by several workers, and say how it ended.

    Args:
        args: Parsed arguments.
        opened: Of the verb.
    """
    from mbv1_backbone.jobs.inputs import check_inputs
    from mbv1_backbone.jobs.plan import check_job_folder, open_plan
    from mbv1_backbone.jobs.processes import rank_and_size

    check_job_folder(args.out_dir)
    check_inputs(args.inputs)
    rank, size = rank_and_size()
    if args.workers == 1 and args.ray is None:
        bar = _Bar() if rank == 0 else None
        plan = _work(args, opened, rank / size, bar)
    else:
        bar = _Bar()
        _spread(args, opened, lambda: bar.look(args.out_dir))
        plan = open_plan(args.out_dir)
    if bar is not None:
        bar.end(plan)


def _spread(args: argparse.Namespace, opened: Opener, watch: Callable[[], object]) -> None:
    """Run workers elsewhere: as processes, or as tasks of Ray."""
    from mbv1_backbone.common.cpu import cores
    from mbv1_backbone.jobs.inputs import absolute
    from mbv1_backbone.jobs.processes import run_workers

    plain = {key: value for key, value in vars(args).items() if key not in ('parser', 'run')}
    on_the_cpu = args.device == 'cpu'
    if args.ray is None:
        if args.threads is None and on_the_cpu:
            plain['threads'] = max(1, cores() // args.workers)
        run_workers(args.workers, _worker, (plain, opened), watch)
        return
    from mbv1_backbone.jobs.ray_tasks import run_on_ray

    if on_the_cpu:
        plain['threads'] = args.threads or 1
    plain['out_dir'] = os.path.abspath(args.out_dir)
    plain['inputs'] = [absolute(name) for name in args.inputs]
    files = [name for name in _FILES if plain.get(name) is not None and os.path.exists(plain[name])]
    plain.update({name: os.path.abspath(plain[name]) for name in files})
    cards = 0 if on_the_cpu else 1
    run_on_ray(args.ray, args.workers, _worker, (plain, opened), watch, plain['threads'] or 1, cards)


def _worker(plain: dict[str, Any], opened: Opener, number: int) -> int:
    """One of several workers; its exit code."""
    from mbv1_backbone.cli.guard import guarded

    args = argparse.Namespace(**plain)

    def work() -> None:
        _work(args, opened, number / args.workers)

    return guarded(work, [args.out_dir, *args.inputs])


def _work(args: argparse.Namespace, opened: Opener, share: float, bar: _Bar | None = None) -> Plan:
    from mbv1_backbone.jobs.inputs import absolute
    from mbv1_backbone.jobs.processes import local_rank
    from mbv1_backbone.jobs.worker import work

    if args.device == 'cuda' and (number := local_rank()) is not None:
        args.device = f'cuda:{number}'
    network, more = opened(args)
    about = dict(
        inputs=[absolute(name) for name in args.inputs],
        part_size=args.part_size,
        image_column=args.image_column,
        name_column=args.name_column,
        **more,
    )
    done: Callable[[Plan], object] | None = bar.show if bar is not None else None
    return work(args.out_dir, about, network, args.batch_size, share, args.lease_timeout, done)


class _Bar:
    """Parts that all workers of a job have done, with images and what was found."""

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
        self._bar.set_postfix(
            {'images': counts.images, plan.results: counts.rows, 'failures': counts.failures}
        )

    def end(self, plan: Plan) -> None:
        """Say what a job that is done has found."""
        from mbv1_backbone.common.wording import amount
        from mbv1_backbone.jobs.tables import FAILURES
        from mbv1_backbone.jobs.worker import JobCounter

        counts = (self._counter or JobCounter(plan)).update()
        if self._bar is not None:
            self._bar.close()
        print(
            f'{plan.folder}: {amount(counts.rows, plan.results[:-1])} of {amount(counts.images, "image")} in '
            f'{amount(counts.parts, "part")}, {counts.failures} left out ({FAILURES})'
        )
