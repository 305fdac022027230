"""Data transforms against mmdet's own and slow loops."""

import numpy as np
import pytest
import torch
from mmdet.datasets.transforms import MinIoURandomCrop
from mmdet.structures.bbox import HorizontalBoxes
from PIL import Image

from mbv1_backbone.detection.transforms import (
    FastMinIoURandomCrop,
    LoadImage,
    crops_that_hold,
    draw_crops,
)


def slow_holds(crop, boxes, least):
    x1, y1, x2, y2 = (float(v) for v in crop)
    if x2 <= x1 or y2 <= y1 or not 0.5 <= (y2 - y1) / (x2 - x1) <= 2:
        return False
    overlaps, centres = [], []
    for a1, b1, a2, b2 in boxes.tolist():
        common = max(0, min(x2, a2) - max(x1, a1)) * max(0, min(y2, b2) - max(y1, b1))
        overlaps.append(common / ((x2 - x1) * (y2 - y1) + (a2 - a1) * (b2 - b1) - common))
        centres.append(x1 < (a1 + a2) / 2 < x2 and y1 < (b1 + b2) / 2 < y2)
    return not overlaps or (min(overlaps) >= least and any(centres))


@pytest.mark.parametrize('count', [0, 1, 4])
@pytest.mark.parametrize('least', [0, 0.1, 0.5])
def test_crops_hold_where_slow_loops_say_so(count, least):
    np.random.seed(count)
    corners = np.random.uniform(0, 60, (count, 2))
    boxes = np.concatenate([corners, corners + np.random.uniform(10, 60, (count, 2))], 1)
    crops = np.concatenate([draw_crops(100, 120, 0.3) for _ in range(8)])
    assert (crops >= 0).all()
    assert (crops[:, [2, 3]] <= [120, 100]).all()
    right = np.array([slow_holds(crop, boxes, least) for crop in crops])
    np.testing.assert_array_equal(crops_that_hold(crops, boxes, least), right)
    assert right.any() or least == 0.5


def results(boxes):
    rng = np.random.default_rng(0)
    return dict(
        img=rng.integers(0, 256, (90, 120, 3), dtype=np.uint8),
        img_shape=(90, 120),
        gt_bboxes=HorizontalBoxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)),
        gt_bboxes_labels=np.arange(len(boxes)),
        gt_ignore_flags=np.zeros(len(boxes), bool),
    )


def test_crops_are_spread_as_mmdets():
    boxes = [[10, 10, 60, 50], [40, 30, 110, 80]]
    means = []
    for kind in (MinIoURandomCrop, FastMinIoURandomCrop):
        np.random.seed(0)
        transform, found = kind(min_ious=(0.1, 0.3)), []
        for _ in range(600):
            done = transform(results(boxes))
            found.append([*done['img_shape'], len(done['gt_bboxes']), done['gt_bboxes'].areas.sum().item()])
        means.append(np.mean(found, 0))
        spread = np.std(found, 0) / np.sqrt(len(found))
    assert (np.abs(means[0] - means[1]) < 4 * spread).all()


def test_a_crop_keeps_what_belongs_together():
    np.random.seed(0)
    for _ in range(50):
        given = results([[10, 10, 60, 50], [40, 30, 110, 80]])
        whole = given['img'].copy()
        done = FastMinIoURandomCrop(min_ious=(0.1,))(given)
        height, width = done['img_shape']
        assert done['img'].shape[:2] == (height, width)
        assert len(done['gt_bboxes']) == len(done['gt_bboxes_labels']) == len(done['gt_ignore_flags'])
        boxes = done['gt_bboxes'].tensor.numpy()
        assert (boxes >= 0).all()
        assert (boxes[:, [2, 3]] <= [width, height]).all()
        rows = np.flatnonzero((whole[:, :, 0] == done['img'][0, 0, 0]).any(1))
        assert any((whole[y : y + height] == done['img'][0, 0]).all(2).any() for y in rows)


def test_no_boxes_are_no_obstacle():
    np.random.seed(1)
    shapes = {FastMinIoURandomCrop()(results([]))['img_shape'] for _ in range(20)}
    assert len(shapes) > 5


def test_kept_images_are_decoded_once_and_not_spoilt(tmp_path):
    paths = []
    for number in range(3):
        paths.append(tmp_path / f'{number}.png')
        Image.new('RGB', (10, 10), (number, 20, 30)).save(paths[-1])
    load = LoadImage(cache_mb=0.0007)  # two of 300 bytes
    for path in paths:
        load(dict(img_path=str(path)))['img'][:] = 255  # as a later step might
    for path in paths:
        path.unlink()
    for number, path in enumerate(paths[:2]):
        found = load(dict(img_path=str(path)))
        assert found['img'][0, 0].tolist() == [30, 20, number]
        assert found['ori_shape'] == (10, 10)
    with pytest.raises(ValueError, match='No such file'):
        load(dict(img_path=str(paths[2])))
