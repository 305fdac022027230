"""WIDER FACE's protocol: average precision of the easy, medium and hard faces of its validation images.

Follows http://shuoyang1213.me/WIDERFACE/support/eval_script/eval_tools.zip: faces of a harder kind count
neither way, scores are scaled over all images, precision and recall are read at 1000 thresholds.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS

from mbv1_backbone.common.errors import InputError, one_line

__all__ = ['LEVELS', 'WiderFaceMetric', 'WiderTruth', 'average_precision', 'read_wider_truth']

LEVELS = ('easy', 'medium', 'hard')
_IOU = 0.5
_THRESHOLDS = 1000


class WiderTruth(NamedTuple):
    """Ground truth of one image.

    Attributes:
        boxes: (G, 4), x1, y1, x2, y2 in pixels.
        counted: Of each level, bool (G,): whether a face counts there.
    """

    boxes: np.ndarray
    counted: dict[str, np.ndarray]


def read_wider_truth(folder: str | os.PathLike[str]) -> dict[str, WiderTruth]:
    """Read the ground truth of WIDER's evaluation.

    Args:
        folder: Of ``wider_face_val.mat`` and ``wider_{easy,medium,hard}_val.mat``.

    Returns:
        By ``EVENT/FILE`` without a suffix, as images are named.

    Raises:
        InputError: If a file is missing, unreadable, or not of this form.
    """
    folder = Path(folder)
    main = _load(folder / 'wider_face_val.mat', 'event_list', 'file_list', 'face_bbx_list')
    kept = {level: _load(folder / f'wider_{level}_val.mat', 'gt_list')['gt_list'] for level in LEVELS}
    found = {}
    try:
        for e, event in enumerate(main['event_list'].ravel()):
            for i, file in enumerate(main['file_list'].ravel()[e].ravel()):
                rows = np.asarray(main['face_bbx_list'].ravel()[e].ravel()[i], float).reshape(-1, 4)
                boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:]], 1)
                counted = {level: _mask(kept[level].ravel()[e].ravel()[i], len(boxes)) for level in LEVELS}
                found[f'{_text(event)}/{_text(file)}'] = WiderTruth(boxes, counted)
    except (IndexError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{folder}: not the ground truth of WIDER's evaluation: {one_line(error)}"
        ) from error
    return found


def _load(path: Path, *names: str) -> dict[str, Any]:
    from scipy.io import loadmat

    try:
        content = loadmat(path)
    except Exception as error:  # scipy's reader has no common kind
        raise InputError(f'{path}: not a readable .mat file: {one_line(error)}') from error
    if missing := [name for name in names if name not in content]:
        raise InputError(f'{path}: has no {missing[0]}')
    return content


def _text(cell: Any) -> str:
    return str(np.asarray(cell).ravel()[0])


def _mask(numbers: Any, count: int) -> np.ndarray:
    """Numbers from 1, as Matlab counts."""
    mask, places = np.zeros(count, bool), np.asarray(numbers, int).ravel() - 1
    if (places < 0).any():
        raise ValueError(f'face {places.min() + 1} of {count}, they count from 1')
    mask[places] = True
    return mask


def average_precision(
    found: Mapping[str, tuple[np.ndarray, np.ndarray]], truth: Mapping[str, WiderTruth], level: str
) -> float:
    """Average precision of one level, 0..1.

    Args:
        found: Of an image, by its name, boxes (N, 4) in pixels and scores (N,); images without are missed.
        truth: Of all images that are evaluated.
        level: One of ``LEVELS``.

    Raises:
        InputError: If no face counts at this level.
    """
    total = sum(int(image.counted[level].sum()) for image in truth.values())
    if not total:
        raise InputError(f'no face counts as {level}')
    scores = [s for name, (_, s) in found.items() if name in truth and len(s)]
    low, high = (f(np.concatenate(scores)) for f in (np.min, np.max)) if scores else (0.0, 1.0)
    proposals, hits = np.zeros(_THRESHOLDS), np.zeros(_THRESHOLDS)
    for name, image in truth.items():
        if not len(image.boxes):  # as in the original, what is found there does not count
            continue
        boxes, score = found.get(name, (np.zeros((0, 4)), np.zeros(0)))
        order = np.argsort(-score, kind='stable')
        scaled = (score[order] - low) / (high - low) if high > low else score[order] * 0.0
        counts, recalled = _matched(boxes[order], image.boxes, image.counted[level])
        thresholds = 1 - (np.arange(_THRESHOLDS) + 1) / _THRESHOLDS
        above = np.searchsorted(-scaled, -thresholds, side='right')
        proposals += np.concatenate([[0], counts])[above]
        hits += np.concatenate([[0], recalled])[above]
    precision = np.divide(hits, proposals, out=np.zeros(_THRESHOLDS), where=proposals > 0)
    return _voc_ap(hits / total, precision)


def _matched(boxes: np.ndarray, faces: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of boxes by descending score: how many of the first ones count, and how many faces these find."""
    counts, hits = np.ones(len(boxes)), np.zeros(len(boxes))
    if len(boxes) and len(faces):
        overlaps = _overlaps(boxes, faces)
        recalled = np.zeros(len(faces), bool)
        for place, (best, share) in enumerate(zip(overlaps.argmax(1), overlaps.max(1), strict=True)):
            if share < _IOU:
                continue
            if not counted[best]:
                counts[place] = 0
            elif not recalled[best]:
                recalled[best] = True
                hits[place] = 1
    return counts.cumsum(), hits.cumsum()


def _overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union (N, G), with sides counted in whole pixels: x2 - x1 + 1."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(high - low + 1, 0, None).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2] + 1).prod(1) for boxes in (a, b)]
    return shared / (areas[0][:, None] + areas[1][None] - shared)


def _voc_ap(recall: np.ndarray, precision: np.ndarray) -> float:
    """Area below the curve, with precision made to fall."""
    recall = np.concatenate([[0], recall, [1]])
    falling = np.maximum.accumulate(np.concatenate([[0], precision, [0]])[::-1])[::-1]
    return float((np.diff(recall) * falling[1:]).sum())


@METRICS.register_module()
class WiderFaceMetric(BaseMetric):
    """Average precision of WIDER FACE's easy, medium and hard faces.

    Args:
        truth: Folder of the ``.mat`` files, below ``data_root``.
        data_root: Of the data set.
        kwargs: mmengine's.
    """

    default_prefix = 'wider'

    def __init__(self, truth: str = 'ground', data_root: str = '', **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder = os.path.join(data_root, truth)

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Keep what was found.

        Args:
            data_batch: Unused.
            data_samples: With ``img_id`` and ``pred_instances``.
        """
        for sample in data_samples:
            found = sample['pred_instances']
            self.results.append(
                (sample['img_id'], found['bboxes'].cpu().numpy(), found['scores'].cpu().numpy())
            )

    def compute_metrics(self, results: list[tuple[str, np.ndarray, np.ndarray]]) -> dict[str, float]:
        """Figures of all images.

        Raises:
            InputError: If the ground truth is missing, or has none of the images.
        """
        truth = read_wider_truth(self.folder)
        found = {name: (boxes, scores) for name, boxes, scores in results}
        if not found.keys() & truth.keys():
            raise InputError(f'{self.folder}: has none of the {len(found)} images')
        return {f'{level}_ap': average_precision(found, truth, level) for level in LEVELS}
