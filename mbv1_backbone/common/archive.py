"""PyTorch's files are zip archives, whose members have checksums: damage is found before anything is used."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib

from mbv1_backbone.common.errors import DamagedFileError, InputError

__all__ = ['check_archive']

# What zipfile raises over damaged files; anything else is a defect of the code.
_OF_ZIPFILE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError),
    *(RuntimeError, ValueError, ArithmeticError, LookupError),
)


def check_archive(path: str | os.PathLike[str]) -> None:
    """Compare the members of a ``.pth`` with their CRC-32: ``torch.save`` writes, ``torch.load`` ignores it.

    Raises:
        InputError: If the file cannot be read.
        DamagedFileError: If it is no archive, cut short, or a member is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError('PyTorch does not compress')
            damaged = archive.testzip()
    except OSError as error:
        raise InputError(f'{path}: {error.strerror or error}') from error
    except _OF_ZIPFILE as error:
        raise DamagedFileError(
            f'{path}: cannot be loaded safely, it is damaged or not of PyTorch 1.6 or newer'
        ) from error
    if damaged is not None:
        raise DamagedFileError(f'{path}: is damaged: {damaged} is not that of its checksum')
