"""COCO's annotations, read and checked once for training, evaluation and browsing alike."""

from __future__ import annotations

import contextlib
import io
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.names import listed
from mbv1_backbone.detection.formats.boxes import boxes_inside, check_corners, check_units
from mbv1_backbone.detection.formats.classes import check_classes, match_classes
from mbv1_backbone.detection.formats.image_entries import check_sizes, place_images, read_images
from mbv1_backbone.detection.formats.report import Report
from mbv1_backbone.detection.formats.values import (
    Id,
    box_of,
    box_of_mask,
    flag,
    number,
    plain_id,
    read_json,
)

__all__ = ['CocoAnnotations', 'checked', 'learnable', 'read_coco']

_KEYS = ('images', 'annotations', 'categories')


@dataclass
class CocoAnnotations:
    """A file's annotations as everything here reads them.

    Attributes:
        path: The file.
        folder: Of the pictures; None where they were not looked at.
        classes: Names by label.
        images: ``id``, ``file_name`` below ``folder``, ``width`` and ``height`` in pixels.
        annotations: COCO's, ids 1, 2, 3, ...; ``bbox``, ``area``, ``iscrowd`` and ``category_id`` are valid.
        categories: One for every class, in the order of the classes, with the file's ids.
        report: What was left out or filled in.
    """

    path: str
    folder: Path | None
    classes: tuple[str, ...]
    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    report: Report

    @property
    def category_ids(self) -> tuple[Id, ...]:
        """Category id by label."""
        return tuple(category['id'] for category in self.categories)

    def api(self, kind: type | None = None, by_label: bool = False) -> Any:
        """The same as an object of pycocotools.

        Args:
            kind: A subclass of its ``COCO``.
            by_label: Number categories 1, 2, 3, ... in the order of the classes instead of by their ids.
        """
        from pycocotools.coco import COCO

        numbers = {c['id']: k if by_label else c['id'] for k, c in enumerate(self.categories, 1)}
        coco = (kind or COCO)()
        coco.dataset = dict(
            images=self.images,
            annotations=[{**a, 'category_id': numbers[a['category_id']]} for a in self.annotations],
            categories=[{**c, 'id': numbers[c['id']]} for c in self.categories],
        )
        with contextlib.redirect_stdout(io.StringIO()):
            coco.createIndex()
        return coco


def read_coco(
    path: str | os.PathLike[str],
    folder: str | os.PathLike[str] | None,
    classes: Sequence[str],
    training: bool = False,
) -> CocoAnnotations:
    """Read an annotation file, fill in what can be known and leave out, counted, what cannot be.

    Args:
        path: JSON in COCO's format.
        folder: Of the pictures, whose sizes are checked; None to do without.
        classes: Names by label. Categories are matched to them by name, whatever their order and ids.
        training: Refuse a file that nothing can be learnt from.

    Raises:
        InputError: If the file cannot be read or lacks a key, names do not match, a picture is missing or of
            another size than its boxes, an image id is given twice, or nothing is left.
    """
    return checked(read_json(path), os.fspath(path), folder, classes, training)


def checked(
    raw: Any, name: str, folder: str | os.PathLike[str] | None, classes: Sequence[str], training: bool = False
) -> CocoAnnotations:
    """The same of the file's content; ``raw`` is written into.

    Args:
        raw: What the file holds, as JSON has it.
        name: The file, for messages.
        folder: Of the pictures; None leaves them unread and the stated sizes as they are.
        classes: The config's, in its order.
        training: Refuse a file that nothing can be learnt from.
    """
    classes = check_classes(classes)
    raw_images, raw_annotations, raw_categories = _lists(raw, name, training)
    report = Report(name, stated=len(raw_annotations))
    where = Path(folder) if folder is not None else None
    images = read_images(raw_images, report)
    if where is not None:
        place_images(images, where, report)
    annotations = _readable(raw_annotations, images, report)
    matched = match_classes(raw_categories, classes, Counter(a['category_id'] for a in annotations), report)
    annotations = _of_classes(annotations, matched.labels, matched.ids, report)
    _count_repeated(annotations, report)
    check_units(annotations, name)
    check_sizes(images, annotations, where, report)
    annotations = boxes_inside(annotations, images, report)
    check_corners(annotations, images, name)
    for place, annotation in enumerate(annotations, 1):  # 0 would count as no match in COCO's evaluation
        annotation['id'] = place
    report.images, report.boxes = len(images), sum(not a['iscrowd'] for a in annotations)
    categories = [dict(id=i, name=c) for i, c in zip(matched.ids, classes, strict=True)]
    found = CocoAnnotations(name, where, classes, list(images.values()), annotations, categories, report)
    if training:
        _check_something_is_left(found, matched.absent)
    elif matched.absent:
        report.warnings.append(f'{name}: has no category {listed(matched.absent)}: no AP of it')
    return found


