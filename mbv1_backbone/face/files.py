"""Files of faces: folders and lists of people, embeddings. Nothing here needs torch or mmengine."""

from __future__ import annotations

import io
import os
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mbv1_backbone.common.errors import InputError, one_line
from mbv1_backbone.common.files import decode, write_atomically
from mbv1_backbone.common.folders import walk_images
from mbv1_backbone.common.tables import read_table

__all__ = [
    'is_text',
    'locate',
    'read_archive',
    'read_embeddings',
    'read_identities',
    'read_names',
    'read_rows',
    'scan_people',
    'write_embeddings',
]

_MISPLACED = ('loose, in no folder of a person', 'too deep in a folder of a person')


def scan_people(folder: Path) -> dict[str, str]:
    """Relative path -> identity, of ``FOLDER/PERSON/IMAGE``, sorted.

    What is skipped is said in the log, by reason: beside what ``walk_images`` leaves, images that lie
    loose beside the people, those deeper than a person's folder, and folders without images.

    Raises:
        InputError: If the folder does not exist.
    """
    if not folder.is_dir():
        raise InputError(f'{folder}: no such folder')
    found = walk_images(folder)
    files = [path.relative_to(folder) for path in found]
    found.skipped += Counter(_MISPLACED[len(file.parts) > 2] for file in files if len(file.parts) != 2)
    named = {file.parts[0] for file in files}
    if empty := [name for name in _folders(folder) if name not in named]:
        found.skipped['folders without images'] += len(empty)
    found.log(str(folder))
    return {file.as_posix(): file.parts[0] for file in files if len(file.parts) == 2}


def is_text(name: str) -> bool:
    """Whether a file's name is valid text, and not bytes of another encoding."""
    return name.encode(errors='replace').decode() == name


def _folders(folder: Path) -> list[str]:
    """Names of the folders in a folder that can be people's."""
    try:
        return [
            place.name
            for place in folder.iterdir()
            if not place.name.startswith('.') and place.is_dir() and is_text(place.name)
        ]
    except OSError:  # which the walk has counted
        return []


def read_identities(path: str | Path) -> dict[str, str]:
    """File -> identity, of a CSV file with these columns.

    Raises:
        InputError: If a column is missing, a value is empty or a file is named twice.
    """
    files: dict[str, str] = {}
    for number, row in _rows(path, ('file', 'identity')).items():
        file = row['file'].replace('\\', '/')  # as Windows writes them
        if file in files:
            raise InputError(f'{path}, line {number}: {file} is named twice')
        files[file] = row['identity']
    return files


def read_rows(path: str | Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a CSV file that has at least these columns, all of them filled.

    Raises:
        InputError: If it cannot be read, a column is missing, or a row cannot be used.
    """
    return list(_rows(path, columns).values())


def _rows(path: str | Path, columns: Sequence[str]) -> dict[int, dict[str, str]]:
    table = read_table(path, columns)
    for number, problem in table.problems.items():
        raise InputError(f'{path}, line {number}: {problem}')
    return table.rows


def read_names(path: str | Path) -> list[str]:
    """Names, one a line.

    Raises:
        InputError: If the file cannot be read or is empty.
    """
    try:
        names = [line.strip() for line in decode(Path(path).read_bytes()).splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f'{path}: not a readable list of names: {error}') from error
    names = [name for name in names if name]
    if not names:
        raise InputError(f'{path}: names nobody')
    return names


def read_embeddings(path: str | Path) -> tuple[list[str], np.ndarray]:
    """``files`` and ``embeddings``, float32 (N, D), of an ``.npz`` file.

    Raises:
        InputError: If it cannot be read without pickle, the two do not fit, a file is named twice, or an
            embedding is zero or not finite.
    """
    content = read_archive(path, ('files', 'embeddings'))
    files, embeddings = _texts(content['files']), content['embeddings']
    if embeddings.dtype.kind not in 'fiu':
        raise InputError(f'{path}: embeddings must be real numbers, got {embeddings.dtype}')
    if embeddings.ndim != 2 or len(embeddings) != len(files):
        raise InputError(
            f'{path}: embeddings must be ({len(files)}, D), as many as files; {embeddings.shape}'
        )
    if len(set(files)) != len(files):
        raise InputError(f'{path}: a file is named twice')
    with np.errstate(over='ignore'):
        embeddings = embeddings.astype(np.float32)
    bad = ~np.isfinite(embeddings).all(1) | ~(embeddings**2).sum(1).astype(bool)
    if bad.any():
        raise InputError(f'{path}: the embedding of {files[int(bad.argmax())]} is zero or not finite')
    return files, embeddings


def _texts(names: np.ndarray) -> list[str]:
    """Names as text; bytes are UTF-8, and what of them is none is kept as file names keep it."""
    if names.dtype.kind == 'S':
        names = np.char.decode(names, 'utf-8', 'surrogateescape')
    return names.astype(str).tolist()


def read_archive(path: str | Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file, without pickle.

    Raises:
        InputError: If it cannot be read, or lacks one of these.
    """
    if not Path(path).is_file():
        raise InputError(f'{path}: no such file')
    try:
        if not zipfile.is_zipfile(path):
            raise InputError(f'{path}: not an .npz file with {", ".join(names)}')
        with np.load(path, allow_pickle=False) as content:
            return {name: content[name] for name in names}
    except InputError:
        raise
    except Exception as error:  # OSError, ValueError, KeyError, BadZipFile, zlib.error: they share no base
        reason = one_line(error) or type(error).__name__
        raise InputError(f'{path}: not an .npz file with {", ".join(names)}: {reason}') from error


def locate(folder: Path, file: str, identity: str) -> Path:
    """Where an image lies: the path given, or, for LFW's bare names, in the person's own folder.

    Args:
        folder: Of the images.
        file: As a list names it.
        identity: Whose image it is.
    """
    return folder / file if '/' in file else folder / identity / file


def write_embeddings(path: str | os.PathLike[str], files: Sequence[str], vectors: np.ndarray) -> None:
    """Write ``files`` and ``embeddings`` (N, D) as an ``.npz`` file without pickle, atomically.

    Args:
        path: Ends in ``.npz``.
        files: N names of images.
        vectors: (N, D).

    Raises:
        InputError: If the path does not end in ``.npz``.
    """
    if Path(path).suffix != '.npz':
        raise InputError(f'embeddings are written to an .npz file, got {path}')
    buffer = io.BytesIO()
    np.savez(buffer, files=np.array(list(files), dtype=str), embeddings=np.asarray(vectors, np.float32))
    write_atomically(path, buffer.getvalue())
