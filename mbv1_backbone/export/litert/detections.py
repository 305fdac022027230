"""What LiteRT makes of an SSD's candidates: TensorFlow Lite's one operator for them."""

from __future__ import annotations

import numpy as np

from mbv1_backbone.export.plans.plan import POST_PROCESS, Candidates, Operator, Plan, Target

__all__ = ['LITERT']

# TensorFlow Lite's suppression by class passes over the class whose number is that of its threads, from two
# threads on (detection_postprocess.cc: std::atomic<int> next_col(num_threads), and then ++next_col). So many
# classes that never occur stand before the network's own, whose numbers are taken down again.
_SPARE = 33
_YXHW = (1, 0, 3, 2)


def _add_post_process(plan: Plan, found: Candidates) -> tuple[str, ...]:
    """Decoding, and suppression class by class.

    Gives boxes (1, K, 4) as shares of the image (y1, x1, y2, x2), labels (1, K), scores (1, K), descending,
    and how many there are (1,).
    """
    scales = zip(('x_scale', 'y_scale', 'w_scale', 'h_scale'), (1 / s for s in found.stds), strict=True)
    options = dict(
        scales,
        max_detections=found.count,
        max_classes_per_detection=1,
        detections_per_class=found.count,
        use_regular_nms=True,
        nms_score_threshold=found.min_score,
        nms_iou_threshold=found.iou_threshold,
        num_classes=found.classes + _SPARE,
    )
    anchors = plan.constant('anchors', found.anchors[:, _YXHW].astype(np.float32))
    scores = _add_spare_classes(plan, found)
    outputs = ('boxes', 'numbers', 'best_scores', 'count')
    plan.operators.append(Operator(POST_PROCESS, (found.encoded, scores, anchors), outputs, options))
    count = found.count
    for name, shape in zip(outputs, ((1, count, 4), (1, count), (1, count), (1,)), strict=True):
        plan.tensor(name, shape)
    spare = plan.constant('spare', np.array(_SPARE, np.float32))
    labels = plan.add('SUB', ['numbers', spare], 'labels', fusedActivationFunction=1)  # 0 where there is none
    return 'boxes', labels, 'best_scores', 'count'


def _add_spare_classes(plan: Plan, found: Candidates) -> str:
    """The scores of classes, without the background's, after those of classes that never occur."""
    shape = plan.values[found.scores].shape
    begin = plan.constant('foreground/begin', np.array([0, 0, shape[2] - found.classes], np.int32))
    extent = plan.constant('foreground/size', np.array([1, shape[1], found.classes], np.int32))
    kept = (1, shape[1], found.classes)
    x = plan.add('SLICE', [found.scores, begin, extent], 'foreground', kept)
    borders = plan.constant('foreground/borders', np.array([(0, 0), (0, 0), (_SPARE, 0)], np.int32))
    return plan.add('PAD', [x, borders], 'candidates', (1, shape[1], found.classes + _SPARE))


LITERT = Target('LiteRT', _YXHW, True, _add_post_process)
