"""ImageNet's thousand classes."""

from __future__ import annotations

import functools
from collections.abc import Sequence

__all__ = ['are_imagenet', 'imagenet_classes', 'own_names']

_SAME = 0.9  # of names, as other lists spell some otherwise


@functools.cache
def imagenet_classes() -> tuple[str, ...]:
    """Names of ImageNet's 1000 classes, by index, each once: as torchvision's weights say them."""
    from torchvision.models import MobileNet_V2_Weights  # loads torch, which an exported network does without

    return tuple(MobileNet_V2_Weights.IMAGENET1K_V1.meta['categories'])


def are_imagenet(names: Sequence[str]) -> bool:
    """Whether names are ImageNet's classes in their order, however they are spelled.

    Args:
        names: Each with or without its synonyms, behind a comma.
    """
    ours = imagenet_classes()
    if len(names) != len(ours):
        return False
    same = sum(a.partition(',')[0].strip() == b for a, b in zip(names, ours, strict=True))
    return same >= _SAME * len(ours)


def own_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names that a network was given; none where they are ImageNet's, as networks without names have them.

    Args:
        names: Of the classes, as its file or its export says them.
    """
    return () if tuple(names) == imagenet_classes() else tuple(names)
