import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from PIL import Image

from mbv1_backbone.common.images import read_image
from mbv1_backbone.common.pictures import save_png
from mbv1_backbone.detection.drawing import (
    DrawDetectionsHook,
    class_colour,
    draw_boxes,
    side_by_side,
)
from mbv1_backbone.face.evaluation.drawing import Tile, contact_sheet, draw_distances
from mbv1_backbone.training.curves import draw_curves

GRAY = np.full((60, 80, 3), 128, np.uint8)


def changed(before, after):
    """x1, y1, x2, y2 of the pixels that differ."""
    different = (before != after).any(axis=2)
    rows, columns = np.flatnonzero(different.any(1)), np.flatnonzero(different.any(0))
    return [columns[0], rows[0], columns[-1], rows[-1]]


def test_no_boxes_leave_the_image():
    drawn = draw_boxes(GRAY, np.zeros((0, 4)), [])
    np.testing.assert_array_equal(drawn, GRAY)
    assert drawn is not GRAY


def test_a_box_is_drawn_where_it_is_in_its_colour():
    drawn = draw_boxes(GRAY, np.array([[10, 20, 50, 40]]), [3], width=1)
    assert changed(GRAY, drawn) == [10, 20, 50, 40]
    assert tuple(drawn[20, 30]) == class_colour(3)
    assert tuple(drawn[30, 30]) == (128, 128, 128)


def test_boxes_that_leave_the_image_are_clipped():
    drawn = draw_boxes(
        GRAY, np.array([[-30, -10, 200, 30], [90, 70, 95, 75]]), [0, 1], ['a', 'b'], [0.5, 1.0]
    )
    assert drawn.shape == GRAY.shape


def test_names_and_scores_are_written():
    plain = draw_boxes(GRAY, np.array([[10, 20, 70, 50]]), [0])
    named = draw_boxes(GRAY, np.array([[10, 20, 70, 50]]), [0], ['cat'], [0.9])
    assert (plain != named).any()


def test_colours_differ():
    colours = [class_colour(label) for label in range(80)]
    assert len(set(colours)) == 80


WRITERS = {
    'save_png': lambda path: save_png(GRAY, path),
    'contact_sheet': lambda path: contact_sheet([[Tile(GRAY)]], path),
    'draw_curves': lambda path: draw_curves(path.parent),
    'draw_distances': lambda path: draw_distances(np.array([0.1, 0.9]), np.array([False, True]), 0.5, path),
}


def test_side_by_side_keeps_every_pixel(tmp_path):
    sheet = side_by_side(GRAY, np.zeros((70, 30, 3), np.uint8), gap=5)
    assert sheet.shape == (70, 115, 3)
    assert (sheet[60:, :80] == 255).all()
    save_png(sheet, tmp_path / 'deep' / 'sheet.png')
    np.testing.assert_array_equal(read_image(tmp_path / 'deep' / 'sheet.png'), sheet)


class Pictures(list):
    """A data set of image files."""

    metainfo = dict(classes=('a', 'b'))

    def get_data_info(self, index):
        return dict(img_path=self[index])


def draw(folder, out, *names):
    """What the hook draws of image files: boxes in their pixels, although the network saw another size."""
    samples = []
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(GRAY).save(folder / name)
        meta = dict(img_path=str(folder / name), ori_shape=(60, 80), scale_factor=(2.0, 5.0))
        sample = DetDataSample(metainfo=meta)
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[30.0, 30, 60, 50]]), labels=torch.tensor([0])
        )
        sample.pred_instances = InstanceData(
            bboxes=torch.tensor([[5.0, 20, 70, 45], [0, 0, 79, 59]]),
            labels=torch.tensor([1, 0]),
            scores=torch.tensor([0.9, 0.1]),
        )
        samples.append(sample)
    dataset = Pictures(sample.img_path for sample in samples)
    runner = SimpleNamespace(test_dataloader=SimpleNamespace(dataset=dataset))
    hook = DrawDetectionsHook(str(out), score_thr=0.3)
    hook.before_test(runner)
    hook.after_test_iter(runner, 0, None, samples)


def test_the_hook_draws_annotations_left_and_detections_right(tmp_path):
    draw(tmp_path, tmp_path / 'out', 'photo.png')
    pair = read_image(tmp_path / 'out' / 'photo.png')
    assert pair.shape == (60, 164, 3)
    assert changed(GRAY, pair[:, :80]) == pytest.approx([30, 30, 60, 50], abs=1)
    assert changed(GRAY, pair[:, 84:]) == pytest.approx([5, 20, 70, 45], abs=1)


def test_images_of_one_name_are_both_drawn(tmp_path):
    draw(tmp_path, tmp_path / 'out', 'a/photo.png', 'b/photo.png')
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['1_photo.png', '2_photo.png']


@pytest.mark.parametrize('write', WRITERS)
def test_a_picture_that_cannot_be_written_whole_leaves_the_old_one(write, tmp_path, monkeypatch):
    path = tmp_path / 'curves.png'
    path.write_bytes(b'old')
    (tmp_path / 'run' / 'vis_data').mkdir(parents=True)
    (tmp_path / 'run' / 'vis_data' / 'scalars.json').write_text(json.dumps(dict(loss=1.0, step=1)))
    real = Image.Image.save

    def fails(image, file, *args, **kwargs):
        real(image, file, *args, **kwargs)
        raise OSError('disk gone')

    monkeypatch.setattr(Image.Image, 'save', fails)
    with pytest.raises(OSError, match='disk gone'):
        WRITERS[write](path)
    assert path.read_bytes() == b'old'
    assert sorted(p.name for p in tmp_path.iterdir()) == ['curves.png', 'run']
