"""mmengine's wrappers of data sets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ['plain_datasets']


def plain_datasets(dataset: Any) -> Iterator[Any]:
    """The data sets inside any wrappers, such as ``RepeatDataset`` and ``ConcatDataset``."""
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    for other in inner:
        if other is None:
            yield dataset
        else:
            yield from plain_datasets(other)
