"""What files say of themselves to other projects' programs: description, author and names of classes."""

from __future__ import annotations

from dataclasses import replace

from mbv1_backbone.runtime.spec import ModelSpec

__all__ = ['AUTHOR', 'description_of', 'labels_of', 'names_of', 'of_one_size']

AUTHOR = 'mbv1-backbone'
_WHAT = {
    'classifier': 'MobileNetV1 classifier',
    'embedder': 'MobileNetV1 face embeddings of length 1',
    'backbone': 'Feature maps of MobileNetV1',
    'detector': 'MobileNetV1 SSD with non-maximum suppression',
}


def description_of(spec: ModelSpec) -> str:
    """The network in a line."""
    height, width = spec.size
    count = f', {len(spec.classes)} classes' if spec.classes else ''
    return f'{_WHAT[spec.kind]}, {width} x {height} pixels{count}, {spec.precision}'


def of_one_size(spec: ModelSpec) -> ModelSpec:
    """The spec of a file for images of one size, which has left out what is no class."""
    return replace(spec, recipe={**spec.recipe, 'background': None}, any_size=False, multiple=1)


def names_of(spec: ModelSpec, count: int) -> tuple[str, ...]:
    """Names of the classes; none where there are not as many.

    Args:
        spec: Of the network.
        count: Of its classes.
    """
    return spec.classes if len(spec.classes) == count else ()


def labels_of(spec: ModelSpec, count: int) -> list[str] | list[int]:
    """What to call classes where no two may have one name: the class's number follows it then.

    Args:
        spec: Of the network.
        count: Of its classes, which are numbered where they have no names.
    """
    names = names_of(spec, count)
    if not names:
        return list(range(count))
    taken, labels = set(names), []
    for place, name in enumerate(names):
        if names.count(name) > 1:
            name = f'{name} ({place})'
            while name in taken:  # that is what another one is called
                name = f'{name} ({place})'
            taken.add(name)
        labels.append(name)
    return labels
