"""The tables of a job: a row a face or a detection, and a row for what could not be worked on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mbv1_backbone.common.errors import DamagedFileError, one_line
from mbv1_backbone.common.files import atomic_file
from mbv1_backbone.face.finder import Place
from mbv1_backbone.inference.detections import Detections

__all__ = [
    'FAILURES',
    'RESULTS',
    'Failure',
    'PartResult',
    'detection_columns',
    'face_columns',
    'read_about',
    'write_failures',
    'write_part',
]

FAILURES = 'failures.parquet'
RESULTS = {'embed': 'faces', 'detect': 'detections'}  # what the files of parts are called, by task
_KEY = b'mbv1_backbone'
_FAILED = pa.schema([('source', pa.string()), ('file', pa.string()), ('reason', pa.string())])
_POINT, _BOX = pa.list_(pa.float32(), 2), pa.list_(pa.float32(), 4)
Image = tuple[str, str, str]  # source, name and SHA-256


@dataclass(frozen=True)
class Failure:
    """An image that could not be worked on.

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
        columns: Of its table, by name.
        failures: Of images, and what else could not be read.
        count: Images, those that could not be read among them.
    """

    columns: Mapping[str, pa.Array]
    failures: Sequence[Failure]
    count: int


def write_part(path: str | os.PathLike[str], part: PartResult, about: Mapping[str, Any]) -> None:
    """Write the rows of a part, and in the file's metadata its failures and counts.

    The file takes its place whole, so that a part is done or not, with its failures.

    Args:
        path: Of the Parquet file.
        part: What was found.
        about: Of the job: ``task``, ``model``, ``made_with`` and more.
    """
    failures = [[one.source, one.file, one.reason] for one in part.failures]
    extra = {**about, 'images': part.count, 'failures': failures}
    table = pa.table(dict(part.columns)).replace_schema_metadata({_KEY: json.dumps(extra).encode()})
    with _named(path), atomic_file(path) as file:
        pq.write_table(table, file, compression='zstd')


def face_columns(
    images: Sequence[Image], places: Sequence[Place], vectors: np.ndarray, model: str
) -> dict[str, pa.Array]:
    """A row a face.

    Args:
        images: Of each face, M.
        places: Where in its image each is, M.
        vectors: Embeddings, float32 (M, D).
        model: Fingerprint of the network.
    """
    boxes = [None if place.box is None else [float(v) for v in place.box] for place in places]
    points = [
        None if place.landmarks is None else [[float(v) for v in point] for point in place.landmarks]
        for place in places
    ]
    flat = pa.array(np.ascontiguousarray(vectors, np.float32).ravel())
    return {
        **_image_columns(images),
        'box': pa.array(boxes, _BOX),
        'score': pa.array([place.score for place in places], pa.float64()),
        'quality': pa.array([place.quality and place.quality.value for place in places], pa.float64()),
        'landmarks': pa.array(points, pa.list_(_POINT)),
        'embedding': pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
        'model': pa.array([model] * len(images), pa.string()),
    }


def detection_columns(
    found: Sequence[tuple[Image, Detections]], classes: Sequence[str], model: str
) -> dict[str, pa.Array]:
    """A row a detection.

    Args:
        found: Images with what was detected in each.
        classes: Names, by label.
        model: Fingerprint of the network.
    """
    images = [image for image, detections in found for _ in range(len(detections))]
    boxes = [box for _, detections in found for box in detections.boxes.tolist()]
    labels = [label for _, detections in found for label in detections.labels.tolist()]
    points = [
        point
        for _, detections in found
        for point in (
            [None] * len(detections) if detections.landmarks is None else detections.landmarks.tolist()
        )
    ]
    return {
        **_image_columns(images),
        'box': pa.array(boxes, _BOX),
        'score': pa.array([float(s) for _, one in found for s in one.scores], pa.float64()),
        'label': pa.array(labels, pa.int64()),
        'class': pa.array([classes[label] for label in labels], pa.string()),
        'landmarks': pa.array(points, pa.list_(_POINT)),
        'model': pa.array([model] * len(images), pa.string()),
    }


def _image_columns(images: Sequence[Image]) -> dict[str, pa.Array]:
    names = ('source', 'file', 'sha256')
    return {
        name: pa.array([image[place] for image in images], pa.string()) for place, name in enumerate(names)
    }


def read_about(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What the file of a part says of itself: ``model``, ``preprocessing``, ``dims``, ``images``, ...

    Raises:
        DamagedFileError: If it is no such file.
    """
    try:
        metadata = pq.read_metadata(path)
        about = json.loads((metadata.metadata or {})[_KEY])
        return {**about, 'rows': metadata.num_rows}
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowInvalid) as error:
        why = 'written by another program' if isinstance(error, KeyError) else one_line(error)
        raise DamagedFileError(f'{path}: not a file of mbv1 embed-job or detect-job: {why}') from error


def write_failures(path: str | os.PathLike[str], parts: Iterable[Path]) -> None:
    """Write the failures of all parts into one table, part by part."""
    with _named(path), atomic_file(path) as file, pq.ParquetWriter(file, _FAILED) as writer:
        for rows in _failures(parts):
            writer.write_table(pa.Table.from_pylist(rows, _FAILED))


@contextmanager
def _named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Let an error of the system say which file could not be written."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), os.fspath(path)) from error


def _failures(parts: Iterable[Path]) -> Iterator[list[dict[str, str]]]:
    for part in parts:
        rows = read_about(part)['failures']
        if rows:
            yield [dict(zip(_FAILED.names, row, strict=True)) for row in rows]
