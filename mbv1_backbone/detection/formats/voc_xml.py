"""An annotation of PASCAL VOC: one XML file."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import NamedTuple

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.names import plain_name
from mbv1_backbone.detection.formats.pictures import Size

__all__ = ['VocAnnotation', 'VocObject', 'read_annotation']


class VocObject(NamedTuple):
    """A box, x1, y1, x2, y2 in pixel edges from 0; ``difficult`` is 0 or 1."""

    name: str
    box: tuple[float, float, float, float]
    difficult: int


class VocAnnotation(NamedTuple):
    """What one XML file says; ``size`` is None where it says none."""

    filename: str | None
    size: Size | None
    objects: list[VocObject]

    @property
    def reach(self) -> tuple[float, float]:
        """Greatest x and y of the boxes, in pixels."""
        boxes = [found.box for found in self.objects if all(map(math.isfinite, found.box))]
        return max((b[2] for b in boxes), default=0.0), max((b[3] for b in boxes), default=0.0)


def read_annotation(path: Path) -> VocAnnotation:
    """What an XML file says; names and tags without a namespace.

    Raises:
        InputError: If it cannot be read, or says less than VOC asks for.
    """
    try:
        tree = _root(path)
        filename = (tree.findtext('filename') or '').strip() or None
        return VocAnnotation(filename, _read_size(tree), [_read_object(node) for node in tree.iter('object')])
    except OSError as error:
        raise InputError(f'annotation {path}: {error.strerror}') from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise InputError(f'annotation {path}: {error}') from error


def _root(path: Path) -> ElementTree.Element:
    """The root of an annotation, its tags without a namespace."""
    tree = ElementTree.parse(path).getroot()
    for node in tree.iter():
        node.tag = str(node.tag).rpartition('}')[2]
    if tree.tag != 'annotation':
        raise ValueError(f'its root must be <annotation>, got <{tree.tag}>')
    return tree


def _read_size(tree: ElementTree.Element) -> Size | None:
    """Width and height; None where one is missing or 0, as some tools leave them."""
    try:
        width, height = (round(float(tree.findtext(f'size/{tag}') or '0')) for tag in ('width', 'height'))
    except (ValueError, OverflowError):
        return None
    return (width, height) if width > 0 and height > 0 else None


def _read_object(node: ElementTree.Element) -> VocObject:
    def text(tag: str) -> str:
        value = node.findtext(tag)
        if value is None or not value.strip():
            raise ValueError(f'an object has no <{tag.rpartition("/")[2]}>')
        return value.strip()

    for tag in ('name', 'bndbox', 'bndbox/xmin', 'bndbox/ymin', 'bndbox/xmax', 'bndbox/ymax', 'difficult'):
        if (count := len(node.findall(tag))) > 1:
            raise ValueError(f'an object has {count} <{tag.rpartition("/")[2]}>: one each')
    xmin, ymin, xmax, ymax = (float(text(f'bndbox/{tag}')) for tag in ('xmin', 'ymin', 'xmax', 'ymax'))
    difficult = int((node.findtext('difficult') or '0').strip().lower() in ('1', 'true'))
    return VocObject(plain_name(text('name')), (xmin - 1, ymin - 1, xmax, ymax), difficult)
