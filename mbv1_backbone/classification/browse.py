"""What a classifier sees in training: the augmented images and their classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS

from mbv1_backbone.classification.drawing import draw_predictions
from mbv1_backbone.common.errors import InputError, user_errors
from mbv1_backbone.compat.registry import use_scope

__all__ = ['Sample', 'browse']


class Sample(NamedTuple):
    """One training sample.

    Attributes:
        picture: RGB uint8 (H, W, 3), the class's name below the image.
        name: Of the image file.
        label: Of the class.
    """

    picture: np.ndarray
    name: str
    label: int


def browse(cfg: Config, count: int) -> Iterator[Sample]:
    """Samples of a config's training data, as the network gets them, spread evenly over the data.

    Args:
        cfg: From ``load_config``, of a classifier with one class an image.
        count: Samples, at most.

    Raises:
        InputError: If the data or an image cannot be read, or an image has none or several classes.
    """
    use_scope('mmpretrain')
    with user_errors(f'config {cfg.filename}'):
        dataset = DATASETS.build(dict(cfg.train_dataloader.dataset, _scope_='mmpretrain'))
    names = dataset.metainfo.get('classes')
    to_rgb = (cfg.model.get('data_preprocessor') or {}).get('to_rgb', False)
    for index in np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int).tolist():
        with user_errors(f'sample {index}'):
            sample = dataset[index]
        image = sample['inputs'].permute(1, 2, 0).numpy().clip(0, 255).astype(np.uint8)
        image = np.ascontiguousarray(image[..., ::-1] if to_rgb else image)
        found = getattr(sample['data_samples'], 'gt_label', None)
        if found is None or len(found) != 1:
            raise InputError(f'config {cfg.filename}: its images have no one class to be drawn')
        label = int(found)
        name = str(names[label]) if names else f'class {label}'
        yield Sample(draw_predictions(image, [name]), sample['data_samples'].img_path, label)
