"""Ranges of activations that a network was trained with: how a checkpoint keeps them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.export.litert.int8 import Statistics

__all__ = ['KEY', 'as_meta', 'trained_ranges']

KEY = 'quantisation'  # in a checkpoint's meta


def as_meta(ranges: Statistics) -> dict[str, Any]:
    """Ranges as plain values, for a checkpoint's ``meta``.

    Args:
        ranges: Of the network's tensors.
    """
    return dict(ranges={name: [low, high] for name, (low, high) in ranges.ranges.items()})


def trained_ranges(meta: Mapping[str, Any], path: str | os.PathLike[str]) -> Statistics | None:
    """The ranges that a checkpoint's ``meta`` holds; None where the network was trained in float32 alone.

    Means are left out: what rounding moves has been trained away.

    Args:
        meta: Of the checkpoint.
        path: Of the checkpoint, for the message.

    Raises:
        InputError: If they are damaged.
    """
    about = meta.get(KEY)
    if about is None:
        return None
    try:
        found = {str(name): (float(low), float(high)) for name, (low, high) in about['ranges'].items()}
        wrong = [
            name for name, bounds in found.items() if not np.isfinite(bounds).all() or bounds[0] > bounds[1]
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f'{path}: what it says of its quantisation is damaged: {error}') from error
    if wrong:
        raise InputError(f'{path}: its range of {wrong[0]} is none: {list(found[wrong[0]])}')
    return Statistics(found, {})
