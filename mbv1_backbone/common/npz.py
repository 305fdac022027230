"""NumPy's ``.npz`` files whose arrays lie where they can be mapped."""

from __future__ import annotations

import io
import math
import os
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import numpy as np

from mbv1_backbone.common.mapping import map_with_room

__all__ = ['map_array', 'write_npz']

_ALIGNED = 64  # bytes: where an array's header begins, and so, by NumPy's format, its values
_LOCAL, _ZIP64 = 30, 20  # bytes of a member's header in a ZIP file, and of its sizes of 64 bits
_PADDING = 0xD935  # the kind of field that Android's zipalign fills up with
_PIECE = 1 << 20


def write_npz(write: Callable[[Any], object], arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as ``numpy.savez`` does, uncompressed and aligned, without ever holding a copy of one.

    Args:
        write: Takes the file's bytes, piece by piece.
        arrays: By their names; of one dimension.
    """
    stream = _Stream(write)
    with zipfile.ZipFile(stream, 'w') as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f'{name}.npy')
            before = stream.written + _LOCAL + len(info.filename) + _ZIP64 + 6
            pad = -before % _ALIGNED
            info.extra = struct.pack('<HHH', _PADDING, 2 + pad, _ALIGNED) + bytes(pad)
            header = io.BytesIO()
            np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
            with archive.open(info, 'w', force_zip64=True) as member:
                member.write(header.getvalue())
                values = np.ascontiguousarray(array).view(np.uint8)
                for start in range(0, len(values), _PIECE):
                    member.write(values[start : start + _PIECE].data)


class _Stream(io.RawIOBase):
    """A file that is only written, from its beginning to its end."""

    def __init__(self, write: Callable[[Any], object]) -> None:
        self._write = write
        self.written = 0

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._write(piece)
        self.written += len(piece)
        return len(piece)


def map_array(file: BinaryIO, name: str, room: float) -> tuple[np.ndarray, int] | None:
    """An array of one dimension of an ``.npz`` file, mapped as ``map_with_room`` does it.

    Args:
        file: Open for reading.
        name: Of the array.
        room: Further values behind it, as a share of its own.

    Returns:
        Its values with room behind them, and how many are its own; None where it cannot be mapped: it is
        empty, compressed, not aligned, or the system does not.

    Raises:
        ValueError: If it is no array of one dimension.
        KeyError: If there is none of this name.
        OSError: If it cannot be read.
    """
    with zipfile.ZipFile(file) as archive:
        info = archive.getinfo(f'{name}.npy')
        with archive.open(info) as member:
            np.lib.format.read_magic(member)
            shape, _, dtype = np.lib.format.read_array_header_1_0(member)
            header = member.tell()
    if len(shape) != 1 or dtype.hasobject:
        raise ValueError(f'{name} is no array of one dimension')
    file.seek(info.header_offset + _LOCAL - 4)
    start = file.tell() + 4 + sum(struct.unpack('<HH', file.read(4))) + header
    length = shape[0] * dtype.itemsize
    fits = start + length <= os.fstat(file.fileno()).st_size
    if info.compress_type != zipfile.ZIP_STORED or start % dtype.itemsize or not fits:
        return None
    more = math.ceil(shape[0] * room) * dtype.itemsize
    found = map_with_room(file, start, length, more)
    return None if found is None else (found.view(dtype), shape[0])
