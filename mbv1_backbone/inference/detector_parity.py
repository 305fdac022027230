"""Detectors against each other on the same images: COCO's AP, and which boxes both find."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchvision.ops import box_iou
from tqdm import tqdm

from mbv1_backbone.common.coco import COCO_CATEGORY_IDS
from mbv1_backbone.common.cpu import cores
from mbv1_backbone.common.errors import NotInstalledError
from mbv1_backbone.common.images import read_image
from mbv1_backbone.detection.formats.coco import read_coco
from mbv1_backbone.inference.detections import Detections
from mbv1_backbone.inference.detector import Detector

__all__ = [
    'CAP',
    'Figures',
    'TFLiteDetector',
    'compare_with_tflite',
    'evaluate_detectors',
    'mask_overlaps',
    'share_of_same',
]

CAP = 10  # detections an image that the released file's own post-processing gives


class Figures(NamedTuple):
    """COCO's AP and AP50 (0..1) of one detector, and AP of its masks where there are some."""

    name: str
    ap: float
    ap50: float
    mask_ap: float | None = None


def compare_with_tflite(
    tflite: str | os.PathLike[str], detector: Detector, images: str | os.PathLike[str], ann_file: str
) -> list[Figures]:
    """Detect in every image of an annotation file with both, and evaluate both in the same way.

    Args:
        tflite: Google's SSD file.
        detector: Our import of it.
        images: Folder of the images.
        ann_file: COCO annotations.

    Returns:
        The file's own runtime (at most 10 detections an image), ours capped at 10, and ours as it is.

    Raises:
        InputError: If a file cannot be read.
        NotInstalledError: If TensorFlow Lite's interpreter is not installed.
    """
    found = read_coco(ann_file, images, detector.classes)
    truth = found.api(by_label=True)
    theirs, ours = [], []
    runtime = TFLiteDetector(tflite)
    for entry in tqdm(found.images, unit='image'):
        image = _read_entry(images, entry)
        theirs += _results(detector, runtime.detect(image), entry)
        ours.append(_results(detector, detector.detect([image])[0], entry))
    return [
        _evaluate(f'TensorFlow Lite, {CAP} an image', truth, theirs),
        _evaluate(f'ours, {CAP} an image', truth, [d for results in ours for d in results[:CAP]]),
        _evaluate('ours, 100 an image', truth, [d for results in ours for d in results]),
    ]


def evaluate_detectors(
    detectors: dict[str, Detector], images: str | os.PathLike[str], ann_file: str
) -> list[Figures]:
    """COCO's AP of several detectors on the images of an annotation file.

    Args:
        detectors: By name; all of the same classes, which the file's categories are matched to by name.
        images: Folder of the images.
        ann_file: COCO annotations.

    Raises:
        InputError: If a file cannot be read, or the classes are not the file's.
    """
    truth = read_coco(ann_file, images, next(iter(detectors.values())).classes)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in detectors}
    for entry in tqdm(truth.images, unit='image', leave=False):
        image = _read_entry(images, entry)
        for name, detector in detectors.items():
            found[name] += _results(detector, detector.detect([image])[0], entry)
    return [_evaluate(name, truth.api(by_label=True), results) for name, results in found.items()]


def share_of_same(a: Detections, b: Detections, score_thr: float, iou_thr: float) -> tuple[int, int]:
    """How many boxes two detectors both find in an image, and how many either finds.

    Boxes that score at least ``score_thr`` are taken by descending score; each is the same as the other's
    unmatched box of its label that it overlaps most, from ``iou_thr`` on. A box that the other has just below
    the threshold counts as found.

    Args:
        a: One detector's, boxes in pixels.
        b: The other's.
        score_thr: The least score of a box that counts, 0..1.
        iou_thr: The least IoU of two boxes that are the same, 0..1.

    Returns:
        Boxes that both find, counted on either side, and boxes of both sides.
    """
    same = both = 0
    for one, other in ((a, b), (b, a)):
        free = other.scores >= 0.8 * score_thr
        overlaps = box_iou(*(torch.from_numpy(some.boxes) for some in (one, other))).numpy()
        for place in np.flatnonzero(one.scores >= score_thr):
            both += 1
            fits = np.where(free & (other.labels == one.labels[place]), overlaps[place], -1.0)
            if len(fits) and fits.max() >= iou_thr:
                free[fits.argmax()] = False
                same += 1
    return same, both


