"""Names of the classes that a ``.tflite`` file carries: a list in an archive behind it.

Schema of what says which list it is:
https://github.com/tensorflow/tflite-support/blob/master/tensorflow_lite_support/metadata/metadata_schema.fbs
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from typing import Any

from mbv1_backbone.common.errors import DamagedFileError

__all__ = ['METADATA', 'read_labels']

METADATA = 'TFLITE_METADATA'
_GRAPHS, _OUTPUTS, _FILES, _NAME, _KIND = 3, 3, 6, 0, 2  # of a model, a graph, a tensor, a file
_LABELS = (2, 3)  # AssociatedFileType: of an axis, of values
_MAX_BYTES = 10_000_000


def read_labels(path: str | os.PathLike[str], metadata: bytes | None) -> tuple[str, ...]:
    """The names that belong to a file's outputs, in order; none where it has none.

    Args:
        path: The file.
        metadata: What it keeps under ``METADATA``.

    Raises:
        DamagedFileError: If what is said of them cannot be read, or the list is not in the archive.
    """
    if metadata is None:
        return ()
    try:
        name = _labels_file(metadata)
        if name is None or not zipfile.is_zipfile(path):  # some tools keep the metadata and drop the archive
            return ()
        with zipfile.ZipFile(path) as archive, archive.open(name) as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise ValueError(f'{name} has more than {_MAX_BYTES} bytes')
        return tuple(line.strip() for line in content.decode().splitlines())
    except (
        *(zipfile.BadZipFile, zlib.error, EOFError, OSError),
        *(KeyError, IndexError, TypeError, ValueError, NotImplementedError, RuntimeError, struct.error),
    ) as error:
        raise DamagedFileError(f'{path}: names of the classes cannot be read: {error}') from error


def _labels_file(metadata: bytes) -> str | None:
    """Name of the first list of labels that an output has: https://flatbuffers.dev/internals."""
    from flatbuffers import number_types, table

    def tables(parent: Any, field: int) -> list[Any]:
        offset = parent.Offset(4 + 2 * field)
        count = min(parent.VectorLen(offset), len(metadata) // 4) if offset else 0
        start = parent.Vector(offset) if offset else 0
        return [table.Table(metadata, parent.Indirect(start + 4 * place)) for place in range(count)]

    model = table.Table(metadata, struct.unpack_from('<I', metadata)[0])
    for graph in tables(model, _GRAPHS):
        for tensor in tables(graph, _OUTPUTS):
            for file in tables(tensor, _FILES):
                kind, name = (file.Offset(4 + 2 * field) for field in (_KIND, _NAME))
                if name and kind and file.Get(number_types.Int8Flags, file.Pos + kind) in _LABELS:
                    return bytes(file.String(name + file.Pos)).decode()
    return None
