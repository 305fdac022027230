"""What an import did, for people: the table of tensors, and the lines for a config."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from mbv1_backbone.models.recipe import Recipe
from mbv1_backbone.weights.rules import Move

__all__ = ['config_lines', 'move_table']


def move_table(moves: Iterable[Move]) -> str:
    """One line a tensor: the source's name, ours, and the shape.

    Example:
        >>> print(move_table([Move('fc.bias', 'head.fc.bias', (1000,)), Move('step', None, ())]))
        fc.bias -> head.fc.bias  1000
        step    -> (left out)    scalar
    """
    rows = [
        (move.source or '(constant)', move.target or '(left out)', 'x'.join(map(str, move.shape)) or 'scalar')
        for move in moves
    ]
    left, right = (max((len(row[i]) for row in rows), default=0) for i in (0, 1))
    return '\n'.join(f'{source:{left}} -> {target:{right}}  {shape}' for source, target, shape in rows)


def config_lines(recipe: Recipe, path: str, state: dict[str, Tensor]) -> str:
    """The part of a config that makes a model of these weights.

    Args:
        recipe: Of the weights.
        path: File of the weights, as the config names it.
        state: Their tensors: names that start with ``backbone.`` take a prefix.
    """
    backbone = [f'{key}={value!r}' for key, value in recipe.backbone().items() if key != 'widen_factor']
    preprocessor = ', '.join(f'{key}={value}' for key, value in recipe.preprocessor().items())
    where = f"type='Pretrained', checkpoint={path!r}"
    if any(name.startswith('backbone.') for name in state):
        where += ", prefix='backbone.'"
    return '\n'.join(
        [
            f'data_preprocessor=dict({preprocessor}),',
            f"backbone=dict(type='MobileNetV1', widen_factor={recipe.widen_factor:g}, {', '.join(backbone)},",
            f'              init_cfg=dict({where})),',
        ]
    )
