"""A config's classes and a file's categories, matched by name."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.names import guess, listed, nearest
from mbv1_backbone.detection.formats.report import Report
from mbv1_backbone.detection.formats.values import Id, plain_id

__all__ = ['Matched', 'check_classes', 'match_classes']


@dataclass(frozen=True)
class Matched:
    """How a file's categories are the config's classes.

    Attributes:
        ids: Category id of every class, in the order of the classes; one that the file does not use where it
            has no such category.
        labels: Label by category id; None of a category that is no class.
        absent: Classes that the file has no category of.
    """

    ids: tuple[Id, ...]
    labels: dict[Id, int | None]
    absent: tuple[str, ...]


def check_classes(classes: Any, where: str = 'metainfo.classes') -> tuple[str, ...]:
    """``metainfo.classes`` of a config, as a tuple of names.

    Args:
        classes: What the config says.
        where: How messages call it.

    Raises:
        InputError: If it is anything else, or a name is there twice.
    """
    if isinstance(classes, str):
        raise InputError(f"{where} must be a tuple of names, got {classes!r}; of one: ('{classes}',)")
    if not isinstance(classes, Sequence) or not classes or not all(isinstance(c, str) for c in classes):
        raise InputError(f'{where} must be a tuple of names, got {classes!r}')
    if repeated := [name for name, count in Counter(map(_same, classes)).items() if count > 1]:
        raise InputError(f'{where} must not repeat a name, got {repeated[0]!r} twice')
    return tuple(classes)


def match_classes(
    categories: Sequence[Any], classes: Sequence[str], boxes: Counter[Id], report: Report
) -> Matched:
    """Find the category of every class, by its name.

    Args:
        categories: The file's, each with ``id`` and ``name``.
        classes: Of the config, checked.
        boxes: Annotations by category id.
        report: Gets the count of categories that share a name.

    Raises:
        InputError: If a category lacks its id or name, an id has two names, or a class has no category while
            the file has others that it may be.
    """
    names = _names(categories, report.name)
    by_name: dict[str, list[Id]] = {}
    for category_id, name in names.items():
        by_name.setdefault(_same(name), []).append(category_id)
    absent = tuple(name for name in classes if _same(name) not in by_name)
    known = {_same(name) for name in classes}
    others = [name for category_id, name in names.items() if _same(name) not in known]
    used = [name for category_id, name in names.items() if _same(name) not in known and boxes[category_id]]
    if absent and (used or len(absent) == len(classes) or any(nearest(name, others) for name in absent)):
        raise InputError(
            f'{report.name}: no category is called {listed(absent)}; metainfo.classes of the config: '
            f'{listed(classes)}; categories of the file: {listed(list(names.values()))}'
            f'{guess(absent, others)}'
        )
    labels: dict[Id, int | None] = dict.fromkeys(names)
    chosen: list[Id] = []
    free = max((i for i in names if isinstance(i, int)), default=0)
    for label, name in enumerate(classes):
        ids = by_name.get(_same(name), [])
        if not ids:
            free += 1
        if len(ids) > 1:
            report.add('one_name', f'{name!r}')
        chosen.append(max(ids, key=lambda i: boxes[i]) if ids else free)
        labels.update(dict.fromkeys(ids, label))
    return Matched(tuple(chosen), labels, absent)


def _names(categories: Sequence[Any], file: str) -> dict[Id, str]:
    """Name by id."""
    names: dict[Id, str] = {}
    for place, category in enumerate(categories):
        where = f'{file}: categories[{place}]'
        if not isinstance(category, dict):
            raise InputError(f'{where} must be an object with id and name, got {category!r}')
        for key in ('id', 'name'):
            if category.get(key) is None:
                raise InputError(f'{where} has no {key!r}')
        category_id, name = plain_id(category['id'], f'{where}: id'), str(category['name'])
        if names.setdefault(category_id, name) != name:
            raise InputError(f'{file}: category id {category_id} is {names[category_id]!r} and {name!r}')
    return names


def _same(name: str) -> str:
    """Names that differ in how an accent is encoded are the same."""
    return unicodedata.normalize('NFC', name)