def learnable(annotation: dict[str, Any]) -> bool:
    """Whether mmdet trains on it: no crowd, not ignored, and a pixel wide and high."""
    box = annotation['bbox']
    return not (annotation['iscrowd'] or annotation.get('ignore') or box[2] < 1 or box[3] < 1)


def _lists(raw: Any, name: str, training: bool) -> list[list[Any]]:
    if not isinstance(raw, dict):
        raise InputError(f'{name}: must be an object with {", ".join(_KEYS)}, got {str(raw)[:50]}')
    lists = []
    for key in _KEYS:
        value = raw.get(key)
        if value is None and key == 'annotations' and not training:  # COCO's test images have none
            value = []
        if value is None:
            raise InputError(f'{name}: has no {key!r}')
        if not isinstance(value, list) or (not value and key != 'annotations'):
            raise InputError(f'{name}: {key!r} must be a list with something in it, got {str(value)[:50]}')
        lists.append(value)
    return lists


def _readable(raw: Sequence[Any], images: dict[Id, Any], report: Report) -> list[dict[str, Any]]:
    """Annotations with ids, flags and a box of four numbers, of images that there are."""
    found = []
    seen: set[str] = set()
    for place, annotation in enumerate(raw):
        if not isinstance(annotation, dict):
            raise InputError(f'{report.name}: annotations[{place}] must be an object, got {annotation!r}')
        own = annotation.get('id')
        example = f'annotations[{place}]' if own is None else f'annotation {own}'
        if own is None or str(own) in seen:
            report.add('id', example)
        seen.add(str(own))
        annotation['id'] = example  # until they are numbered
        where = f'{report.name}: {example}'
        _read_keys(annotation, where, report)
        if annotation['image_id'] not in images:
            report.add('unknown_image', example)
        elif _read_box(annotation, where, report):
            found.append(annotation)
    return found


def _read_keys(annotation: dict[str, Any], where: str, report: Report) -> None:
    """Set ids of image and category, and flags.

    Raises:
        InputError: If one cannot be read, or an id is missing.
    """
    for key in ('image_id', 'category_id'):
        if annotation.get(key) is None:
            raise InputError(f'{where} has no {key!r}')
        annotation[key] = plain_id(annotation[key], f'{where}: {key}')
    if annotation.get('iscrowd') is None:
        report.add('iscrowd', annotation['id'])
    for key in ('iscrowd', 'ignore'):
        annotation[key] = flag(annotation.get(key), f'{where}: {key}')


def _read_box(annotation: dict[str, Any], where: str, report: Report) -> bool:
    """Set ``bbox`` and ``area``; False where they cannot be known."""
    raw, mask = annotation.get('bbox'), annotation.get('segmentation')
    if 'bbox' not in annotation and not mask:
        raise InputError(f"{where} has no 'bbox'")
    box = box_of(raw)
    if not raw and mask:
        box = box_of_mask(mask)
        report.add('bbox', annotation['id'])
    if box is None:
        report.add('not_numbers', annotation['id'])
        return False
    if box[2] <= 0 or box[3] <= 0:
        report.add('empty', annotation['id'])
        return False
    area = number(annotation.get('area'))
    if area is None or area <= 0:
        area = box[2] * box[3]
        report.add('area', annotation['id'])
    annotation['bbox'], annotation['area'] = list(box), area
    return True


def _of_classes(
    annotations: list[dict[str, Any]], labels: dict[Id, int | None], ids: Sequence[Id], report: Report
) -> list[dict[str, Any]]:
    """Those of the config's classes, under the one id of each."""
    kept = []
    for annotation in annotations:
        category = annotation['category_id']
        label = labels.get(category)
        if label is None:
            report.add('other_class' if category in labels else 'unknown_category', annotation['id'])
        else:
            annotation['category_id'] = ids[label]
            kept.append(annotation)
    return kept


def _count_repeated(annotations: Sequence[dict[str, Any]], report: Report) -> None:
    """Count boxes that their image has already, of the same class; crowds may be."""
    seen = set()
    for annotation in annotations:
        own = annotation['image_id'], annotation['category_id'], *annotation['bbox']
        if own in seen and not annotation['iscrowd']:
            report.add('repeated', annotation['id'])
        seen.add(own)


def _check_something_is_left(found: CocoAnnotations, absent: Sequence[str]) -> None:
    """Refuse a file without anything to learn from; warn of classes without."""
    report, name = found.report, found.path
    boxes = Counter(a['category_id'] for a in found.annotations if learnable(a))
    if not boxes:
        raise InputError(f'{name}: no box is left to learn from, of {report.stated}: {report.reasons()}')
    report.boxes = boxes.total()
    empty = [c['name'] for c in found.categories if not boxes[c['id']] and c['name'] not in absent]
    for names, reason in ((absent, 'has no category'), (empty, 'has no box to learn from of class')):
        if names:
            report.warnings.append(f'{name}: {reason} {listed(names)}')
