"""What our networks want filled: names and shapes of their tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from mbv1_backbone.models.mobilenet_v1 import TABLE, MobileNetV1
from mbv1_backbone.models.recipe import Recipe
from mbv1_backbone.weights.rules import Move, Rule, apply_rules
from mbv1_backbone.weights.store import Weights

__all__ = ['UNITS', 'as_moves', 'classifier_shapes', 'fill_classifier', 'folded_norms', 'widen_factor_of']

# Our units in the order in which every source stores them.
UNITS: tuple[str, ...] = (
    'rows.0',
    *(f'rows.{row}.{part}' for row in range(1, 14) for part in ('depthwise', 'pointwise')),
)


def widen_factor_of(first_channels: int) -> float:
    """The width multiplier of a network whose first layer has this many channels."""
    return first_channels / TABLE[0].channels


def classifier_shapes(widen_factor: float, classes: int | None) -> dict[str, tuple[int, ...]]:
    """Shapes of the backbone's tensors, and of ``head.fc`` where there are classes."""
    with torch.device('meta'):
        net = MobileNetV1(widen_factor)
    shapes = {
        name: tuple(tensor.shape)
        for name, tensor in net.state_dict().items()
        if not name.endswith('num_batches_tracked')
    }
    if classes is not None:
        shapes |= {'head.fc.weight': (classes, net.taps[-1].channels), 'head.fc.bias': (classes,)}
    return shapes


def fill_classifier(
    rules: Sequence[Rule],
    tensors: Mapping[str, np.ndarray],
    recipe: Recipe,
    classes: int | None,
    subject: str,
) -> Weights:
    """Apply a source's rules to its tensors.

    Args:
        rules: From names of the source to ours.
        tensors: The source's, by name.
        recipe: Of the network; its width says the shapes.
        classes: Of the classifier, with a background if it has one; None of a backbone alone.
        subject: The source, for the error.

    Raises:
        InputError: If they are not all of a classifier of this width, or of a backbone where ``classes`` is
            None.
    """
    filled, moves = apply_rules(rules, tensors, classifier_shapes(recipe.widen_factor, classes), subject)
    return Weights({name: torch.tensor(value) for name, value in filled.items()}, recipe, moves)


def folded_norms(shapes: Mapping[str, tuple[int, ...]], eps: float) -> dict[str, np.ndarray]:
    """What makes batch norm add its bias and do nothing else: weight 1, mean 0, variance 1 - eps."""
    values = {'weight': 1.0, 'running_mean': 0.0, 'running_var': 1.0 - eps}
    return {
        f'{unit}.bn.{part}': np.full(shapes[f'{unit}.bn.{part}'], value, np.float32)
        for unit in [name.removesuffix('.bn.bias') for name in shapes if name.endswith('.bn.bias')]
        for part, value in values.items()
    }


def as_moves(filled: Mapping[str, np.ndarray]) -> list[Move]:
    """Values that no source tensor gave, for the table of what went where."""
    return [Move(None, name, value.shape) for name, value in filled.items()]
