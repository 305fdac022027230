"""The head of a network that says where a photograph was taken: a logit a cell, and the cells themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from mbv1_backbone.classification.partition import Partition
from mbv1_backbone.common.errors import DamagedFileError, InputError

__all__ = ['CELLS', 'PlacesHead', 'cells_of', 'check_same_cells', 'partition_of', 'without_cells_file']

CELLS = 'head.cells'  # the tensor of a checkpoint that holds them
_COLUMNS = 20  # of it
_BITS = 8  # of a column: whole numbers that every float holds exactly, bfloat16 too, and float32 sums of many
_DEGREE = 10**7  # parts, to which files of cells round, too: a centimetre
_OFFSETS = (90, 180)  # degrees that make latitudes and longitudes positive


@MODELS.register_module()
class PlacesHead(BaseModule):
    """A linear layer over cells of the earth, trained with cross-entropy (PlaNet, arXiv:1602.05314).

    The cells are kept with the weights, as a buffer: number, latitude, longitude and photographs of each,
    byte by byte, so that nothing is lost whatever type of float a device has. A checkpoint can be used
    without the file that it was trained with.

    Args:
        in_channels: Of the pooled features.
        cells: File of ``mbv1 cells``; where it does not exist, there are ``num_classes`` cells to be filled
            from a checkpoint.
        num_classes: Of a head without a file of cells.
        data_root: What ``cells`` is relative to.
        init_cfg: mmengine's; the default is a normal distribution of deviation .01, as mmpretrain has it.

    Raises:
        InputError: If the file of cells is wrong.
    """

    def __init__(
        self,
        in_channels: int,
        cells: str | None = None,
        num_classes: int | None = None,
        data_root: str = '',
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Normal', layer='Linear', std=0.01))
        self.cells_file = None if cells is None else Path(data_root, cells)
        partition = None
        if self.cells_file is not None and (self.cells_file.exists() or num_classes is None):
            partition = Partition.load(self.cells_file)
            num_classes = len(partition)
        if num_classes is None or num_classes < 2:
            raise ValueError(f'num_classes must be at least 2, got {num_classes}')
        self.num_classes = num_classes
        self.fc = nn.Linear(in_channels, num_classes)
        table = torch.zeros(num_classes, _COLUMNS)
        self.cells: Tensor
        self.register_buffer('cells', table if partition is None else cells_of(partition))
        self._own = partition

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Map the last of the pooled features (N, C) to logits (N, cells)."""
        return self.fc(features[-1])

    def loss(self, features: Sequence[Tensor], data_samples: Sequence[Any]) -> dict[str, Tensor]:
        """Cross-entropy.

        Args:
            features: Of the neck; the last are (N, C).
            data_samples: N, with ``gt_label``.

        Raises:
            InputError: If there are no cells.
        """
        if not self.cells.any():
            raise InputError(
                f'{self.cells_file}: no such file; mbv1 cells makes it of the training photographs'
            )
        labels = torch.cat([sample.gt_label for sample in data_samples])
        return dict(loss=F.cross_entropy(self(features), labels))

    def predict(self, features: Sequence[Tensor], data_samples: Sequence[Any]) -> Sequence[Any]:
        """The samples with ``pred_score`` (cells,), which sum to 1, and ``pred_label`` set.

        Args:
            features: Of the neck; the last are (N, C).
            data_samples: N of mmpretrain's.
        """
        scores = self(features).float().softmax(1)
        for sample, score in zip(data_samples, scores, strict=True):
            sample.set_pred_score(score).set_pred_label(score.argmax(0, keepdim=True))
        return data_samples

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        given = state_dict.get(f'{prefix}cells')
        if self._own is not None and given is not None:
            check_same_cells(self._own, partition_of(given), str(self.cells_file))
        super()._load_from_state_dict(state_dict, prefix, *args)


def cells_of(partition: Partition) -> Tensor:
    """A partition as a tensor, float32 (C, 20), of bytes.

    The number of a cell takes eight columns, from the highest byte to the lowest; latitude and longitude, in
    ten millionths of a degree from the South Pole and from the 180th meridian, take four each, as do its
    photographs.
    """
    degrees = np.rint((partition.places + _OFFSETS) * _DEGREE).astype(np.uint64)
    numbers = [(partition.ids, 8), *((column, 4) for column in degrees.T)]
    numbers.append((partition.photos.astype(np.uint64), 4))
    low = np.uint64((1 << _BITS) - 1)
    columns = [
        values >> np.uint64(_BITS * place) & low
        for values, count in numbers
        for place in reversed(range(count))
    ]
    return torch.from_numpy(np.stack(columns, 1).astype(np.float32))


def partition_of(cells: Tensor) -> Partition:
    """The partition of a tensor of ``cells_of``.

    Raises:
        InputError: If there are no cells in it.
        DamagedFileError: If they are no partition.
    """
    table = cells.detach().cpu().double().numpy()
    if not table.any():
        raise InputError('a head without cells: it was neither trained nor filled from a checkpoint')
    if table.ndim != 2 or table.shape[1] != _COLUMNS:
        raise DamagedFileError(f'the cells of the head must be (cells, {_COLUMNS}), got {table.shape}')
    if not ((table >= 0) & (table < 1 << _BITS) & (table == np.rint(table))).all():
        raise DamagedFileError('the cells of the head are damaged')

    def joined(first: int, count: int) -> np.ndarray:
        whole = np.zeros(len(table), np.uint64)
        for column in table[:, first : first + count].astype(np.uint64).T:
            whole = whole << np.uint64(_BITS) | column
        return whole

    places = np.stack([joined(8, 4), joined(12, 4)], 1) / _DEGREE - _OFFSETS
    found = Partition(joined(0, 8), places, joined(16, 4).astype(np.int64))
    found.check('the head')
    return found


def check_same_cells(file: Partition, network: Partition, name: str) -> None:
    """Check that a file of cells is the one that a network was trained with.

    Args:
        file: Its cells.
        network: Those of the network.
        name: Of the file, for the message.

    Raises:
        InputError: If they are others, or have other places or photographs.
    """
    other = None
    if not np.array_equal(file.ids, network.ids):
        other = 'cells'
    elif not np.allclose(file.places, network.places, rtol=0, atol=2 / _DEGREE):
        other = 'places of the cells'
    elif not np.array_equal(file.photos, network.photos):
        other = 'numbers of photographs in the cells'
    if other is not None:
        raise InputError(
            f'{name}: not the {other} that the network was trained with; the file that was used then belongs '
            'there'
        )


def without_cells_file(model: Any, state: Mapping[str, Tensor]) -> Any:
    """A config's model as a checkpoint needs it: with as many cells as that has, whatever file is there.

    Args:
        model: Of a config.
        state: Tensors of the checkpoint.
    """
    head = model.get('head') or {}
    if str(head.get('type')).rpartition('.')[2] != 'PlacesHead' or CELLS not in state:
        return model
    return {**model, 'head': {**head, 'cells': None, 'num_classes': len(state[CELLS])}}
