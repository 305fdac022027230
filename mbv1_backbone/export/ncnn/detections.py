"""What ncnn makes of an SSD's candidates: its own layer for them."""

from __future__ import annotations

import numpy as np

from mbv1_backbone.export.plans.plan import Candidates, Operator, Plan, Target

__all__ = ['DETECTION_OUTPUT', 'NCNN']

DETECTION_OUTPUT = 'DetectionOutput'


def _add_detections(plan: Plan, found: Candidates) -> tuple[str, ...]:
    """Decoding, and suppression class by class.

    The layer takes scores for shares of 1, and decodes no box whose background has the rest; ours are
    independent of each other, so that it is given a background of 0.

    Gives ``detections``, (number of them, 6): label from 1 on, score, x1, y1, x2, y2 as shares of the image.
    Without any there is no output.
    """
    centres, sides = found.anchors[:, :2], found.anchors[:, 2:]
    corners = np.concatenate([centres - sides / 2, centres + sides / 2], 1)
    stds = np.broadcast_to(np.array(found.stds), corners.shape)
    anchors = plan.constant('anchors', np.stack([corners.ravel(), stds.ravel()]).astype(np.float32))
    count = len(found.anchors)
    borders = plan.constant('candidates/borders', np.array([(0, 0), (0, 0), (1, 0)], np.int32))
    scores = plan.add('PAD', [found.scores, borders], 'candidates', (1, count, found.classes + 1))
    options = dict(
        classes=found.classes + 1,
        iou_threshold=found.iou_threshold,
        candidates=count,
        count=found.count,
        min_score=found.min_score,
    )
    operator = Operator(DETECTION_OUTPUT, (found.encoded, scores, anchors), ('detections',), options)
    plan.operators.append(operator)
    return (plan.tensor('detections', (1, found.count, 6)),)


NCNN = Target('ncnn', (0, 1, 2, 3), False, _add_detections)
