"""Detections of a data set's images and the objects that they are matched to, an image at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as masks

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.detection.formats.coco import CocoAnnotations
from mbv1_backbone.detection.formats.values import Id, box_of, number, plain_id

__all__ = ['IGNORED', 'MATCHED', 'UNMATCHED', 'Sample', 'check_detections', 'match']

MATCHED = 0.5  # least overlap of a detection and its object
UNMATCHED, IGNORED = -1, -2  # in place of an object: none; a crowd, which counts neither way
_MOST = 100  # detections of an image, as COCO has it


@dataclass(frozen=True)
class Sample:
    """An image: G objects and D detections, by descending score.

    Attributes:
        image: Its entry of the annotations.
        truth: (G, 4) x, y, width, height in pixels.
        truth_labels: (G,).
        boxes: (D, 4) of the detections.
        labels: (D,).
        scores: (D,) 0..1.
        ious: (D, G) overlaps.
        matched: (D,) object of each detection, ``UNMATCHED`` or ``IGNORED``.
    """

    image: dict[str, Any]
    truth: np.ndarray
    truth_labels: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    ious: np.ndarray
    matched: np.ndarray

    @property
    def used(self) -> np.ndarray:
        """(G,) whether an object has a detection."""
        return np.isin(np.arange(len(self.truth)), self.matched)


def check_detections(raw: Any, name: str, annotations: CocoAnnotations) -> list[dict[str, Any]]:
    """Detections in COCO's form of results, of the images and categories of annotations.

    Args:
        raw: What a file of results holds.
        name: The file, for messages.
        annotations: What they are compared with.

    Raises:
        InputError: If it is no such list, or one is of an unknown image or category.
    """
    if not isinstance(raw, list):
        raise InputError(f'{name}: must be a list of detections, as COCO has results, got {str(raw)[:50]}')
    images = {image['id'] for image in annotations.images}
    categories = set(annotations.category_ids)
    found = []
    for place, one in enumerate(raw):
        where = f'{name}: detection {place}'
        if not isinstance(one, dict) or not {'image_id', 'category_id', 'bbox', 'score'} <= set(one):
            raise InputError(f'{where} must have image_id, category_id, bbox and score, got {str(one)[:80]}')
        image, category = plain_id(one['image_id'], where), plain_id(one['category_id'], where)
        box, score = box_of(one['bbox']), number(one['score'])
        if box is None or score is None or not 0 <= score <= 1:
            raise InputError(f'{where}: bbox must be four numbers and score lie in 0..1, got {str(one)[:80]}')
        if image not in images:
            raise InputError(f'{where}: no image of {annotations.path} has the id {image!r}')
        if category not in categories:
            raise InputError(f'{where}: no category of {annotations.path} has the id {category!r}')
        found.append(dict(image_id=image, category_id=category, bbox=list(box), score=score))
    return found


def match(annotations: CocoAnnotations, detections: Sequence[dict[str, Any]]) -> list[Sample]:
    """Match the detections of every image to its objects.

    By descending score each gets the free object of its class that it overlaps most, by ``MATCHED`` or more.

    Args:
        annotations: The objects; crowds count neither way. COCO's evaluation knows no other ignored ones.
        detections: Of ``check_detections``; the best hundred of an image count.
    """
    label = {category_id: k for k, category_id in enumerate(annotations.category_ids)}
    objects: dict[Id, list[dict[str, Any]]] = {image['id']: [] for image in annotations.images}
    for annotation in annotations.annotations:
        objects[annotation['image_id']].append(annotation)
    found: dict[Id, list[dict[str, Any]]] = {image['id']: [] for image in annotations.images}
    for detection in detections:
        found[detection['image_id']].append(detection)
    return [
        _match_image(image, objects[image['id']], found[image['id']], label) for image in annotations.images
    ]


def _match_image(
    image: dict[str, Any],
    objects: Sequence[dict[str, Any]],
    detections: Sequence[dict[str, Any]],
    label: dict[Id, int],
) -> Sample:
    plain = [a for a in objects if not a['iscrowd']]
    crowds = [a for a in objects if a['iscrowd']]
    best = sorted(detections, key=lambda d: -d['score'])[:_MOST]
    truth, boxes = _boxes(plain), _boxes(best)
    labels = np.array([label[d['category_id']] for d in best], dtype=np.int64)
    truth_labels = np.array([label[a['category_id']] for a in plain], dtype=np.int64)
    ious = _ious(boxes, truth, False)
    matched = np.full(len(best), UNMATCHED)
    free = ious * (labels[:, None] == truth_labels[None])
    for place in range(len(best)) if len(plain) else ():
        target = int(free[place].argmax())
        if free[place, target] >= MATCHED:
            matched[place] = target
            free[:, target] = 0
    if crowds:
        of_class = labels[:, None] == np.array([label[a['category_id']] for a in crowds])[None]
        inside = ((_ious(boxes, _boxes(crowds), True) > MATCHED) & of_class).any(axis=1)
        matched[inside & (matched == UNMATCHED)] = IGNORED
    scores = np.array([d['score'] for d in best], dtype=np.float64)
    return Sample(image, truth, truth_labels, boxes, labels, scores, ious, matched)


def _boxes(entries: Sequence[dict[str, Any]]) -> np.ndarray:
    return np.array([entry['bbox'] for entry in entries], dtype=np.float64).reshape(-1, 4)


def _ious(boxes: np.ndarray, truth: np.ndarray, crowd: bool) -> np.ndarray:
    """(D, G) intersections over unions; of crowds, over the detection."""
    if not len(boxes) or not len(truth):
        return np.zeros((len(boxes), len(truth)))
    return np.asarray(masks.iou(boxes, truth, [crowd] * len(truth)))
