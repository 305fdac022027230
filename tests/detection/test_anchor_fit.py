"""Coverage of boxes by anchors, held to a loop over all of an input's anchors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.registry import TASK_UTILS
from torchvision.ops import box_iou

from mbv1_backbone.detection.anchor_fit import best_ious, coverage, fit_anchors, scaled_boxes

SSD = dict(type='MobileSSDAnchorGenerator', input_size=300)
GRID = dict(type='AnchorGenerator', scales=[8], ratios=[0.5, 1.0, 2.0], strides=[8, 16, 32, 64])


def boxes_of(rng: np.random.Generator, count: int, side: int, small: float, large: float) -> np.ndarray:
    sizes = rng.uniform(small, large, (count, 2))
    start = rng.uniform(0, 1, (count, 2)) * (side - sizes)
    return np.concatenate([start, start + sizes], axis=1)


@pytest.mark.parametrize(('generator', 'side'), [(SSD, 300), (GRID, 320)], ids=['ssd', 'grid'])
def test_the_best_overlap_is_that_of_all_anchors(generator: dict, side: int) -> None:
    boxes = boxes_of(np.random.default_rng(0), 200, side, 4, side - 1)
    built = TASK_UTILS.build(dict(generator, _scope_='mmdet'))
    maps = getattr(built, 'map_sizes', [(side // s, side // s) for s in (8, 16, 32, 64)])
    anchors = torch.cat(built.grid_priors(maps, device='cpu'))
    wanted = box_iou(torch.from_numpy(boxes).float(), anchors).amax(dim=1).numpy()
    np.testing.assert_allclose(best_ious(boxes, generator, side), wanted, atol=2e-6)


def test_small_boxes_get_small_anchors_and_others_leave_them_as_they_are() -> None:
    rng = np.random.default_rng(1)
    small = boxes_of(rng, 100, 300, 14, 26)
    fit = fit_anchors(small, np.zeros(100, int), 1, SSD, 300)
    assert fit.changes['smallest'] < 0.1
    assert fit.after[0] > fit.before[0] + 0.1
    large = boxes_of(rng, 100, 300, 80, 200)
    fit = fit_anchors(large, np.zeros(100, int), 2, SSD, 300)
    assert not fit.changes
    assert fit.after[0] > 0.9
    assert np.isnan(fit.after[1])  # no boxes of it
    tiny = boxes_of(rng, 50, 320, 10, 30)
    assert fit_anchors(tiny, np.zeros(50, int), 1, GRID, 320).changes == dict(scales=[2.0])


def test_coverage_of_classes_and_boxes_in_pixels_of_the_input() -> None:
    shares = coverage(np.array([0.5, 0.49, 0.9]), np.array([0, 0, 2]), 3)
    np.testing.assert_array_equal(shares, [0.5, np.nan, 1.0])
    boxes = scaled_boxes(np.array([[10, 20, 30, 40.0]]), np.array([[100, 200]]), 300)
    np.testing.assert_allclose(boxes, [[30, 30, 120, 90]])
