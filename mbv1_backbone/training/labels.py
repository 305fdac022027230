"""What is wrong with the labelled images of a classifier's run, said before the first step."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.names import listed
from mbv1_backbone.compat.datasets import plain_datasets
from mbv1_backbone.training.annotations import check_same_classes

__all__ = ['check_labels']


def check_labels(model: nn.Module, train: Any = None, test: Any = None) -> None:
    """Check the labelled images of mmpretrain's data sets; those of other kinds are skipped.

    Args:
        model: The classifier.
        train: Loop over the images that it is trained on; None where it is not trained.
        test: Loop over those that it is evaluated on; None where there are none.

    Raises:
        InputError: If there are too few images or classes, a class without an image, a label that is no
            class's, other classes than the model's number, or others in evaluation than in training.
    """
    first: tuple[str, tuple[str, ...]] | None = None
    wanted = getattr(getattr(model, 'head', None), 'num_classes', None)
    for loop, training in ((train, True), (test, False)):
        for dataset in plain_datasets(loop.dataloader.dataset) if loop is not None else ():
            if not hasattr(dataset, 'get_gt_labels') or not hasattr(dataset, 'CLASSES'):
                continue
            name = f'{_place(dataset)} ({"training" if training else "evaluation"})'
            names = _check(dataset, wanted, name, training)
            if first is not None:
                check_same_classes(f'the classes of {name}', names, *first)
            first = first or (name, names)


def _place(dataset: Any) -> str:
    return str(dataset.ann_file or dataset.img_prefix or dataset.data_root)


def _check(dataset: Any, wanted: int | None, name: str, training: bool) -> tuple[str, ...]:
    """Check one data set and give the names of its classes."""
    labels = _labels(dataset)
    classes = tuple(dataset.CLASSES or ())
    if labels is None or wanted is None:
        return classes
    if training and len(labels) < 2:
        raise InputError(f'{name}: has {len(labels)} image, training needs two or more')
    if classes and len(classes) != wanted:
        raise InputError(
            f'model.head.num_classes={wanted}, but {name} has {len(classes)} classes ({listed(classes)}): '
            'both must be the same'
        )
    if wanted < 2:
        raise InputError(f'{name}: has one class ({listed(classes)}), a classifier tells two or more apart')
    if len(labels) and not 0 <= labels.min() <= labels.max() < wanted:
        raise InputError(f'{name}: labels lie in {labels.min()}..{labels.max()}, must lie in 0..{wanted - 1}')
    empty = sorted(set(range(wanted)) - set(labels.tolist()))
    if training and empty and not dataset.ann_file:
        names = [classes[index] for index in empty] if classes else empty
        raise InputError(f'{name}: no image of {listed(tuple(map(str, names)))}')
    return classes


def _labels(dataset: Any) -> np.ndarray | None:
    """A number an image; None where an image has several labels, or none."""
    if not len(dataset) or not isinstance(dataset.get_data_info(0).get('gt_label'), (int, np.integer)):
        return None
    return np.asarray(dataset.get_gt_labels())
