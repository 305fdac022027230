"""What a job consists of: its parts, listed once in the folder that all workers share."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mbv1_backbone.common.errors import DamagedFileError, InputError, one_line
from mbv1_backbone.common.files import write_json
from mbv1_backbone.jobs.inputs import IMAGE, Columns, Input, list_inputs
from mbv1_backbone.jobs.leases import Leases
from mbv1_backbone.jobs.tables import RESULTS

__all__ = ['LEASES', 'Plan', 'check_job_folder', 'is_planned', 'made_plan', 'open_plan']

_FOLDER, _ABOUT, _INPUTS = 'plan', 'job.json', 'inputs.parquet'
LEASES = 'leases'
_SCHEMA = pa.schema([('kind', pa.string()), ('source', pa.string()), ('file', pa.string())])
_NEEDED = {'inputs', 'part_size', 'image_column', 'name_column', 'model'}
_WAIT = 0.5  # seconds until another worker's plan is looked for again


@dataclass(frozen=True)
class Plan:
    """A job in its folder.

    Attributes:
        folder: Of the job's output.
        about: What it does with which inputs; the same for all workers.
        parts: How many parts there are.
    """

    folder: Path
    about: dict[str, Any]
    parts: int

    @property
    def columns(self) -> Columns:
        """Of Parquet files that are read."""
        return Columns(self.about['image_column'], self.about['name_column'])

    def inputs(self, part: int) -> list[Input]:
        """What a part reads."""
        with pq.ParquetFile(self.folder / _FOLDER / _INPUTS) as listed:
            rows = listed.read_row_group(part).to_pylist()
        return [Input(**row) for row in rows]

    @property
    def shown(self) -> dict[str, Any]:
        """What the file of each part says of the job beside its task."""
        return {key: self.about[key] for key in ('made_with', 'policy') if key in self.about}

    def result(self, part: int) -> Path:
        """The file of a part, which is there once the part is done."""
        return self.folder / f'{self.results}-{part:06d}.parquet'

    @property
    def results(self) -> str:
        """What the job finds, which is what its files are called: ``faces`` or ``detections``."""
        return RESULTS[self.about['task']]

    def undone(self) -> list[int]:
        """Parts that are not done."""
        there = set(os.listdir(self.folder))
        return [part for part in range(self.parts) if self.result(part).name not in there]


def check_job_folder(folder: str | os.PathLike[str]) -> None:
    """Check that a folder holds a job, or nothing.

    Raises:
        InputError: If it is a URL, or there is something else in it.
    """
    if '://' in os.fspath(folder):
        raise InputError(f'{folder}: a job writes to a folder on a disk that all workers share, not to a URL')
    path = Path(folder)
    if not path.is_dir() or (path / _FOLDER).is_dir():
        return
    ours = (LEASES, f'.{_FOLDER}.')
    if others := sorted(name for name in os.listdir(path) if not name.startswith(ours)):
        raise InputError(f'{folder}: holds {others[0]}, and no job: give a new folder')


def is_planned(folder: str | os.PathLike[str]) -> bool:
    """Whether a job was begun in a folder."""
    return (Path(folder) / _FOLDER).is_dir()


def made_plan(folder: str | os.PathLike[str], about: Mapping[str, Any], leases: Leases) -> Plan:
    """The job in a folder, as it was begun, or begun now.

    Several workers may call this at the same time: one of them lists the inputs, the others wait.

    Args:
        folder: Of the job's output, on a disk that all workers share.
        about: ``inputs``, ``part_size`` and columns, and all else that the output depends on.
        leases: Of this worker.

    Raises:
        InputError: If a job with something else was begun there, or an input is not there.
    """
    folder = Path(folder)
    about = json.loads(json.dumps(about))  # as it is read again
    while not (folder / _FOLDER).is_dir():
        lease = leases.claim(_FOLDER)
        if lease is None:
            time.sleep(_WAIT)
            continue
        try:
            with leases.held(lease):
                if not (folder / _FOLDER).is_dir():
                    _write(folder, about)
        except BaseException:
            with suppress(OSError):  # something is in them
                leases.folder.rmdir()
                folder.rmdir()
            raise
    plan = open_plan(folder)
    for key in sorted({*plan.about, *about}, key=lambda name: (name != 'task', name)):
        if key != 'made_with' and plan.about.get(key) != about.get(key):
            raise InputError(
                f'{folder}: a job was begun there with {key} {plan.about.get(key)!r:.120}, this is '
                f'{about.get(key)!r:.120}: give the same again, or another folder'
            )
    return plan


def _write(folder: Path, about: Mapping[str, Any]) -> None:
    """List the inputs. The folder of the plan takes its place whole, and never another one's."""
    made = folder / f'.{_FOLDER}.{token_hex(8)}'
    made.mkdir()
    try:
        with pq.ParquetWriter(made / _INPUTS, _SCHEMA) as writer:
            for inputs in _parts(list_inputs(about['inputs']), about['part_size']):
                rows = [dict(kind=one.kind, source=one.source, file=one.file) for one in inputs]
                writer.write_table(pa.Table.from_pylist(rows, _SCHEMA))
        write_json(made / _ABOUT, about, indent=1)
        try:
            os.rename(made, folder / _FOLDER)
        except OSError:
            if not (folder / _FOLDER).is_dir():
                raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


def open_plan(folder: str | os.PathLike[str]) -> Plan:
    """A job that was begun.

    Raises:
        DamagedFileError: If there is none.
    """
    folder = Path(folder)
    path = folder / _FOLDER / _INPUTS
    try:
        about = dict(json.loads((folder / _FOLDER / _ABOUT).read_bytes()))
        if about.get('task') not in RESULTS or not about.keys() >= _NEEDED:
            raise ValueError(f'{_ABOUT} does not say what the job does')
        return Plan(folder, about, pq.read_metadata(path).num_row_groups)
    except (OSError, ValueError, TypeError, pa.ArrowInvalid) as error:
        raise DamagedFileError(f'{folder / _FOLDER}: not the plan of a job: {one_line(error)}') from error


def _parts(inputs: Iterator[Input], size: int) -> Iterator[Sequence[Input]]:
    """Each tar and Parquet file alone, and of single images ``size`` together."""
    images: list[Input] = []
    for one in inputs:
        if one.kind == IMAGE:
            images.append(one)
        else:
            yield [one]
        if len(images) == size:
            yield images
            images = []
    if images:
        yield images
