"""One worker of a job: it takes parts that nobody works on until all are done."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mbv1_backbone.common.errors import InputError, one_line
from mbv1_backbone.inference.detector import Detector
from mbv1_backbone.inference.embedder import FaceEmbedder
from mbv1_backbone.jobs.leases import TIMEOUT, Leases
from mbv1_backbone.jobs.plan import LEASES, Plan, check_job_folder, made_plan
from mbv1_backbone.jobs.reading import read_images
from mbv1_backbone.jobs.tables import FAILURES, read_about, write_failures, write_part
from mbv1_backbone.jobs.tasks import Task, task_of

__all__ = ['Counts', 'JobCounter', 'work']

_WAIT = 1.0  # seconds until parts that others work on are looked at again


@dataclass
class Counts:
    """How far a job is.

    Attributes:
        parts: That are done.
        images: In these.
        rows: Faces or detections in these.
        failures: In these.
    """

    parts: int = 0
    images: int = 0
    rows: int = 0
    failures: int = 0


@dataclass
class JobCounter:
    """Counts what all workers of a job have done; files that were counted are not read again."""

    plan: Plan
    counts: Counts = field(default_factory=Counts)
    _seen: set[int] = field(default_factory=set)

    def update(self) -> Counts:
        """Count what came since."""
        undone = {*self.plan.undone(), *self._seen}
        for part in range(self.plan.parts):
            if part not in undone:
                about = read_about(self.plan.result(part))
                self._seen.add(part)
                self.counts.parts += 1
                self.counts.images += about['images']
                self.counts.rows += about['rows']
                self.counts.failures += len(about['failures'])
        return self.counts


def work(
    folder: str | os.PathLike[str],
    about: Mapping[str, Any],
    network: FaceEmbedder | Detector,
    batch_size: int = 8,
    share: float | None = None,
    timeout: float = TIMEOUT,
    done: Callable[[Plan], object] | None = None,
) -> Plan:
    """Work on a job until all of its parts are done, beside any number of other workers.

    Args:
        folder: Of the job's output, on a disk that all workers share.
        about: ``inputs``, ``part_size``, ``image_column``, ``name_column``, ``made_with``, and ``flip`` and
            ``policy`` of an embedder, ``score_thr`` of a detector; the same for all workers.
        network: The same for all.
        batch_size: Faces or images that go through the network at once.
        share: Where in the list of parts this worker begins, 0..1, so that workers seldom meet; by default
            anywhere.
        timeout: Seconds after which the part of a worker that shows no life is taken over.
        done: Called after each part.

    Returns:
        The job.

    Raises:
        InputError: If the folder holds another job, or, after all other parts are done, parts could not be
            read; the same call tries them again.
    """
    check_job_folder(folder)
    task = task_of(network, about)
    leases = Leases(Path(folder) / LEASES, timeout)
    plan = made_plan(folder, {**about, **task.about}, leases)
    worker = _Worker(plan, task, leases, batch_size)
    failed: dict[int, str] = {}
    while undone := [part for part in plan.undone() if part not in failed]:
        if not worker.go_through(_from(undone, share), failed, done):
            time.sleep(_WAIT)
    if failed:
        part, reason = next(iter(failed.items()))
        raise InputError(f'{len(failed)} of {plan.parts} parts could not be read; part {part}: {reason}')
    _collect_failures(plan, leases)
    return plan


@dataclass(frozen=True)
class _Worker:
    plan: Plan
    task: Task
    leases: Leases
    batch_size: int

    def go_through(
        self, parts: list[int], failed: dict[int, str], done: Callable[[Plan], object] | None
    ) -> bool:
        """Do the parts that are free; whether there was one."""
        any_free = False
        for part in parts:
            if self.plan.result(part).exists() or (lease := self.leases.claim(f'{part:06d}')) is None:
                continue
            any_free = True
            with self.leases.held(lease):
                if self.plan.result(part).exists():  # it was done between the two questions
                    continue
                try:
                    self._do(part)
                except InputError as error:
                    failed[part] = one_line(error)
                    continue
            if done is not None:
                done(self.plan)
        return any_free

    def _do(self, part: int) -> None:
        images = read_images(self.plan.inputs(part), self.plan.columns)
        found = self.task.run(images, self.batch_size)
        write_part(self.plan.result(part), found, {**self.task.about, **self.plan.shown})


def _collect_failures(plan: Plan, leases: Leases) -> None:
    """Write the one table of failures, unless another worker has."""
    path = plan.folder / FAILURES
    while not path.exists():
        lease = leases.claim(FAILURES)
        if lease is None:
            time.sleep(_WAIT)
            continue
        with leases.held(lease):
            if not path.exists():
                write_failures(path, (plan.result(part) for part in range(plan.parts)))


def _from(parts: list[int], share: float | None) -> list[int]:
    """The same parts, beginning elsewhere."""
    first = int(len(parts) * (random.random() if share is None else share))
    return parts[first:] + parts[:first]
