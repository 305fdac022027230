"""Rule tables: which tensor of a source fills which of ours. A table is total, or an error says why not."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mbv1_backbone.common.errors import InputError

__all__ = [
    'NORM',
    'NORM_NAMES',
    'XYWH',
    'Convert',
    'Move',
    'Rule',
    'Target',
    'apply_rules',
    'as_it_is',
    'as_linear',
    'from_1hwc',
    'from_hwcm',
    'from_hwio',
    'from_ohwi',
    'pick_outputs',
]

Convert = Callable[[np.ndarray], np.ndarray]
Target = str | Callable[[re.Match[str]], str] | None


# TensorFlow's names of batch norm's tensors, and PyTorch's.
NORM = {'gamma': 'weight', 'beta': 'bias', 'moving_mean': 'running_mean', 'moving_variance': 'running_var'}
NORM_NAMES = '|'.join(NORM)
XYWH = (1, 0, 3, 2)  # places of x, y, w, h in y, x, h, w


def as_it_is(tensor: np.ndarray) -> np.ndarray:
    """No change: PyTorch's own layout, (out, in, height, width)."""
    return tensor


def from_hwio(kernel: np.ndarray) -> np.ndarray:
    """TensorFlow's (height, width, in, out) to (out, in, height, width)."""
    return kernel.transpose(3, 2, 0, 1)


def from_hwcm(kernel: np.ndarray) -> np.ndarray:
    """TensorFlow's depthwise (height, width, channels, 1) to (channels, 1, height, width)."""
    return kernel.transpose(2, 3, 0, 1)


def from_ohwi(kernel: np.ndarray) -> np.ndarray:
    """TFLite's (out, height, width, in) to (out, in, height, width)."""
    return kernel.transpose(0, 3, 1, 2)


def from_1hwc(kernel: np.ndarray) -> np.ndarray:
    """TFLite's depthwise (1, height, width, channels) to (channels, 1, height, width)."""
    return kernel.transpose(3, 0, 1, 2)


def as_linear(kernel: np.ndarray) -> np.ndarray:
    """A 1x1 convolution (out, 1, 1, in) or (1, 1, in, out), or a linear layer, to (out, in).

    Two dimensions are taken as (out, in).
    """
    if kernel.ndim == 4 and kernel.shape[:2] == (1, 1):
        return kernel[0, 0].T
    return kernel.reshape(kernel.shape[0], -1)


def pick_outputs(boxes: int, picked: tuple[int, ...], values: int) -> Convert:
    """How a predictor's outputs are picked.

    Args:
        boxes: At a place.
        picked: Indices of the outputs of a box, in our order.
        values: Outputs of a box.

    Returns:
        Of ``boxes`` times ``values`` outputs, along the first axis, the picked ones of each box.
    """

    def pick(tensor: np.ndarray) -> np.ndarray:
        per_box = tensor.reshape(boxes, values, *tensor.shape[1:])
        return per_box[:, list(picked)].reshape(-1, *tensor.shape[1:])

    return pick


class Rule(NamedTuple):
    r"""Where the tensors go whose whole name matches ``source``.

    Attributes:
        source: Regular expression for the source's name.
        target: Our name, with ``\1`` for groups or computed from the match; None: left out on purpose.
        convert: The source's layout to ours.
    """

    source: str
    target: Target
    convert: Convert = as_it_is


class Move(NamedTuple):
    """What happened to one tensor; ``target`` is None where it was left out, ``source`` where we made it."""

    source: str | None
    target: str | None
    shape: tuple[int, ...]


def apply_rules(
    rules: Sequence[Rule],
    tensors: Mapping[str, np.ndarray],
    targets: Mapping[str, tuple[int, ...]],
    subject: str,
) -> tuple[dict[str, np.ndarray], list[Move]]:
    """Move every tensor to its place.

    Args:
        rules: The first that matches a name counts.
        tensors: The source's, by name.
        targets: Shapes of all tensors to fill, by our names.
        subject: The source, for the error.

    Returns:
        Our tensors by name, in float32, and what went where.

    Raises:
        InputError: If a source tensor has no rule, two go to one place, a target stays empty or a shape is
            wrong; one error lists every one.
    """
    filled: dict[str, np.ndarray] = {}
    moves, wrong = [], []
    for name, tensor in tensors.items():
        rule, match = _first_match(rules, name)
        if rule is None or match is None:
            wrong.append(f'{name} {tensor.shape} has no place')
            continue
        if rule.target is None:
            moves.append(Move(name, None, tensor.shape))
            continue
        target = rule.target(match) if callable(rule.target) else match.expand(rule.target)
        value = np.ascontiguousarray(rule.convert(tensor), dtype=np.float32)
        if target not in targets:
            wrong.append(f'{name} would be {target}, which the network does not have')
        elif target in filled:
            wrong.append(f'{name} is a second {target}')
        elif value.shape != tuple(targets[target]):
            wrong.append(f'{name} gives {target} {value.shape} instead of {tuple(targets[target])}')
        elif not np.isfinite(value).all():
            wrong.append(f'{name} holds values that are not finite')
        elif target.endswith('running_var') and (value < 0).any():
            wrong.append(f'{name} holds variances below 0')
        filled[target] = value
        moves.append(Move(name, target, value.shape))
    wrong += [f'{target} stays empty' for target in targets if target not in filled]
    if wrong:
        raise InputError(f'{subject}: {len(wrong)} tensors do not fit: {"; ".join(wrong)}')
    return filled, moves


def _first_match(rules: Sequence[Rule], name: str) -> tuple[Rule | None, re.Match[str] | None]:
    for rule in rules:
        if match := re.fullmatch(rule.source, name):
            return rule, match
    return None, None
