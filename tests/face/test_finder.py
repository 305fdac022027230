"""Faces in whole photographs: OpenCV's YuNet by its own file format, and the policies."""

import threading

import cv2
import numpy as np
import pytest
from support.yunet import yunet_file

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.face.finder import FaceFinder, Faces, YuNet, face_finder
from mbv1_backbone.face.geometry import LANDMARKS

LEFT, RIGHT = np.array([60, 50, 100, 100]), np.array([150, 40, 230, 140])


def found(*boxes, landmarks=False):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    marks = np.array([[(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)]])
    marks = boxes[:, None, :2] + marks * (boxes[:, None, 2:] - boxes[:, None, :2])
    return lambda image: Faces(boxes, np.ones(len(boxes), np.float32), marks if landmarks else None)


def photo():
    image = np.zeros((200, 300, 3), np.uint8)
    for box, colour in ((LEFT, 90), (RIGHT, 200)):
        image[box[1] : box[3], box[0] : box[2]] = colour
    return image


@pytest.mark.parametrize('landmarks', [False, True])
@pytest.mark.parametrize(('policy', 'colours'), [('largest', [200]), ('all', [200, 90])])
def test_policies(policy, colours, landmarks):
    faces = FaceFinder(found(LEFT, RIGHT, landmarks=landmarks), policy)(photo(), 64)
    assert [face.shape for face in faces] == [(64, 64, 3)] * len(colours)
    assert [int(face[32, 32, 0]) for face in faces] == colours


def test_several_faces_can_be_refused_and_none_always_is():
    with pytest.raises(InputError, match='2 faces found, one wanted'):
        FaceFinder(found(LEFT, RIGHT), 'reject')(photo(), 64)
    assert len(FaceFinder(found(LEFT), 'reject')(photo(), 64)) == 1
    with pytest.raises(InputError, match=r'no face found$'):
        FaceFinder(found())(photo(), 64)
    with pytest.raises(InputError, match='no face found, only 1 smaller than 20 pixels'):
        FaceFinder(found([5, 5, 15, 15]))(photo(), 64)
    with pytest.raises(InputError, match='the image is 19 x 12, and a face has 20 pixels or more'):
        FaceFinder(found(), crops=True)(photo()[:12, :19], 64)
    with pytest.raises(InputError, match="policy must be one of largest, all, reject, got 'first'"):
        FaceFinder(found(), 'first')


def test_yunets_rows_are_boxes_scores_and_landmarks(tmp_path):
    detector = YuNet(yunet_file(tmp_path / 'yunet.onnx'), score_thr=0.8)
    image = np.zeros((96, 160, 3), np.uint8)
    image[40:48, 80:88] = 255  # one cell
    faces = detector(image)
    assert len(faces) == 1
    assert faces.scores[0] == pytest.approx(1, abs=0.01)
    assert np.allclose(faces.boxes[0], [84 - 20, 44 - 24, 84 + 20, 44 + 24], atol=1)
    assert np.allclose(faces.landmarks[0] - (84, 44), [(-8, -8), (8, -8), (0, 0), (-6, 10), (6, 10)], atol=1)
    with pytest.raises(InputError, match='no face found'):
        FaceFinder(detector)(np.zeros((96, 160, 3), np.uint8), 64)
    assert FaceFinder(detector)(image, 64)[0].shape == (64, 64, 3)


def test_the_former_name_warns_and_works(tmp_path):
    with pytest.warns(DeprecationWarning, match=r'gone in 0\.2: .*named_finder has taken over'):
        finder = face_finder(str(yunet_file(tmp_path / 'yunet.onnx')), 'all')
    assert (type(finder.detector), finder.policy) == (YuNet, 'all')
    with pytest.warns(DeprecationWarning, match='named_finder'):
        assert face_finder(None) is None


def test_other_files_are_no_yunet(tmp_path):
    with pytest.raises(InputError, match=r'none\.onnx: no such file'):
        YuNet(tmp_path / 'none.onnx')
    (tmp_path / 'text.onnx').write_text('text')
    with pytest.raises(InputError, match=r'text\.onnx: not a YuNet network'):
        YuNet(tmp_path / 'text.onnx')


def test_threads_do_not_share_yunets_size(tmp_path):
    detector = YuNet(yunet_file(tmp_path / 'yunet.onnx'), score_thr=0.8)
    networks = []

    def detect():
        detector(np.zeros((96, 160, 3), np.uint8))
        networks.append(detector._threads.network)

    threads = [threading.Thread(target=detect) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    detect()
    assert len({id(network) for network in networks}) == 3


def test_what_opencv_refuses_is_told_of_the_image(tmp_path):
    detector = YuNet(yunet_file(tmp_path / 'yunet.onnx'))

    class Refusing:
        def setInputSize(self, size):
            raise cv2.error('(-215:Assertion failed)\nin function setInputSize')

    detector._threads.network = Refusing()
    with pytest.raises(InputError, match=r'yunet\.onnx: image \(50, 70, 3\): .*Assertion failed'):
        FaceFinder(detector)(np.zeros((50, 70, 3), np.uint8), 64)


def test_two_boxes_about_one_middle_are_one_face():
    outer, inner, beside = [100, 60, 260, 220], [125, 95, 235, 185], [105, 70, 175, 140]
    boxes = np.array([outer, inner, beside], np.float32)
    faces = Faces(boxes, np.array([0.5, 0.9, 0.8], np.float32))
    found = FaceFinder(lambda image: faces, 'all').find(np.zeros((240, 300, 3), np.uint8), 32)
    assert [place.box for _, place in found] == [tuple(inner), tuple(beside)]  # by the better score
    assert len(FaceFinder(lambda image: Faces(boxes[:2], faces.scores[:2]), 'reject')(photo(), 32)) == 1


@pytest.mark.parametrize('marks', ['not finite', 'one place', 'about one place'])
def test_landmarks_that_are_none_are_not_aligned_by(marks):
    points = np.full((1, 5, 2), np.nan if marks == 'not finite' else 190, np.float32)
    if marks == 'about one place':  # as a detector has them that was trained on boxes alone
        points += np.random.default_rng(0).normal(0, 1, points.shape).astype(np.float32)
    plain = FaceFinder(found(RIGHT)).find(photo(), 64)
    faces = Faces(RIGHT[None].astype(np.float32), np.ones(1, np.float32), points)
    [(face, place)] = FaceFinder(lambda image: faces).find(photo(), 64)
    np.testing.assert_array_equal(face, plain[0][0])
    assert place == plain[0][1]
    assert place.landmarks is None


def test_a_tight_crop_that_is_taken_as_it_is_is_not_cut_off():
    crop = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    marks = ((LANDMARKS - 0.5) * 1.5 + (0.5, 0.55))[None] * 128  # as UTKFace has them
    faces = Faces(np.array([[4, 0, 124, 128]], np.float32), np.ones(1, np.float32), marks)
    [(_, aligned)] = FaceFinder(lambda image: faces).find(crop, 64)
    [(_, taken)] = FaceFinder(lambda image: faces, crops=True).find(crop, 64)
    assert aligned.quality.visible < 0.95
    assert (taken.box, taken.quality.visible) == (None, 1)
    assert taken.quality.value > aligned.quality.value
