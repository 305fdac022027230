"""What weights need to mean what they meant where they were trained: how the network is built and fed."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn

from mbv1_backbone.common.errors import InputError

__all__ = [
    'TOLERANCE',
    'Recipe',
    'built_with',
    'input_differences',
    'layer_differences',
    'preprocessing_of',
    'recipe_of',
    'second_stage_differences',
]

TOLERANCE = (
    0.01  # of the range from black to white: tells [-1, 1] from mean and deviation, not 127.5 from 128
)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and np.isfinite(value)


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_count(value: Any, least: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value < 100_000


def _are_three(value: Any, check: Callable[[Any], bool]) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 3 and all(map(check, value))


_FED = ('input_size', 'gray', 'window')  # a preprocessor's own
_CHECKS: dict[str, Callable[[Any], bool]] = {
    'source': lambda value: isinstance(value, str),
    'widen_factor': lambda value: _is_positive(value) and value <= 100,
    'padding': lambda value: value in ('symmetric', 'same'),
    'act_cfg': lambda value: isinstance(value, Mapping) and isinstance(value.get('type'), str),
    'norm_eps': lambda value: _is_positive(value) and value < 1,
    'mean': lambda value: _are_three(value, _is_number),
    'std': lambda value: _are_three(value, _is_positive),
    'input_size': lambda value: _is_count(value, least=1),
    'gray': lambda value: isinstance(value, bool),
    'background': lambda value: value is None or _is_count(value),
    'window': lambda value: value is None or (_are_three(value, _is_count) and value[2] > 0),
}


@dataclass(frozen=True)
class Recipe:
    """How a network of MobileNetV1 is built, and how its images are prepared.

    Attributes:
        source: Where the weights came from.
        widen_factor: Width multiplier.
        padding: ``'symmetric'`` or ``'same'``.
        act_cfg: Activation.
        norm_eps: Batch norm's epsilon.
        mean: Of R, G, B in 0..255, subtracted.
        std: Of R, G, B in 0..255, divided by.
        input_size: Side of the square input, in pixels.
        gray: Whether colours are replaced by their luma.
        background: Index of the classifier's background class, None where there is none.
        window: Top, left and side, in pixels, of the part of the input that the network sees; None for all.
    """

    source: str
    widen_factor: float
    padding: str = 'symmetric'
    act_cfg: dict[str, Any] = field(default_factory=lambda: dict(type='ReLU'))
    norm_eps: float = 1e-5
    mean: tuple[float, ...] = (127.5, 127.5, 127.5)
    std: tuple[float, ...] = (127.5, 127.5, 127.5)
    input_size: int = 224
    gray: bool = False
    background: int | None = None
    window: tuple[int, int, int] | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """A recipe as ``dataclasses.asdict`` gave it, after a way through JSON.

        Raises:
            InputError: If a value is not what a recipe has there.
        """
        if not isinstance(values, Mapping):
            raise InputError(f'a recipe must be a dict, got {type(values).__name__}')
        if unknown := sorted(set(map(str, values)) - set(_CHECKS)):
            raise InputError(f'a recipe has no {unknown[0]}')
        if missing := [key for key in ('source', 'widen_factor') if key not in values]:
            raise InputError(f'a recipe must have {missing[0]}')
        for key, value in values.items():
            if not _CHECKS[key](value):
                raise InputError(f'a recipe cannot have {key}={reprlib.repr(value)}')
        lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        return cls(**{**values, **lists})

    def backbone(self) -> dict[str, Any]:
        """The arguments of ``MobileNetV1`` that these weights ask for."""
        return dict(
            widen_factor=self.widen_factor,
            padding=self.padding,
            act_cfg=dict(self.act_cfg),
            norm_cfg=dict(type='BN', eps=self.norm_eps),
        )

    def preprocessor(self) -> dict[str, Any]:
        """The arguments of an OpenMMLab data preprocessor that these weights ask for."""
        return dict(mean=list(self.mean), std=list(self.std), bgr_to_rgb=True)


def recipe_of(model: nn.Module, source: str) -> Recipe | None:
    """The recipe that an OpenMMLab model is built by; None where its backbone is not MobileNetV1."""
    backbone: Any = getattr(model, 'backbone', None)
    if not hasattr(backbone, 'built_with'):
        return None
    mean, std = preprocessing_of(model)
    preprocessor = getattr(model, 'data_preprocessor', None)
    fed = {name: value for name in _FED if (value := getattr(preprocessor, name, None))}
    return Recipe(source, backbone.widen_factor, **backbone.built_with, mean=mean, std=std, **fed)


def built_with(padding: str, act_cfg: Mapping[str, Any], norm_cfg: Mapping[str, Any]) -> dict[str, Any]:
    """What a recipe says of a backbone's layers.

    Args:
        padding: The backbone's ``padding``: ``'symmetric'`` or ``'same'``.
        act_cfg: Of the activation; ``inplace`` does not count.
        norm_cfg: Of the batch norm; its ``eps`` is PyTorch's 1e-5 where it says none.
    """
    activation = {key: value for key, value in act_cfg.items() if key != 'inplace'}
    return dict(padding=padding, act_cfg=activation, norm_eps=float(norm_cfg.get('eps', 1e-5)))


def preprocessing_of(model: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of a model's data preprocessor, by R, G, B; 0 and 1 where it has none.

    One value for all channels, as mmengine takes it, stands for three.
    """
    preprocessor = getattr(model, 'data_preprocessor', None)
    mean, std = (getattr(preprocessor, name, None) for name in ('mean', 'std'))
    if mean is None or std is None:
        return (0.0,) * 3, (1.0,) * 3
    order = slice(None) if getattr(preprocessor, '_channel_conversion', True) else slice(None, None, -1)
    means, stds = (values.flatten().tolist()[order] for values in (mean, std))
    return tuple(means * 3 if len(means) == 1 else means), tuple(stds * 3 if len(stds) == 1 else stds)