def mask_overlaps(a: Detections, b: Detections, score_thr: float, iou_thr: float) -> list[float]:
    """IoU of the masks of boxes that two detectors both find in an image.

    Args:
        a: One detector's, with masks.
        b: The other's.
        score_thr: The least score of a box of ``a`` that counts, 0..1.
        iou_thr: The least IoU of two boxes that are the same, 0..1.
    """
    assert a.masks is not None
    assert b.masks is not None
    found = []
    overlaps = box_iou(*(torch.from_numpy(some.boxes) for some in (a, b))).numpy()
    for place in np.flatnonzero(a.scores >= score_thr):
        fits = np.where(b.labels == a.labels[place], overlaps[place], -1.0)
        if len(fits) and fits.max() >= iou_thr:
            one, other = a.masks[int(place)], b.masks[int(fits.argmax())]
            found.append(float((one & other).sum() / max(1, (one | other).sum())))
    return found


class TFLiteDetector:
    """The file in TensorFlow Lite's interpreter on all cores, with the file's own box decoding and NMS."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise NotInstalledError(
                "needs TensorFlow Lite's interpreter: pip install 'mbv1-backbone[weights]'"
            ) from error
        self._interpreter = Interpreter(os.fspath(path), num_threads=cores())
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]
        # The file numbers classes by COCO's ids less one; ours are the 80 in the order of their ids.
        self._labels = {category - 1: label for label, category in enumerate(COCO_CATEGORY_IDS)}

    def detect(self, image: np.ndarray) -> Detections:
        """Detections in an RGB image (H, W, 3), in its own pixels."""
        height, width = image.shape[:2]
        side = tuple(int(n) for n in self._input['shape'][1:3])
        self._interpreter.set_tensor(self._input['index'], cv2.resize(image, side[::-1])[None])
        self._interpreter.invoke()
        boxes, classes, scores, _ = (
            self._interpreter.get_tensor(output['index'])[0]
            for output in self._interpreter.get_output_details()
        )
        known = np.array([int(c) in self._labels for c in classes])
        corners = boxes[known][:, [1, 0, 3, 2]] * [width, height, width, height]
        corners = corners.clip(0, [width, height, width, height])  # ours lie in the image too
        labels = np.array([self._labels[int(c)] for c in classes[known]], dtype=np.int64)
        return Detections(corners.astype(np.float32), scores[known], labels)


def _evaluate(name: str, truth: COCO, results: Sequence[dict[str, Any]]) -> Figures:
    if not results:
        return Figures(name, 0.0, 0.0)
    plain = json.loads(json.dumps(list(results)))  # COCO writes into what it is given
    found = _quietly(truth.loadRes, plain)
    ap, ap50 = _ap(truth, found, 'bbox')
    masked = 'segmentation' in plain[0] and all(a.get('segmentation') for a in truth.anns.values())
    return Figures(name, ap, ap50, _ap(truth, found, 'segm')[0] if masked else None)


def _ap(truth: COCO, found: COCO, kind: str) -> tuple[float, float]:
    """AP and AP50 of boxes, ``bbox``, or masks, ``segm``."""
    evaluation = _quietly(COCOeval, truth, found, kind)
    for step in (evaluation.evaluate, evaluation.accumulate, evaluation.summarize):
        _quietly(step)
    return float(evaluation.stats[0]), float(evaluation.stats[1])


def _results(detector: Detector, found: Detections, entry: dict[str, Any]) -> list[dict[str, Any]]:
    """An image's detections in COCO's form, with categories 1, 2, 3, ... by label."""
    results = detector.to_coco(found, entry['id'], entry['file_name'])
    return [
        {**result, 'category_id': int(label) + 1} for result, label in zip(results, found.labels, strict=True)
    ]


def _read_entry(images: str | os.PathLike[str], entry: dict[str, Any]) -> np.ndarray:
    """The picture of an entry, turned as its annotations are."""
    return read_image(Path(images) / entry['file_name'], (entry['height'], entry['width']))


def _quietly(call: Any, *args: Any) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        return call(*args)
