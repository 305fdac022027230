"""What Core ML makes of an SSD's candidates: boxes as Vision takes them, for a stage that suppresses."""

from __future__ import annotations

import numpy as np

from mbv1_backbone.export.plans.plan import Candidates, Operator, Plan, Target

__all__ = ['COREML', 'DECODED_BOXES']

DECODED_BOXES = 'DECODED_BOXES'


def _add_decoded(plan: Plan, found: Candidates) -> tuple[str, ...]:
    """Scores of each anchor and its decoded box; suppression is another model, after the network.

    Gives scores, (A, classes), and boxes, (A, 4): centre x, y, width and height as shares of the image.
    """
    count = len(found.anchors)
    anchors = plan.constant('anchors', found.anchors.astype(np.float32))
    options = dict(
        stds=found.stds,
        iou_threshold=found.iou_threshold,
        min_score=found.min_score,
        count=found.count,
    )
    plan.operators.append(Operator(DECODED_BOXES, (found.encoded, anchors), ('boxes',), options))
    plan.tensor('boxes', (1, count, 4))
    return _flat(plan, found.scores, 'confidence'), _flat(plan, 'boxes', 'coordinates')


def _flat(plan: Plan, x: str, name: str) -> str:
    """Without the axis of the batch, which the next stage has none of."""
    shape = plan.values[x].shape[1:]
    sizes = plan.constant(f'{name}/shape', np.array(shape, np.int32))
    return plan.add('RESHAPE', [x, sizes], name, shape)


COREML = Target('Core ML', (0, 1, 2, 3), False, _add_decoded)
