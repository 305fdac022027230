import json

import numpy as np
import pytest
from pycocotools.mask import decode

from mbv1_backbone.common.images import read_image
from mbv1_backbone.detection import demo_data
from mbv1_backbone.detection.demo_data import EMPTY, SHAPES, SIZE, draw_scene, make_demo_data


def scenes(count):
    return [draw_scene(np.random.default_rng([0, 0, index]))[:2] for index in range(count)]


def test_the_seed_decides_everything():
    first, second = (draw_scene(np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(np.asarray(first[0]), np.asarray(second[0]))
    assert first[1] == second[1]


def test_scenes_are_varied_and_boxes_lie_inside():
    objects = [found for _, found in scenes(150)]
    assert {label for found in objects for label, _ in found} == set(range(len(SHAPES)))
    for x1, y1, x2, y2 in (box for found in objects for _, box in found):
        assert 0 <= x1 < x2 <= SIZE
        assert 0 <= y1 < y2 <= SIZE
    empty = sum(not found for found in objects) / len(objects)
    assert EMPTY / 3 < empty < EMPTY * 3
    sides = [x2 - x1 for found in objects for _, (x1, _, x2, _) in found]
    assert max(sides) > 2 * min(sides)


def test_a_box_is_where_the_object_is(monkeypatch):
    """The same scene drawn with nothing in it differs within the box, up to its edges."""
    with_object = scenes(30)
    monkeypatch.setattr(demo_data, 'SHAPES', dict.fromkeys(SHAPES, lambda *_: None))
    without = scenes(30)
    single = [k for k, (_, objects) in enumerate(with_object) if len(objects) == 1]
    assert single
    for k in single:
        (image, [(_, box)]), (background, nothing) = with_object[k], without[k]
        assert not nothing
        changed = (np.asarray(image) != np.asarray(background)).any(axis=2)
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        assert [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1] == pytest.approx(box, abs=1)


def test_files_are_coco(tmp_path):
    report = make_demo_data(tmp_path, train=6, val=3)
    for split, count in (('train', 6), ('val', 3)):
        coco = json.loads((tmp_path / 'annotations' / f'{split}.json').read_text())
        assert len(coco['images']) == report[split]['images'] == count
        assert len(coco['annotations']) == report[split]['boxes']
        assert [a['id'] for a in coco['annotations']] == list(range(1, len(coco['annotations']) + 1))
        masks = np.stack([decode(a['segmentation']) for a in coco['annotations']]).astype(bool)
        for mask, annotation in zip(masks, coco['annotations'], strict=True):
            x, y, w, h = annotation['bbox']
            assert mask[y : y + h, x : x + w].sum() == mask.sum() > 0.2 * w * h * 0.4
            others = [a['image_id'] == annotation['image_id'] for a in coco['annotations']]
            assert (masks[others].sum(0) <= 1).all()  # a pixel is of the object on top
        for entry in coco['images']:
            assert read_image(tmp_path / 'images' / entry['file_name']).shape == (SIZE, SIZE, 3)
