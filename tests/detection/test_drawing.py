from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from PIL import Image

from mbv1_backbone.common.images import read_image
from mbv1_backbone.detection.drawing import (
    DrawDetectionsHook,
    class_colour,
    draw_boxes,
    save_png,
    side_by_side,
)

GREY = np.full((60, 80, 3), 128, np.uint8)


def changed(before, after):
    """x1, y1, x2, y2 of the pixels that differ."""
    different = (before != after).any(axis=2)
    rows, columns = np.flatnonzero(different.any(1)), np.flatnonzero(different.any(0))
    return [columns[0], rows[0], columns[-1], rows[-1]]


def test_no_boxes_leave_the_image():
    drawn = draw_boxes(GREY, np.zeros((0, 4)), [])
    np.testing.assert_array_equal(drawn, GREY)
    assert drawn is not GREY


def test_a_box_is_drawn_where_it_is_in_its_colour():
    drawn = draw_boxes(GREY, np.array([[10, 20, 50, 40]]), [3], width=1)
    assert changed(GREY, drawn) == [10, 20, 50, 40]
    assert tuple(drawn[20, 30]) == class_colour(3)
    assert tuple(drawn[30, 30]) == (128, 128, 128)


def test_boxes_that_leave_the_image_are_clipped():
    drawn = draw_boxes(
        GREY, np.array([[-30, -10, 200, 30], [90, 70, 95, 75]]), [0, 1], ['a', 'b'], [0.5, 1.0]
    )
    assert drawn.shape == GREY.shape


def test_names_and_scores_are_written():
    plain = draw_boxes(GREY, np.array([[10, 20, 70, 50]]), [0])
    named = draw_boxes(GREY, np.array([[10, 20, 70, 50]]), [0], ['cat'], [0.9])
    assert (plain != named).any()


def test_colours_differ():
    colours = [class_colour(label) for label in range(80)]
    assert len(set(colours)) == 80


def test_side_by_side_keeps_every_pixel(tmp_path):
    sheet = side_by_side(GREY, np.zeros((70, 30, 3), np.uint8), gap=5)
    assert sheet.shape == (70, 115, 3)
    assert (sheet[60:, :80] == 255).all()
    save_png(sheet, tmp_path / 'deep' / 'sheet.png')
    np.testing.assert_array_equal(read_image(tmp_path / 'deep' / 'sheet.png'), sheet)


def test_the_hook_draws_annotations_left_and_detections_right(tmp_path):
    """Both in pixels of the file, although the network saw another size."""
    Image.fromarray(GREY).save(tmp_path / 'photo.png')
    sample = DetDataSample(
        metainfo=dict(img_path=str(tmp_path / 'photo.png'), ori_shape=(60, 80), scale_factor=(2.0, 5.0))
    )
    sample.gt_instances = InstanceData(bboxes=torch.tensor([[30.0, 30, 60, 50]]), labels=torch.tensor([0]))
    sample.pred_instances = InstanceData(
        bboxes=torch.tensor([[5.0, 20, 70, 45], [0, 0, 79, 59]]),
        labels=torch.tensor([1, 0]),
        scores=torch.tensor([0.9, 0.1]),
    )
    dataset = SimpleNamespace(metainfo=dict(classes=('a', 'b')))
    runner = SimpleNamespace(test_dataloader=SimpleNamespace(dataset=dataset))
    DrawDetectionsHook(str(tmp_path / 'out'), score_thr=0.3).after_test_iter(runner, 0, None, [sample])
    pair = read_image(tmp_path / 'out' / 'photo.png')
    assert pair.shape == (60, 164, 3)
    assert changed(GREY, pair[:, :80]) == pytest.approx([30, 30, 60, 50], abs=1)
    assert changed(GREY, pair[:, 84:]) == pytest.approx([5, 20, 70, 45], abs=1)
