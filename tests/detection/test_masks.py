"""Masks: pasted as mmdet does it, kept, in COCO's form, drawn, and checked before they are used."""

import json
import re

import numpy as np
import pytest
import torch
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask
from pycocotools import mask as coco_masks

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.detection.drawing import draw_boxes
from mbv1_backbone.detection.formats.coco import read_coco
from mbv1_backbone.detection.formats.masks import check_masks
from mbv1_backbone.detection.masks import Masks
from mbv1_backbone.inference.exported_detection import ExportedDetection
from mbv1_backbone.runtime.spec import ModelSpec

SIZE = (37, 53)


@pytest.fixture
def whole():
    masks = np.zeros((3, *SIZE), bool)
    masks[0, 3:9, 4:30] = masks[2, 20:, 50:] = True
    masks[0, 5, 10] = False
    return masks  # the second has no pixel


def test_pasted_masks_are_mmdets():
    generator = np.random.default_rng(0)
    soft = generator.uniform(0, 1, (40, 28, 28)).astype(np.float32)
    corners = generator.uniform([-5, -5], [45, 30], (40, 2))
    boxes = np.concatenate([corners, corners + generator.uniform(0.5, 40, (40, 2))], 1).astype(np.float32)
    boxes[:, 2:] = boxes[:, 2:].clip(max=[SIZE[1], SIZE[0]])
    pixels, _ = _do_paste_mask(torch.from_numpy(soft)[:, None], torch.from_numpy(boxes), *SIZE, False)
    ours = np.asarray(Masks.of_boxes(soft, boxes, SIZE))
    sure = np.abs(pixels.numpy() - 0.5) > 1e-4
    assert ours.sum() > 2000
    np.testing.assert_array_equal(ours[sure], (pixels.numpy() >= 0.5)[sure])


def test_a_mask_is_pasted_where_its_box_was_and_cut_off_at_the_image():
    """A box may reach over the edge of an image that is padded: its grid does, too."""

    class Network:
        spec = ModelSpec('detector', (64, 64), 'fp32', 'f' * 64, dict(mean=[0]), ('x',), keep_ratio=True)

        def run(self, images):
            soft = np.tile(np.repeat([0.0, 1.0], 14).astype(np.float32), (28, 1))  # its right half
            return (
                np.array([[[0, 0, 56, 56]]], np.float32),
                np.full((1, 1), 0.9, np.float32),
                np.zeros((1, 1), np.int64),
                soft[None, None],
            )

    network = ExportedDetection(Network())
    image = np.zeros((64, 40, 3), np.uint8)
    [found] = network.detect([(image, network.prepare(image))])
    assert found.boxes.tolist() == [[0, 0, 40, 56]]
    whole = np.asarray(found.masks)[0]
    assert whole.shape == (64, 40)
    np.testing.assert_array_equal(np.flatnonzero(whole.any(0)), np.arange(28, 40))
    np.testing.assert_array_equal(np.flatnonzero(whole.any(1)), np.arange(56))


def test_what_is_kept_is_the_whole(whole):
    masks = Masks.of_arrays(whole)
    np.testing.assert_array_equal(np.asarray(masks), whole)
    np.testing.assert_array_equal(masks[0], whole[0])
    assert sum(part.size for part in masks.parts) == 6 * 26 + 17 * 3
    np.testing.assert_array_equal(np.asarray(masks.chosen(np.array([True, False, True]))), whole[[0, 2]])
    np.testing.assert_array_equal(np.asarray(masks.chosen(np.array([2, 0]))), whole[[2, 0]])
    for rle, mask in zip(json.loads(json.dumps(masks.rles())), whole, strict=True):
        np.testing.assert_array_equal(coco_masks.decode(rle), mask)


def test_objects_are_tinted_in_colours_of_their_own(whole):
    image = np.full((*SIZE, 3), 100, np.uint8)
    boxes = np.array([[4, 3, 30, 9], [0, 0, 1, 1], [50, 20, 53, 37]], np.float32)
    drawn = draw_boxes(image, boxes, [0, 0, 0], masks=Masks.of_arrays(whole))
    inside = [drawn[6, 15].tolist(), drawn[30, 51].tolist()]
    assert [100, 100, 100] not in inside
    assert inside[0] != inside[1]
    assert (drawn[15, 15] == 100).all()
    assert (image == 100).all()


@pytest.fixture
def annotations(tmp_path):
    def read(mask):
        entry = dict(id=1, image_id=1, category_id=1, bbox=[4, 3, 26, 6], area=156, iscrowd=0)
        if mask is not None:
            entry['segmentation'] = mask
        images = [dict(id=1, file_name='a.jpg', height=SIZE[0], width=SIZE[1])]
        coco = dict(images=images, annotations=[entry], categories=[dict(id=1, name='x')])
        (tmp_path / 'a.json').write_text(json.dumps(coco))
        return read_coco(tmp_path / 'a.json', None, ('x',))

    return read


def test_masks_of_every_form_are_taken(annotations, whole):
    rle = Masks.of_arrays(whole).rles()[0]
    flat = whole[0].T.ravel()
    ends = np.flatnonzero(np.diff(np.concatenate([[False], flat])))
    counts = np.diff([0, *ends, flat.size]).tolist()
    for mask in ([[4, 3, 30, 3, 30.5, 9]], rle, dict(size=[*SIZE], counts=counts)):
        check_masks(annotations(mask))


@pytest.mark.parametrize(
    ('mask', 'complaint'),
    [
        (None, "has no 'segmentation', and masks are asked for"),
        ([], "has no 'segmentation'"),
        ([[1, 2, 3, 4]], "'segmentation' must be polygons"),
        ([[1, 2, 3, 4, 5, 'x']], 'must be polygons'),
        (dict(size=[5, 5], counts=[25]), 'run lengths of the image, got'),
        (dict(size=[*SIZE], counts=[37, 53]), 'run lengths of the image'),
        (dict(size=[*SIZE], counts='not one'), 'run lengths of the image'),
        (dict(size=[*SIZE], counts='\N{SNOWMAN}'), 'run lengths of the image'),
    ],
)
def test_what_is_no_mask_of_its_image_is_refused_in_one_line(annotations, mask, complaint):
    with pytest.raises(InputError, match=re.escape(complaint)) as refused:
        check_masks(annotations(mask))
    assert '\n' not in str(refused.value)
    assert 'a.json: the box [4.0, 3.0, 26.0, 6.0] of a.jpg' in str(refused.value)
