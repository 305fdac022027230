from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from PIL import Image

from mbv1_backbone.common.coco import COCO_CATEGORY_IDS
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.inference.detections import Detections, image_ids
from mbv1_backbone.inference.detector import Detector
from mbv1_backbone.inference.inputs import fit
from mbv1_backbone.models.recipe import Recipe
from mbv1_backbone.runtime.spec import ModelSpec
from mbv1_backbone.training import load_config


@pytest.fixture(scope='module')
def checkpoint(tiny_config, tmp_path_factory):
    """Random weights of the tiny detector, with scores that lie above the threshold."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(load_config(tiny_config).model)
    model.init_weights()
    path = tmp_path_factory.mktemp('weights') / 'random.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    return path


@pytest.fixture(scope='module')
def detector(tiny_config, checkpoint):
    return Detector.load(tiny_config, checkpoint)


def image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_batches_give_what_single_images_give(detector):
    images = [image(100, 50, 1), image(40, 90, 2), image(96, 96, 3)]
    together, alone = detector.detect(images), detector.detect(images, batch_size=1)
    for one, two in zip(together, alone, strict=True):
        assert len(one) > 0
        np.testing.assert_allclose(one.scores, two.scores, atol=1e-5)
        np.testing.assert_allclose(one.boxes[:5], two.boxes[:5], atol=1e-2)


def test_boxes_lie_in_the_image_by_falling_score(detector):
    [found] = detector.detect([image(70, 130)])
    assert found.boxes.dtype == found.scores.dtype == np.float32
    assert (found.boxes[:, 0::2] <= 130.01).all()
    assert (found.boxes[:, 1::2] <= 70.01).all()
    assert (found.boxes >= 0).all()
    assert (np.diff(found.scores) <= 0).all()
    assert len(found) <= 100


def test_files_and_arrays_agree(detector, demo_data):
    from mbv1_backbone.common.images import read_image

    path = next((demo_data / 'images').iterdir())
    [from_file], [from_array] = detector.detect([path]), detector.detect([read_image(path)])
    np.testing.assert_array_equal(from_file.boxes, from_array.boxes)


def test_no_images_give_no_results(detector):
    assert detector.detect([]) == []


@pytest.mark.parametrize(
    'bad',
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_arrays_must_be_rgb_bytes(detector, bad):
    with pytest.raises(ValueError, match=r'images must be RGB uint8 \(H, W, 3\), got'):
        detector.detect([bad])


@pytest.mark.parametrize('bad', [torch.zeros(4, 4, 3, dtype=torch.uint8), None, Image.new('RGB', (4, 4))])
def test_what_is_neither_file_nor_array_is_named(detector, bad):
    with pytest.raises(ValueError, match=f'array.*, got {type(bad).__name__}$'):
        detector.detect(bad)
    with pytest.raises(ValueError, match=f'array.*, got {type(bad).__name__}$'):
        detector.detect([bad])


def test_another_configs_weights_are_refused(checkpoint):
    with pytest.raises(InputError, match='is not of this config'):
        Detector.load('configs/detection/ssd_mbv1_demo.py', checkpoint)


def test_coco_form(detector):
    found = Detections(np.array([[1, 2, 11, 22.5]], np.float32), np.array([0.5], np.float32), np.array([3]))
    assert detector.to_coco(found, 7, 'a.jpg') == [
        dict(
            image_id=7,
            file_name='a.jpg',
            bbox=[1.0, 2.0, 10.0, 20.5],
            score=0.5,
            category_id=4,
            category_name='house',
        )
    ]
    assert len(found.above(0.5)) == 1
    assert len(found.above(0.51)) == 0


def test_cocos_ids(shared):
    import json

    coco = json.loads((shared / 'coco/annotations/instances_val2017.json').read_text())
    assert sorted(c['id'] for c in coco['categories']) == list(COCO_CATEGORY_IDS)


@pytest.mark.parametrize(
    ('names', 'ids'),
    [
        (['000000000139.jpg', '000000000285.jpg'], [139, 285]),
        (['cat.jpg', '000000000285.jpg'], [1, 2]),
        (['a/1.jpg', 'b/01.jpg'], [1, 2]),
        ([], []),
    ],
)
def test_image_ids(names, ids):
    assert image_ids([Path(name) for name in names]) == ids


@pytest.mark.parametrize('shape', [(1, 4000), (4000, 1)])
def test_a_thin_image_keeps_a_pixel(shape):
    recipe = vars(Recipe('test', 1.0))
    spec = ModelSpec('detector', (300, 300), 'fp32', 'x', recipe, keep_ratio=True)
    fitted, scale = fit(np.full((*shape, 3), 9, np.uint8), spec)
    assert fitted.shape == (300, 300, 3)
    assert (fitted == 9).all(2).sum() == 300
    assert sorted(scale) == [300 / 4000, 1]
