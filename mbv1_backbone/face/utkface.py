"""UTKFace (https://susanqq.github.io/UTKFace/): faces with age, gender and race, as its authors label them.

Its files are named ``AGE_GENDER_RACE_DATE``; some are not, and are refused by name.
"""

from __future__ import annotations

import logging
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.folders import walk_images
from mbv1_backbone.compat.datasets import image_folder
from mbv1_backbone.face.files import read_rows

__all__ = ['GENDERS', 'MAX_AGE', 'RACES', 'Labels', 'UTKFace', 'find_crop', 'labels_of_name', 'read_labels']

MAX_AGE = 116  # years, of the data set's oldest
GENDERS = ('male', 'female')
RACES = ('White', 'Black', 'Asian', 'Indian', 'Others')  # the authors' words
_NAME = re.compile(r'(\d{1,3})_(\d)_(\d)_\d+(\.\w+)+')
_LIMITS = {'age': MAX_AGE, 'gender': len(GENDERS) - 1, 'race': len(RACES) - 1}
_HELD_OUT = 5  # one of so many files is held out, where names are the labels
_LOG = logging.getLogger('mbv1_backbone')


class Labels(NamedTuple):
    """What the authors say of a face.

    Attributes:
        age: Years, 0..``MAX_AGE``.
        gender: Index in ``GENDERS``.
        race: Index in ``RACES``.
    """

    age: int
    gender: int
    race: int


@DATASETS.register_module()
class UTKFace(BaseDataset):
    """Faces with age, gender and race.

    Args:
        data_root: What other paths are relative to.
        data_prefix: ``img``: the folder of the images; crops that ``mbv1 faces crop`` made of them will do.
        ann_file: See ``read_labels``. Without it, the names of the files in the folder are the labels.
        split: ``train`` or ``val``, where names are the labels: a fifth of the files, by a hash of their
            names, is ``val``; empty for all of them.
        left_out: Names of files that are not used, those that are named wrongly.
        pipeline: Steps.
        kwargs: mmengine's.

    Raises:
        InputError: If a file is missing, a name or a label is wrong, or no image is there.
    """

    def __init__(
        self,
        data_root: str = '',
        data_prefix: Mapping[str, str] | None = None,
        ann_file: str = '',
        split: str = '',
        left_out: Sequence[str] = (),
        pipeline: Sequence[Any] = (),
        **kwargs: Any,
    ) -> None:
        if split not in ('', 'train', 'val'):
            raise InputError(f'split must be train, val or empty, got {split!r}')
        if split and ann_file:
            raise InputError(f'split={split!r} is for file names as labels; {ann_file} is a list')
        self.split = split
        self.left_out = frozenset(left_out)
        super().__init__(
            ann_file=ann_file,
            data_root=data_root,
            data_prefix=dict(data_prefix or dict(img='images')),
            pipeline=list(pipeline),
            **kwargs,
        )

    def load_data_list(self) -> list[dict[str, Any]]:
        """One dict an image: ``img_path``, ``file``, ``age``, ``gender`` and ``race``."""
        folder = Path(image_folder(self.data_prefix))
        labels = read_labels(self.ann_file) if self.ann_file else self._of_names(folder)
        found = {
            file: find_crop(folder, file) for file in labels if file.rpartition('/')[2] not in self.left_out
        }
        absent = [file for file, path in found.items() if path is None]
        if len(absent) == len(found):
            raise InputError(
                f'{folder}: none of {len(found)} labelled images is there, such as {[*found][:1]}'
            )
        if absent:
            _LOG.warning('%s: left out %d of %d, such as %s', folder, len(absent), len(found), absent[0])
        return [
            dict(img_path=str(path), file=file, **labels[file]._asdict())
            for file, path in found.items()
            if path is not None
        ]

    def _of_names(self, folder: Path) -> dict[str, Labels]:
        if not folder.is_dir():
            raise InputError(f'{folder}: no such folder')
        paths = [path for path in walk_images(folder) if path.name not in self.left_out]
        labels = {path.relative_to(folder).as_posix(): labels_of_name(path) for path in paths}
        wanted = {'': (False, True), 'train': (False,), 'val': (True,)}[self.split]
        return {file: found for file, found in labels.items() if _is_held_out(file) in wanted}


def labels_of_name(path: Path) -> Labels:
    """What a file's name says.

    Raises:
        InputError: If it is not named as UTKFace's files are, or a number is too large.

    Example:
        >>> labels_of_name(Path('35_1_2_20170116174525125.jpg.chip.jpg'))
        Labels(age=35, gender=1, race=2)
    """
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise InputError(
            f'{path}: must be named AGE_GENDER_RACE_DATE, as in 35_1_2_20170116174525125.jpg; left_out of '
            'the data set takes names of files that are not used'
        )
    return _labels(dict(zip(_LIMITS, match.groups(), strict=False)), str(path))


def read_labels(path: str | Path) -> dict[str, Labels]:
    """File -> labels, of a CSV file with the columns ``file``, ``age``, ``gender`` and ``race``.

    Raises:
        InputError: If it cannot be read, a label is none, or a file is named twice.
    """
    labels: dict[str, Labels] = {}
    for row in read_rows(path, ('file', *_LIMITS)):
        file = row['file'].replace('\\', '/')
        if file in labels:
            raise InputError(f'{path}: {file} is named twice')
        labels[file] = _labels(row, f'{path}: {file}')
    if not labels:
        raise InputError(f'{path}: names no image')
    return labels


def find_crop(folder: Path, file: str) -> Path | None:
    """An image of a list, or the crop that ``mbv1 faces crop`` made of it; None where neither is there."""
    path = folder / file
    names = (path, path.with_name(f'{path.name}.png'), path.with_suffix('.png'))
    return next((found for found in names if found.is_file()), None)


def _labels(texts: Mapping[str, str], source: str) -> Labels:
    values = []
    for name, limit in _LIMITS.items():
        text = texts[name]
        if not (text.isascii() and text.isdigit() and int(text) <= limit):
            raise InputError(f'{source}: {name} must be a whole number in 0..{limit}, got {text}')
        values.append(int(text))
    return Labels(*values)


def _is_held_out(file: str) -> bool:
    return zlib.crc32(file.rpartition('/')[2].encode(errors='replace')) % _HELD_OUT == 0
