"""Quality of faces: what is small, blurred or turned away is told from what is not."""

import cv2
import numpy as np
import pytest

from mbv1_backbone.common.images import read_image
from mbv1_backbone.face.geometry import LANDMARKS
from mbv1_backbone.face.quality import FaceQuality, face_quality, frontality, sharpness


def turned(degrees, axis):
    """The usual landmarks with the nose half as far before the others as the eyes are apart, seen turned."""
    wide = LANDMARKS[1, 0] - LANDMARKS[0, 0]
    points = np.column_stack([LANDMARKS - LANDMARKS.mean(0), [0, 0, wide / 2, 0, 0]])
    angle = np.radians(degrees)
    other = 1 - axis
    seen = points[:, :2].copy()
    seen[:, other] = points[:, other] * np.cos(angle) + points[:, 2] * np.sin(angle)
    return seen


@pytest.mark.parametrize('axis', [0, 1])
def test_a_face_from_the_front_is_1_and_it_falls_with_the_turn(axis):
    values = [frontality(turned(degrees, axis)) for degrees in (0, 10, 20, 40, 60)]
    assert values[0] == pytest.approx(1, abs=0.02)
    assert values == sorted(values, reverse=True)
    assert values[1] > 0.5
    assert values[-1] < 0.1
    assert frontality(turned(-20, 0)) == pytest.approx(frontality(turned(20, 0)), abs=0.03)


def test_pose_is_not_changed_by_scale_place_and_tilt_of_the_head():
    marks = turned(15, 0)
    angle = np.radians(30)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    assert frontality(marks @ rotation.T * 80 + (300, 40)) == pytest.approx(frontality(marks))


def test_landmarks_at_one_place_are_no_pose():
    assert frontality(np.ones((5, 2))) == 0


def test_sharpness_falls_with_blur_and_not_with_contrast(shared):
    faces = [read_image(path) for path in sorted((shared / 'lfw_color' / 'images').rglob('*.jpg'))[:12]]
    faces = [cv2.resize(face, (96, 96), interpolation=cv2.INTER_AREA) for face in faces]
    sharp = np.array([sharpness(face) for face in faces])
    blurred = np.array([sharpness(cv2.GaussianBlur(face, (0, 0), 2)) for face in faces])
    few = [cv2.resize(cv2.resize(face, (20, 20), interpolation=cv2.INTER_AREA), (96, 96)) for face in faces]
    assert np.median(sharp) > 0.5
    assert (blurred < 0.5 * sharp).all()
    assert (np.array([sharpness(face) for face in few]) < 0.75 * sharp).all()
    flat = np.array([sharpness((face // 2 + 60).astype(np.uint8)) for face in faces])
    assert np.abs(flat - sharp).max() < 0.12
    assert sharpness(np.full((96, 96, 3), 90, np.uint8)) == 0


def test_the_figure_is_the_product():
    assert FaceQuality(40, 0.5, 0.5).value == pytest.approx(0.125)
    assert FaceQuality(200, 0.5, None).value == pytest.approx(0.5)
    assert str(FaceQuality(40, 0.5, 0.5)) == '0.12 (side 40 pixels, sharpness 0.50, pose 0.50)'
    image = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    found = face_quality(image, np.array([10, 20, 50, 80]), None)
    assert found.side == pytest.approx(np.sqrt(40 * 60))
    assert found.pose is None


@pytest.mark.parametrize('edge', ['left', 'top', 'right', 'bottom'])
def test_a_face_that_the_edge_cuts_off_is_worth_little(edge):
    image = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    direction = dict(left=(-1, 0), top=(0, -1), right=(1, 0), bottom=(0, 1))[edge]
    values, shares = [], []
    for beyond in (0, 8, 16, 32):
        shift = np.array(direction) * (50 + beyond)  # 100 pixels wide, it begins to be cut at 50
        marks = 100 + shift + (LANDMARKS - 0.5) * 100 / 0.75
        box = np.concatenate([50 + shift, 150 + shift])
        found = face_quality(image, box.clip(0, 200), marks)  # the box is cut off, too
        without = face_quality(image, box, None)
        assert without.visible == pytest.approx(1 - beyond / 100)
        values.append(found.value)
        shares.append(found.visible)
    np.testing.assert_allclose(shares, [1, 0.92, 0.84, 0.68], atol=0.02)
    assert values[0] > 0.3
    assert values[0] * 0.4 < values[1] < values[0] * 0.8
    assert values[1] > values[2] > values[3] == 0
    assert '32% beyond the edge' in str(found)
