"""Face data sets: a folder of people, a list of files, and what belongs to each image."""

from __future__ import annotations

import csv
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from mbv1_backbone.common.errors import InputError, one_line
from mbv1_backbone.common.folders import walk_images

_MISPLACED = ('loose, in no folder of a person', 'too deep in a folder of a person')


@DATASETS.register_module()
class FaceDataset(BaseDataset):
    """Images of people: ``FOLDER/PERSON/IMAGE``, or a CSV file with the columns ``file`` and ``identity``.

    Args:
        data_root: What other paths are relative to.
        data_prefix: ``img``: the folder of the images.
        ann_file: CSV with ``file`` (relative to the folder; of LFW the bare name will do) and ``identity``;
            without it, every folder in the folder of the images is a person.
        identities_file: Text with a name a line: only these people. All of them must be there.
        teacher_file: ``.npz`` with ``files`` and ``embeddings``, from ``mbv1 faces embed`` or another
            network; every image must have its own.
        partners: Give each image the path of another, drawn anew every time, for ``BlendFaces``.
        min_images: Leave out people with fewer images.
        pipeline: Steps.
        kwargs: mmengine's.

    Attributes:
        identities: Names of the people, by label.
        labels: int64 (N,), of each image.

    Raises:
        InputError: If something is missing; the message names it.
    """

    def __init__(
        self,
        data_root: str = '',
        data_prefix: Mapping[str, str] | None = None,
        ann_file: str = '',
        identities_file: str = '',
        teacher_file: str = '',
        partners: bool = False,
        min_images: int = 1,
        pipeline: Sequence[Any] = (),
        **kwargs: Any,
    ) -> None:
        self.identities_file = identities_file
        self.teacher_file = teacher_file
        self.partners = partners
        self.min_images = min_images
        super().__init__(
            ann_file=ann_file,
            data_root=data_root,
            data_prefix=dict(data_prefix or dict(img='images')),
            pipeline=list(pipeline),
            **kwargs,
        )

    def load_data_list(self) -> list[dict[str, Any]]:
        """One dict an image: ``img_path``, ``file`` (relative), ``identity``, ``label`` and ``teacher``."""
        folder = Path(self.data_prefix['img'])
        files = read_identities(self.ann_file) if self.ann_file else scan_people(folder)
        if self.identities_file:
            path = Path(self.data_root, self.identities_file)
            wanted = read_names(path)
            if missing := sorted(set(wanted) - set(files.values())):
                raise InputError(
                    f'{path}: no image of {missing[0]} in {folder}, nor of {len(missing) - 1} more'
                )
            keep = set(wanted)
            files = {file: identity for file, identity in files.items() if identity in keep}
        names, counts = np.unique(list(files.values()), return_counts=True)
        self.identities = tuple(names[counts >= self.min_images].tolist())
        labels = {name: label for label, name in enumerate(self.identities)}
        teacher = self._read_teacher()
        if not labels:
            raise InputError(f'{folder}: no images of people (FOLDER/PERSON/IMAGE)')
        entries = []
        for file, identity in files.items():
            if identity in labels:
                entry = dict(
                    img_path=str(locate(folder, file, identity)),
                    file=file,
                    identity=identity,
                    label=labels[identity],
                )
                if teacher is not None:
                    entry['teacher'] = _of_file(teacher, file, self.teacher_file)
                entries.append(entry)
        self.labels = np.array([entry['label'] for entry in entries])
        self._paths = [entry['img_path'] for entry in entries]
        return entries

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """An image's entry; with ``partners``, another image's path too."""
        info = super().get_data_info(idx)
        if self.partners:
            info['partner_path'] = self._paths[np.random.randint(len(self._paths))]
        return info

    def _read_teacher(self) -> dict[str, np.ndarray] | None:
        if not self.teacher_file:
            return None
        files, embeddings = read_embeddings(Path(self.data_root, self.teacher_file))
        return dict(zip(files, embeddings, strict=True))


def scan_people(folder: Path) -> dict[str, str]:
    """Relative path -> identity, of ``FOLDER/PERSON/IMAGE``, sorted.

    What is passed over is said in the log, by reason: beside what ``walk_images`` leaves, images that lie
    loose beside the people, and those deeper than a person's folder.

    Raises:
        InputError: If the folder does not exist.
    """
    if not folder.is_dir():
        raise InputError(f'{folder}: no such folder')
    found = walk_images(folder)
    files = [path.relative_to(folder) for path in found]
    found.passed_over += Counter(_MISPLACED[len(file.parts) > 2] for file in files if len(file.parts) != 2)
    found.log(str(folder))
    return {file.as_posix(): file.parts[0] for file in files if len(file.parts) == 2}


def read_identities(path: str | Path) -> dict[str, str]:
    """File -> identity, of a CSV file with these columns.

    Raises:
        InputError: If a column is missing, a value is empty or a file is named twice.
    """
    files: dict[str, str] = {}
    for number, row in enumerate(read_rows(path, ('file', 'identity')), 2):
        if row['file'] in files:
            raise InputError(f'{path}, line {number}: {row["file"]} is named twice')
        files[row['file']] = row['identity']
    return files


def read_rows(path: str | Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a CSV file that has at least these columns, all of them filled.

    Raises:
        InputError: If it cannot be read, a column is missing or a value is empty.
    """
    try:
        with open(path, newline='', encoding='utf-8-sig') as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            names = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f'{path}: not a readable CSV file: {error}') from error
    if missing := [name for name in columns if name not in names]:
        raise InputError(f'{path}: must have the columns {", ".join(columns)}; there is no {missing[0]}')
    for number, row in enumerate(rows, 2):
        if empty := [name for name in columns if not row[name]]:
            raise InputError(f'{path}, line {number}: {empty[0]} is empty')
    return rows


def read_names(path: str | Path) -> list[str]:
    """Names, one a line.

    Raises:
        InputError: If the file cannot be read or is empty.
    """
    try:
        names = [line.strip() for line in Path(path).read_text(encoding='utf-8').splitlines()]
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
    files, embeddings = content['files'].astype(str).tolist(), content['embeddings']
    if embeddings.ndim != 2 or len(embeddings) != len(files):
        raise InputError(
            f'{path}: embeddings must be ({len(files)}, D), as many as files; {embeddings.shape}'
        )
    if len(set(files)) != len(files):
        raise InputError(f'{path}: a file is named twice')
    embeddings = embeddings.astype(np.float32)
    bad = ~np.isfinite(embeddings).all(1) | ~(embeddings**2).sum(1).astype(bool)
    if bad.any():
        raise InputError(f'{path}: the embedding of {files[int(bad.argmax())]} is zero or not finite')
    return files, embeddings


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
    """Where an image lies: the path given, or, for LFW's bare names, in the person's own folder."""
    return folder / file if '/' in file else folder / identity / file


def _of_file(table: Mapping[str, np.ndarray], file: str, source: str) -> np.ndarray:
    found = table.get(file, table.get(file.rpartition('/')[2]))
    if found is None:
        raise InputError(f'{source}: no embedding of {file}')
    return found
