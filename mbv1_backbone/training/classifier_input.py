"""What a classifier's test pipeline leaves of an image, for verbs and exported networks to follow."""

from __future__ import annotations

import logging
from typing import Any

from mmengine.config import Config

__all__ = ['classifier_crop', 'classifier_size']

_LOG = logging.getLogger('mbv1_backbone')


def classifier_size(cfg: Config, default: int = 224) -> tuple[int, int]:
    """Height and width that a classifier's test pipeline gives images.

    Args:
        cfg: From ``load_config``.
        default: Both, where the pipeline does not say.
    """
    crop = _step(cfg, 'MiddleSquare').get('size') or _step(cfg, 'CenterCrop').get('crop_size', default)
    height, width = (crop, crop) if isinstance(crop, int) else crop
    return height, width


def classifier_crop(cfg: Config, side: int) -> float:
    """Share of an image's shorter side that a classifier's test pipeline leaves; 1 where it does not say.

    The log says where the pipeline resizes otherwise than every verb and exported network does.

    Args:
        cfg: From ``load_config``.
        side: Of the input, in pixels.
    """
    if square := _step(cfg, 'MiddleSquare'):
        return float(square.get('crop', 1.0))
    edge = _step(cfg, 'ResizeEdge').get('scale')
    _LOG.warning(
        'config %s: its test pipeline has no MiddleSquare, so that mbv1 test resizes images in another way '
        'than predict, locate and exported networks, which see the middle square by Pillow',
        cfg.filename,
    )
    return min(1.0, side / edge) if isinstance(edge, int) else 1.0


def _step(cfg: Config, name: str) -> dict[str, Any]:
    """A step of the test pipeline, by the end of its type's name; empty where there is none."""
    steps = (cfg.get('test_dataloader') or {}).get('dataset', {}).get('pipeline', [])
    return next((step for step in steps if str(step.get('type')).endswith(name)), {})
