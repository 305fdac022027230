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

__all__ = ['CELLS', 'PlacesHead', 'cells_of', 'partition_of', 'without_cells_file']

CELLS = 'head.cells'  # the tensor of a checkpoint that holds them
_HALF = 32  # bits of a cell's number that a float64 holds exactly, twice


@MODELS.register_module()
class PlacesHead(BaseModule):
    """A linear layer over cells of the earth, trained with cross-entropy (PlaNet, arXiv:1602.05314).

    The cells are kept with the weights, as a buffer of float64: number (two halves of 32 bits), latitude,
    longitude and photographs of each. So a checkpoint can be used without the file that it was trained with.

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
        table = torch.zeros(num_classes, 5, dtype=torch.float64)
        self.cells: Tensor
        self.register_buffer('cells', table if partition is None else cells_of(partition))
        self._own = None if partition is None else self.cells.clone()  # on the CPU

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
        if (
            self._own is not None
            and given is not None
            and not torch.equal(given[:, :2].cpu(), self._own[:, :2])
        ):
            raise InputError(
                f'{self.cells_file}: not the cells that the checkpoint was trained with; the file that was '
                'used then belongs there'
            )
        super()._load_from_state_dict(state_dict, prefix, *args)


def cells_of(partition: Partition) -> Tensor:
    """A partition as a tensor, float64 (C, 5): the number in two halves, latitude, longitude, photographs."""
    low = np.uint64((1 << _HALF) - 1)
    columns = [partition.ids >> np.uint64(_HALF), partition.ids & low, *partition.places.T, partition.photos]
    return torch.from_numpy(np.stack([np.asarray(column, np.float64) for column in columns], 1))


def partition_of(cells: Tensor) -> Partition:
    """The partition of a tensor of ``cells_of``.

    Raises:
        InputError: If there are no cells in it.
        DamagedFileError: If they are no partition.
    """
    high, low, latitudes, longitudes, photos = cells.cpu().double().numpy().T
    if not photos.all():
        raise InputError('a head without cells: it was neither trained nor filled from a checkpoint')
    if not torch.isfinite(cells).all() or min(high.min(), low.min()) < 0:
        raise DamagedFileError('the cells of the head are damaged')
    ids = high.astype(np.uint64) << np.uint64(_HALF) | low.astype(np.uint64)
    found = Partition(ids, np.stack([latitudes, longitudes], 1), photos.astype(np.int64))
    found.check('the head')
    return found


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
