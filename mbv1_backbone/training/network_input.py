"""Of which size a config's network takes images."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.training.classifier_input import classifier_size
from mbv1_backbone.training.config import kind_of

__all__ = ['network_size', 'resize_of', 'size_of_resize']


def network_size(cfg: Config) -> tuple[int, int]:
    """Height and width that a config's test pipeline gives images.

    Args:
        cfg: From ``load_config``.

    Raises:
        InputError: If it says none.
    """
    kind = kind_of(cfg)
    if kind == 'embedder':
        return (int((cfg.model.get('data_preprocessor') or {}).get('input_size', 160)),) * 2
    if kind == 'classifier':
        return classifier_size(cfg)
    resize = resize_of(cfg)
    if resize is None:
        raise InputError(f'config {cfg.filename}: its test pipeline has no Resize, which says the size')
    return size_of_resize(resize)


def resize_of(cfg: Config) -> Any:
    """The step of the test pipeline that resizes; None where there is none."""
    steps = (cfg.get('test_dataloader') or {}).get('dataset', {}).get('pipeline', [])
    return next((step for step in steps if str(step.get('type')).endswith('Resize')), None)


def size_of_resize(resize: Any) -> tuple[int, int]:
    """Height and width that it gives: its ``scale`` is width and height, or one number for both."""
    width, height = (resize.scale,) * 2 if isinstance(resize.scale, int) else resize.scale
    return int(height), int(width)