def layer_differences(recipe: Recipe, found: Mapping[str, Any]) -> list[str]:
    """In what a backbone, ``built_with`` what was found, is not the recipe's."""
    wanted = built_with(recipe.padding, recipe.act_cfg, dict(eps=recipe.norm_eps))
    return [f'{key}={found[key]} instead of {value}' for key, value in wanted.items() if found[key] != value]


def second_stage_differences(model: nn.Module) -> list[str]:
    """In what a detector's shared head, the backbone's last rows, is built otherwise than these."""
    first: Any = getattr(getattr(model, 'backbone', None), 'built_with', None)
    head = getattr(getattr(model, 'roi_head', None), 'shared_head', None)
    found: Any = getattr(head, 'built_with', None)
    if not first or not found:
        return []
    return [
        f'roi_head.shared_head.{key}={found[key]} instead of {value}'
        for key, value in first.items()
        if found[key] != value
    ]


def input_differences(recipe: Recipe, mean: Sequence[float], std: Sequence[float]) -> list[str]:
    """In what a data preprocessor is not the recipe's, by more than ``TOLERANCE``.

    Args:
        recipe: Of the weights.
        mean: Of R, G, B in 0..255, subtracted.
        std: Of R, G, B in 0..255, divided by.

    Returns:
        A piece of a message for each of mean and deviation, empty where both agree.
    """
    ends = np.array([[0.0] * 3, [255.0] * 3])
    theirs = (ends - np.array(recipe.mean)) / np.array(recipe.std)
    ours = (ends - np.array(mean)) / np.array(std)
    if np.abs(theirs - ours).max() <= TOLERANCE * np.ptp(theirs):
        return []
    pairs = dict(mean=(mean, recipe.mean), std=(std, recipe.std))
    return [f'{key}={_rounded(a)} instead of {_rounded(b)}' for key, (a, b) in pairs.items()]


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(float(value), 3) for value in values]
