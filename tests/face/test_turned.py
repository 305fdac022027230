"""Heads that lie or stand upside down: of the view that they are upright in, in the photograph's pixels."""

import numpy as np
import pytest

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.face.crops import _find
from mbv1_backbone.face.finder import FaceFinder, Faces
from mbv1_backbone.face.geometry import LANDMARKS, roll_and_misfit
from mbv1_backbone.face.turned import look_turned

FACE = (LANDMARKS * 1.5 - 0.25).astype(np.float32)  # of a box's sides
ODD = FACE[[3, 1, 0, 2, 4]]  # a mouth above the eyes


def photograph(*faces, size=(200, 300)):
    """Noise with faces: left, top, side, and quarter turns (counter-clockwise) of each; their top is red."""
    picture = np.random.default_rng(0).integers(0, 120, (*size, 3), dtype=np.uint8)
    for left, top, side, turns in faces:
        head = picture[top : top + side, left : left + side].copy()
        head[..., 1:] = 0
        head[:, :, 0] = np.where(np.arange(side)[:, None] < side // 2, 255, 250)
        picture[top : top + side, left : left + side] = np.rot90(head, turns)
    return picture


class Upright:
    """Finds pure red squares; landmarks are right of upright ones, and as a function says of turned ones."""

    identity = 'upright'

    def __init__(self, others=None, blind=()):
        self.asked, self.others, self.blind = 0, others, blind

    def __call__(self, image):
        self.asked += 1
        boxes, marks = [], []
        red = (image[..., 0] >= 250) & ~image[..., 1:].any(2)
        while red.any():
            y, x = (int(axis[0]) for axis in np.nonzero(red))
            side = int(np.argmin(np.append(red[y, x:], False)))
            tops = image[y : y + side, x : x + side, 0] == 255
            turns = next(k for k in range(4) if np.rot90(tops, -k)[: side // 2].all())
            red[y : y + side, x : x + side] = False
            if turns not in self.blind:
                boxes.append([x, y, x + side, y + side])
                marks.append((FACE if turns == 0 else self.others(turns)) * side + (x, y))
        shaped = np.array(boxes, np.float32).reshape(-1, 4)
        scores = np.full(len(boxes), 0.9, np.float32)
        return Faces(shaped, scores, np.array(marks, np.float32).reshape(-1, 5, 2))


def lying(turns):
    """Landmarks of a turned face, each off by more than a tenth of the face."""
    centred = FACE - 0.5
    for _ in range(turns):
        centred = np.stack([centred[:, 1], -centred[:, 0]], 1)
    return centred + 0.5 + np.random.default_rng(turns).normal(0, 0.05, (5, 2)).astype(np.float32)


@pytest.mark.parametrize('turns', [0, 1, 2, 3])
@pytest.mark.parametrize('others', [lying, lambda turns: ODD])
def test_a_face_is_cut_out_of_a_turned_photograph_as_of_the_photograph(turns, others):
    upright = photograph((60, 40, 60, 0), (180, 100, 40, 0))
    detector = Upright(others)
    [(wanted, of_it), (other, _)] = FaceFinder(detector, 'all').find(upright, 64)
    assert detector.asked == 1
    seen = np.ascontiguousarray(np.rot90(upright, turns))
    found = FaceFinder(detector, 'all').find(seen, 64)
    assert detector.asked == (2 if turns == 0 else 5)
    assert len(found) == 2
    np.testing.assert_allclose(found[0][0], wanted, atol=2)
    np.testing.assert_allclose(found[1][0], other, atol=2)
    left, top, right, bottom = map(int, found[0][1].box)
    assert (seen[top:bottom, left:right, 0] >= 250).all()
    assert (right - left, bottom - top) == (60, 60)
    roll = roll_and_misfit(np.array(found[0][1].landmarks))[0]
    assert (roll + 90 * turns + 180) % 360 == pytest.approx(180, abs=1e-3)
    assert found[0][1].quality.pose == pytest.approx(of_it.quality.pose, abs=1e-4)


def test_what_is_upright_stays_as_it_was_found_and_others_come_from_their_view():
    image = photograph((60, 40, 60, 0), (180, 100, 40, 1), (20, 140, 40, 3))
    detector = Upright(lying, blind=(3,))  # the third is found where it is upright alone
    before, after = detector(image), look_turned(detector, image)
    assert len(before) == 2
    assert len(after) == 3
    np.testing.assert_array_equal(after.landmarks[0], before.landmarks[0])
    boxes = {(60, 40, 120, 100), (180, 100, 220, 140), (20, 140, 60, 180)}
    assert set(map(tuple, after.boxes.tolist())) == boxes


def test_landmarks_of_no_face_that_no_view_betters_are_not_aligned_by():
    marks = ODD * 60 + (60, 40)
    assert roll_and_misfit(marks)[1] > 0.5
    one = Faces(np.array([[60, 40, 120, 100]], np.float32), np.ones(1, np.float32), marks[None])
    nothing = Faces(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32))
    image = photograph((60, 40, 60, 0))

    def detector(seen):
        return one if seen is image else nothing

    [(face, place)] = FaceFinder(detector).find(image, 64)
    [(box, _)] = FaceFinder(lambda seen: Faces(one.boxes, one.scores)).find(image, 64)
    np.testing.assert_array_equal(face, box)
    assert place.quality.value == 0
    assert 'pose 0.00' in str(place.quality)


def test_boxes_alone_are_looked_for_once():
    detector = Upright(lambda turns: np.full((5, 2), 0.5, np.float32))  # landmarks at the middle: none
    assert len(look_turned(detector, photograph((60, 40, 60, 1)))) == 1
    assert detector.asked == 1


def test_a_lying_face_at_the_edge_is_found_by_a_border_too():
    image = photograph((0, 40, 60, 1), (200, 120, 50, 1))
    detector = Upright(lying)

    def shy(seen):
        return detector(seen) if not seen[:, 0].any() else Upright(blind=(0, 1, 2, 3))(seen)

    with pytest.raises(InputError, match='no face'):
        FaceFinder(shy).find(image, 64)
    found = _find(image, FaceFinder(shy, 'all'), 64)
    assert [place.box for _, place in found] == [(0, 40, 60, 100)]
    assert abs(roll_and_misfit(np.array(found[0][1].landmarks))[0] + 90) < 1e-3
