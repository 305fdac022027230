"""From a job's Parquet files into a gallery of any kind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mbv1_backbone.common.errors import DamagedFileError, InputError, one_line
from mbv1_backbone.common.names import plain_name
from mbv1_backbone.common.tables import read_table
from mbv1_backbone.jobs.plan import is_planned, open_plan
from mbv1_backbone.jobs.tables import read_about
from mbv1_backbone.retrieval import GalleryLike
from mbv1_backbone.retrieval.checks import check_box
from mbv1_backbone.retrieval.conditions import value_of
from mbv1_backbone.retrieval.records import FOLDER
from mbv1_backbone.retrieval.unnamed import unnamed

__all__ = [
    'FromParquet',
    'Named',
    'by_folder',
    'by_table',
    'check_parquet',
    'enrol_parquet',
    'nobody',
    'parquet_files',
]

_BATCH = 500  # faces that are added in one change
Named = Callable[[str], tuple[str | None, Mapping[str, Any]] | None]


@dataclass
class FromParquet:
    """What became of a job's faces.

    Attributes:
        faces: That the files hold.
        added: That are new in the gallery.
        known: That were there already.
        poor: Of too low a quality.
        nameless: Images that nobody has named, the first hundred; they are left out.
        without_name: How many faces these have, all of them.
    """

    faces: int = 0
    added: int = 0
    known: int = 0
    poor: int = 0
    without_name: int = 0
    nameless: list[str] = field(default_factory=list)


def parquet_files(names: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """The files of a job: folders of jobs, or single files.

    Raises:
        InputError: If there is none, or a job is not done.
    """
    found: list[Path] = []
    for name in map(Path, names):
        if not name.is_dir():
            found.append(name)
            continue
        inside = sorted(name.glob('faces-*.parquet'))
        if not inside:
            raise InputError(f'{name}: no faces-*.parquet, which mbv1 embed-job writes')
        if is_planned(name) and (undone := open_plan(name).undone()):
            raise InputError(
                f'{name}: {len(undone)} parts of the job are not done: the command that began it goes on, or '
                'give single files'
            )
        found += inside
    return found


def nobody(file: str) -> tuple[str | None, Mapping[str, Any]] | None:
    """Every face has an automatic name."""
    return None, {}


def by_folder(file: str) -> tuple[str | None, Mapping[str, Any]] | None:
    """The person is the folder that an image lies in."""
    parent = PurePosixPath(file).parent.name
    return (plain_name(parent), {}) if parent else None


def by_table(path: str | os.PathLike[str]) -> Named:
    """The person is the one that a CSV file with ``file`` and ``identity`` says; more columns are metadata.

    Raises:
        InputError: If it cannot be read.
    """
    table = read_table(path, ('file', 'identity'))
    if table.problems:
        line, problem = next(iter(table.problems.items()))
        raise InputError(f'{path}: line {line}: {problem}')
    rows = {
        row['file']: (
            plain_name(row['identity']),
            {key: value_of(cell) for key, cell in row.items() if cell and key not in ('file', 'identity')},
        )
        for row in table.rows.values()
    }
    return rows.get


def check_parquet(files: Sequence[Path]) -> dict[str, Any]:
    """What all of some files say of themselves: ``model``, ``preprocessing``, ``dims``, ``made_with``.

    Raises:
        InputError: If they are of two models, or one is no such file.
    """
    first: dict[str, Any] = {}
    for file in files:
        about = read_about(file)
        if about['task'] != 'embed':
            raise InputError(f'{file}: detections of mbv1 detect-job, which a gallery has no use for')
        first = first or about
        for key in ('model', 'preprocessing', 'dims'):
            if about[key] != first[key]:
                raise InputError(f'{file} has {key} {about[key]!r:.60}, {files[0]} has {first[key]!r:.60}')
    return first


def enrol_parquet(
    gallery: GalleryLike,
    files: Sequence[Path],
    named: Named,
    min_quality: float = 0.0,
    progress: Callable[[int], object] | None = None,
    about: Mapping[str, Any] | None = None,
) -> FromParquet:
    """Add a job's faces to a gallery; those that are there are passed over, so that it may be done again.

    Args:
        gallery: Of the job's model.
        files: Of the job.
        named: Whose face an image shows (None for an automatic name), with metadata; None leaves it out.
        min_quality: Faces of a lower quality are left out; images that were taken as they are have none.
        progress: Called with a number of further faces.
        about: What ``check_parquet`` says of the files; None lets it read them.

    Raises:
        InputError: If a file is damaged, or of another model than the gallery; nothing is added then.
    """
    if about is None:
        about = check_parquet(files)
    gallery.check_model(about['model'], about['preprocessing'])
    done = FromParquet()
    with gallery.bulk():
        for file in files:
            for rows in _rows(file):
                done.faces += len(rows['file'])
                _add(gallery, rows, named, min_quality, done)
                if progress is not None:
                    progress(len(rows['file']))
    gallery.optimize()
    return done


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    try:
        with pq.ParquetFile(file) as table:
            for batch in table.iter_batches(_BATCH):
                vectors = batch.column('embedding')
                rows: dict[str, Any] = batch.drop_columns(['embedding', 'model']).to_pydict()
                rows['embedding'] = vectors.flatten().to_numpy().reshape(len(vectors), -1)
                yield rows
    except (OSError, KeyError, pa.ArrowInvalid) as error:
        raise DamagedFileError(f'{file}: {one_line(error)}') from error


def _add(
    gallery: GalleryLike, rows: Mapping[str, Any], named: Named, min_quality: float, done: FromParquet
) -> None:
    chosen: list[int] = []
    names: list[str] = []
    metadata: list[dict[str, Any]] = []
    boxes = [check_box(box) for box in rows['box']]
    for row, (source, file) in enumerate(zip(rows['source'], rows['file'], strict=True)):
        quality = rows['quality'][row]
        if quality is not None and quality < min_quality:
            done.poor += 1
            continue
        if (who := named(file)) is None:
            done.without_name += 1
            if len(done.nameless) < 100:
                done.nameless.append(file)
            continue
        chosen.append(row)
        names.append(who[0] or unnamed(rows['sha256'][row], boxes[row]))
        metadata.append({**who[1], **({FOLDER: source} if source else {})})
    if chosen:
        columns = [[rows[key][row] for row in chosen] for key in ('landmarks', 'score', 'quality')]
        added = gallery.add(
            np.ascontiguousarray(rows['embedding'][chosen]),
            names,
            [rows['file'][row] for row in chosen],
            [rows['sha256'][row] for row in chosen],
            metadata,
            [boxes[row] for row in chosen],
            *columns,
        )
        done.added += added.new
        done.known += len(chosen) - added.new
