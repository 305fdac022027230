"""The tables of a job: a row a face, and a row for what has none."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mbv1_backbone.common.errors import DamagedFileError, one_line
from mbv1_backbone.common.files import atomic_file
from mbv1_backbone.face.finder import Place

__all__ = ['FAILURES', 'Failure', 'PartResult', 'read_about', 'write_failures', 'write_part']

FAILURES = 'failures.parquet'
_KEY = b'mbv1_backbone'
_FAILED = pa.schema([('source', pa.string()), ('file', pa.string()), ('reason', pa.string())])
_POINT = pa.list_(pa.float32(), 2)


@dataclass(frozen=True)
class Failure:
    """An image without an embedding.

    Attributes:
        source: Folder, tar or Parquet file that it is in; empty in a list.
        file: Its name there; empty where the source itself is damaged.
        reason: Why, in one line.
    """

    source: str
    file: str
    reason: str


@dataclass(frozen=True)
class PartResult:
    """What a part of a job has found.

    Attributes:
        images: Source, name and SHA-256 of each image that was read, N.
        faces: Index of the image of each face, M.
        vectors: float32 (M, D).
        places: Where in its image each face is, M.
        failures: Of images, and what else could not be read.
        count: Images, those that could not be read among them.
    """

    images: Sequence[tuple[str, str, str]]
    faces: Sequence[int]
    vectors: np.ndarray
    places: Sequence[Place]
    failures: Sequence[Failure]
    count: int


def write_part(path: str | os.PathLike[str], part: PartResult, about: Mapping[str, Any]) -> None:
    """Write the faces of a part, and in the file's metadata its failures and counts.

    The file takes its place whole, so that a part is done or not, with its failures.

    Args:
        path: Of the Parquet file.
        part: What was found.
        about: Of the job: ``model``, ``preprocessing``, ``made_with``.
    """
    columns = _columns(part, about['model'])
    failures = [[one.source, one.file, one.reason] for one in part.failures]
    extra = {**about, 'images': part.count, 'dims': part.vectors.shape[1], 'failures': failures}
    table = pa.table(columns).replace_schema_metadata({_KEY: json.dumps(extra).encode()})
    with atomic_file(path) as file:
        pq.write_table(table, file, compression='zstd')


def _columns(part: PartResult, model: str) -> dict[str, pa.Array]:
    mine = [part.images[index] for index in part.faces]
    places = part.places
    boxes = [None if place.box is None else [float(v) for v in place.box] for place in places]
    points = [
        None if place.landmarks is None else [[float(v) for v in point] for point in place.landmarks]
        for place in places
    ]
    flat = pa.array(np.ascontiguousarray(part.vectors, np.float32).ravel())
    return {
        'source': pa.array([source for source, _, _ in mine], pa.string()),
        'file': pa.array([file for _, file, _ in mine], pa.string()),
        'sha256': pa.array([sha256 for _, _, sha256 in mine], pa.string()),
        'box': pa.array(boxes, pa.list_(pa.float32(), 4)),
        'score': pa.array([place.score for place in places], pa.float64()),
        'quality': pa.array([place.quality and place.quality.value for place in places], pa.float64()),
        'landmarks': pa.array(points, pa.list_(_POINT)),
        'embedding': pa.FixedSizeListArray.from_arrays(flat, part.vectors.shape[1]),
        'model': pa.array([model] * len(mine), pa.string()),
    }


def read_about(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What the file of a part says of itself: ``model``, ``preprocessing``, ``dims``, ``images``, ...

    Raises:
        DamagedFileError: If it is no such file.
    """
    try:
        metadata = pq.read_metadata(path)
        about = json.loads((metadata.metadata or {})[_KEY])
        return {**about, 'faces': metadata.num_rows}
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowInvalid) as error:
        why = 'written by another program' if isinstance(error, KeyError) else one_line(error)
        raise DamagedFileError(f'{path}: not a file of mbv1 embed-job: {why}') from error


def write_failures(path: str | os.PathLike[str], parts: Iterable[Path]) -> None:
    """Write the failures of all parts into one table, part by part."""
    with atomic_file(path) as file, pq.ParquetWriter(file, _FAILED) as writer:
        for rows in _failures(parts):
            writer.write_table(pa.Table.from_pylist(rows, _FAILED))


def _failures(parts: Iterable[Path]) -> Iterator[list[dict[str, str]]]:
    for part in parts:
        rows = read_about(part)['failures']
        if rows:
            yield [dict(zip(_FAILED.names, row, strict=True)) for row in rows]
