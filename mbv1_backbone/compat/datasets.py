"""mmengine's data sets: their wrappers, and the folder of their images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mbv1_backbone.common.errors import InputError

__all__ = ['image_folder', 'plain_datasets']


def image_folder(data_prefix: Mapping[str, Any]) -> str:
    """The folder of a data set's images, as its ``data_prefix`` names it.

    Raises:
        InputError: If it names none.
    """
    folder = data_prefix.get('img')
    if not isinstance(folder, str):
        raise InputError(
            f"data_prefix must name the folder of the images under 'img', got {dict(data_prefix)}"
        )
    return folder


def plain_datasets(dataset: Any) -> Iterator[Any]:
    """The data sets inside any wrappers, such as ``RepeatDataset`` and ``ConcatDataset``."""
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    for other in inner:
        if other is None:
            yield dataset
        else:
            yield from plain_datasets(other)
