"""Whether data, metrics and the network of a run have the same cells of the earth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn

from mbv1_backbone.classification.partition import Partition
from mbv1_backbone.classification.place_data import PlacesDataset
from mbv1_backbone.classification.place_head import PlacesHead, check_same_cells, partition_of
from mbv1_backbone.classification.place_metric import PlacesMetric
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.compat.datasets import plain_datasets
from mbv1_backbone.training.exported import ExportedModel

__all__ = ['check_cells']


def check_cells(model: nn.Module, *loops: Any) -> None:
    """Check that what a network of places is trained and tested with has its cells.

    Args:
        model: PyTorch's, or an exported one; of other heads than ours nothing is known.
        loops: Of training, validation and test; None where there is none.

    Raises:
        InputError: If the files of cells are not the network's, or an exported network is none of places.
    """
    for file, cells in [found for loop in loops if loop is not None for found in _of_loop(loop)]:
        network = _of_network(model, cells)
        if network is not None:
            check_same_cells(cells, network, str(file))


def _of_loop(loop: Any) -> Iterator[tuple[Path, Partition]]:
    for dataset in plain_datasets(loop.dataloader.dataset):
        if isinstance(dataset, PlacesDataset):
            yield dataset.cells_file, dataset.partition
    for metric in getattr(getattr(loop, 'evaluator', None), 'metrics', ()):
        if isinstance(metric, PlacesMetric):
            yield metric.cells_file, metric.partition


def _of_network(model: nn.Module, file: Partition) -> Partition | None:
    """A network's cells; None where they are not known.

    Files of older exports do not say their numbers of photographs; they count as the file's.
    """
    if isinstance(model, ExportedModel):
        spec = model.session.spec
        if not spec.places:
            raise InputError(f'{model.session.path}: not a network of places: its classes are not cells')
        photos = spec.photos or file.photos.tolist()
        return Partition.of_classes(spec.classes, spec.places, photos, str(model.session.path))
    head = getattr(model, 'head', None)
    return partition_of(head.cells) if isinstance(head, PlacesHead) and head.cells.any() else None
