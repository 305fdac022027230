"""A data set of photographs whose classes are cells of the earth."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from mmengine.registry import DATASETS

from mbv1_backbone.classification.coordinates import LocatedPhotos, read_located, swapped
from mbv1_backbone.classification.partition import Partition
from mbv1_backbone.classification.sphere import unit_vectors
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import shown

__all__ = ['PlacesDataset', 'check_far_from_cells']

_LOG = logging.getLogger('mbv1_backbone')
_NEAR = np.cos(1000 / 6371)  # of the angle between places 1000 km apart


@DATASETS.register_module()
class PlacesDataset(BaseDataset):
    """Photographs and where they were taken: a CSV file, or a folder of photographs with GPS values.

    Photographs to train on that lie in no cell are left out, which the log says; those to test with stay.

    Args:
        ann_file: CSV of ``file``, ``latitude`` and ``longitude`` (see ``read_located``), or a folder of
            photographs with GPS values.
        cells: File of ``mbv1 cells``.
        data_root: What the paths are relative to.
        data_prefix: ``img``: what the files of the CSV are relative to.
        pipeline: Steps.
        kwargs: mmengine's.

    Raises:
        InputError: If a file is missing or wrong.
    """

    def __init__(
        self,
        ann_file: str = 'train.csv',
        cells: str = 'cells.json',
        data_root: str = '',
        data_prefix: dict[str, str] | None = None,
        pipeline: Sequence[Any] = (),
        **kwargs: Any,
    ) -> None:
        self.cells_file = Path(data_root or '', cells)
        self.partition = Partition.load(self.cells_file)
        super().__init__(
            ann_file=ann_file,
            data_root=data_root,
            data_prefix=data_prefix or dict(img=''),
            pipeline=list(pipeline),
            **kwargs,
        )

    def load_data_list(self) -> list[dict[str, Any]]:
        """One dict a photograph: ``img_path``, ``gt_label``, ``latitude`` and ``longitude``."""
        found = read_located(self.ann_file, self.cells_file.with_suffix('.png'))
        folder = found.source if found.source.is_dir() else Path(self.data_prefix['img'] or self.data_root)
        self._metainfo['classes'] = self.partition.names
        _check_files(found, folder)
        check_far_from_cells(found, self.partition)
        labels = self.partition.assign(found.places)
        kept = np.flatnonzero((labels >= 0) | self.test_mode)
        if not len(kept):
            raise InputError(f'{found.source}: none of {len(found)} photographs lies in a cell')
        if left_out := len(found) - len(kept):
            print_log(f'{found.source}: {left_out} of {len(found)} photographs lie in no cell', 'current')
        return [
            dict(
                img_path=str(folder / found.files[index]),
                gt_label=int(labels[index]),
                latitude=float(found.places[index, 0]),
                longitude=float(found.places[index, 1]),
            )
            for index in kept
        ]


def check_far_from_cells(found: LocatedPhotos, partition: Partition) -> None:
    """Say where coordinates lie far from all cells, and would lie among them the other way round."""
    cells = unit_vectors(partition.places).T

    def near(places: np.ndarray) -> np.ndarray:
        return (unit_vectors(places[:1000]) @ cells).max(1) > _NEAR

    if swapped(found.places, near):
        _LOG.warning(
            '%s: latitude and longitude look swapped: most of these places lie 1000 km from all cells, and '
            'would lie among them the other way round',
            found.source,
        )


def _check_files(found: LocatedPhotos, folder: Path) -> None:
    missing = [file for file in found.files if not (folder / file).is_file()]
    if missing:
        more = f', nor are {len(missing) - 1} more' if len(missing) > 1 else ''
        raise InputError(f'{found.source}: {shown(folder / missing[0])} is not there{more}')
