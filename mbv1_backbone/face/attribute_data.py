"""Faces with attributes: lists of labels or of a teacher's probabilities, and CelebA's own files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS
from typing_extensions import override

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import decode
from mbv1_backbone.common.tables import Table, parse_number, read_table
from mbv1_backbone.compat.datasets import image_folder
from mbv1_backbone.face.evaluation.protocols import person_of
from mbv1_backbone.face.files import locate, read_archive, read_names

__all__ = ['SPLITS', 'AttributeDataset', 'CelebA', 'read_attributes']

SPLITS = ('train', 'val', 'test')
_LOG = logging.getLogger('mbv1_backbone')


@DATASETS.register_module()
class AttributeDataset(BaseDataset):
    """Images with attributes: labels, or a teacher's probabilities.

    Args:
        data_root: What other paths are relative to.
        data_prefix: ``img``: the folder of the images.
        ann_file: See ``read_attributes``.
        identities_file: Text with a name a line: only images of these people.
        teacher_file: The same of a teacher, for distillation: in place of the labels.
        hard: Make probabilities labels: 1 above one half, else 0.
        pipeline: Steps.
        kwargs: mmengine's.

    Raises:
        InputError: If a file is missing or wrong, or no image is of these people.
    """

    def __init__(
        self,
        data_root: str = '',
        data_prefix: dict[str, str] | None = None,
        ann_file: str = '',
        identities_file: str = '',
        teacher_file: str = '',
        hard: bool = False,
        pipeline: Sequence[Any] = (),
        **kwargs: Any,
    ) -> None:
        self.identities_file = identities_file
        self.teacher_file = teacher_file
        self.hard = hard
        super().__init__(
            ann_file=ann_file,
            data_root=data_root,
            data_prefix=data_prefix or dict(img='images'),
            pipeline=list(pipeline),
            **kwargs,
        )

    def load_data_list(self) -> list[dict[str, Any]]:
        """One dict an image: ``img_path``, ``file`` and ``attributes``, float32 (A,)."""
        files, names, values = self.read_annotations()
        if self.teacher_file:
            files, names, values = read_attributes(Path(self.data_root, self.teacher_file))
        if self.hard:
            values = np.where(np.isnan(values), values, values > 0.5).astype(np.float32)
        self._metainfo['classes'] = names
        folder = Path(image_folder(self.data_prefix))
        mine = self._mine(files)
        return [
            dict(img_path=str(self.path_of(folder, file)), file=file, attributes=row)
            for file, row, chosen in zip(files, values, mine, strict=True)
            if chosen
        ]

    def read_annotations(self) -> tuple[list[str], list[str], np.ndarray]:
        """Files, names of attributes, and float32 (N, A)."""
        return read_attributes(self.ann_file)

    def path_of(self, folder: Path, file: str) -> Path:
        """Where an image lies."""
        return locate(folder, file, person_of(file))

    def _mine(self, files: list[str]) -> list[bool]:
        """Which images are of the wanted people."""
        if not self.identities_file:
            return [True] * len(files)
        path = Path(self.data_root, self.identities_file)
        wanted = set(read_names(path))
        people = [person_of(file) for file in files]
        if not wanted.intersection(people):
            raise InputError(f'{path}: {self.teacher_file or self.ann_file} has no image of these people')
        if absent := len(wanted.difference(people)):
            _LOG.info('%s: no attributes of %d of %d people', path, absent, len(wanted))
        return [person in wanted for person in people]


@DATASETS.register_module()
class CelebA(AttributeDataset):
    """CelebA's own files (http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html), aligned images.

    Args:
        split: ``train``, ``val`` or ``test``.
        partition_file: ``list_eval_partition.txt``.
        ann_file: ``list_attr_celeba.txt``.
        kwargs: Of ``AttributeDataset``.

    Raises:
        InputError: If a file is missing or wrong.
    """

    def __init__(
        self,
        split: str = 'train',
        partition_file: str = 'list_eval_partition.txt',
        ann_file: str = 'list_attr_celeba.txt',
        **kwargs: Any,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f'split must be one of {", ".join(SPLITS)}, got {split!r}')
        self.split = split
        self.partition_file = partition_file
        super().__init__(ann_file=ann_file, **{'data_prefix': dict(img='img_align_celeba'), **kwargs})

    @override
    def read_annotations(self) -> tuple[list[str], list[str], np.ndarray]:
        lines = _lines(self.ann_file)
        partition = dict(line.split() for line in _lines(Path(self.data_root, self.partition_file)))
        try:
            count, names = int(lines[0]), lines[1].split()
            rows = [line.split() for line in lines[2:]]
            values: np.ndarray = np.array([row[1:] for row in rows], np.float32).reshape(count, len(names))
        except (ValueError, IndexError) as error:
            raise InputError(f"{self.ann_file}: not in CelebA's format: {error}") from None
        if missing := [row[0] for row in rows if row[0] not in partition]:
            raise InputError(f'{self.partition_file}: does not name {missing[0]}')
        mine = [partition[row[0]] == str(SPLITS.index(self.split)) for row in rows]
        files = [row[0] for row, chosen in zip(rows, mine, strict=True) if chosen]
        return files, names, (values[mine] > 0).astype(np.float32)

    @override
    def path_of(self, folder: Path, file: str) -> Path:
        return folder / file


def read_attributes(path: str | Path) -> tuple[list[str], list[str], np.ndarray]:
    """Files (N), names of attributes (A) and their values, float32 (N, A), 0..1, or NaN where unknown.

    Args:
        path: ``.npz`` with ``files``, ``names`` and ``attributes``; or a CSV file with ``file`` and a column
            for each attribute, whose empty cells are unknown.

    Raises:
        InputError: If it cannot be read, or a value is neither in 0..1 nor NaN.
    """
    read = _read_archive if Path(path).suffix == '.npz' else _read_list
    files, names, values = read(path)
    wrong = (values < 0) | (values > 1)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise InputError(
            f'{path}: attributes must lie in 0..1, or be unknown; {files[row]} has {values[row, column]:g} '
            f'of {names[column]}'
        )
    return files, names, values


def _read_archive(path: str | Path) -> tuple[list[str], list[str], np.ndarray]:
    content = read_archive(path, ('files', 'names', 'attributes'))
    files, names = content['files'].astype(str).tolist(), content['names'].astype(str).tolist()
    values: np.ndarray = content['attributes'].astype(np.float32)
    if values.shape != (len(files), len(names)):
        raise InputError(f'{path}: attributes must be ({len(files)}, {len(names)}), got {values.shape}')
    return files, names, values


def _read_list(path: str | Path) -> tuple[list[str], list[str], np.ndarray]:
    table = read_table(path, ('file',))
    for number, problem in table.problems.items():
        raise InputError(f'{path}, line {number}: {problem}')
    names = [name for name in table.columns if name and name != 'file']
    if not names or not table.rows:
        raise InputError(f'{path}: has no {"rows" if names else "column of an attribute beside file"}')
    files = [row['file'].replace('\\', '/') for row in table.rows.values()]
    if len(set(files)) != len(files):
        raise InputError(f'{path}: {next(file for file in files if files.count(file) > 1)} is named twice')
    return files, names, _values(path, table, names)


def _values(path: str | Path, table: Table, names: list[str]) -> np.ndarray:
    """The numbers of a table, float32 (N, A), NaN of empty cells."""
    values: np.ndarray = np.full((len(table.rows), len(names)), np.nan, np.float32)
    for place, (number, row) in enumerate(table.rows.items()):
        for column, name in enumerate(names):
            try:
                values[place, column] = parse_number(row.get(name) or 'nan')
            except ValueError:
                raise InputError(f'{path}, line {number}: {name} is no number: {row[name]!r:.40}') from None
    return values


def _lines(path: str | Path) -> list[str]:
    try:
        return [line for line in decode(Path(path).read_bytes()).splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f'{path}: cannot be read: {error}') from error
