"""Faces are put where the network expects them."""

import cv2
import numpy as np
import pytest

from mbv1_backbone.face.geometry import LANDMARKS, align, crop_box, fit_square, similarity, umeyama


@pytest.mark.parametrize('seed', range(5))
def test_umeyama_finds_the_similarity_and_nothing_is_nearer(seed):
    rng = np.random.default_rng(seed)
    source = rng.normal(0, 10, (5, 2))
    angle, scale = rng.uniform(-3, 3), rng.uniform(0.2, 4)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    exact = np.column_stack([turn, rng.normal(0, 50, 2)])
    assert np.allclose(umeyama(source, source @ turn.T + exact[:, 2]), exact)

    target = source @ turn.T + exact[:, 2] + rng.normal(0, 2, (5, 2))
    found = umeyama(source, target)
    a, b, x, y = found[0, 0], found[1, 0], found[0, 2], found[1, 2]

    def error(a, b, x, y):
        moved = source @ np.array([[a, -b], [b, a]]).T + (x, y)
        return ((moved - target) ** 2).sum()

    best = error(a, b, x, y)
    for step in rng.normal(0, 0.01, (50, 4)):
        assert error(a + step[0], b + step[1], x + step[2], y + step[3]) >= best


@pytest.mark.parametrize(
    ('points', 'message'),
    [
        (np.zeros((5, 2)), 'must not all lie at one place'),
        (np.zeros((4, 2)), r'must be \(5, 2\), got \(4, 2\)'),
        (np.full((5, 2), np.nan), 'must be finite'),
    ],
)
def test_landmarks_that_say_nothing(points, message):
    with pytest.raises(ValueError, match=message):
        align(np.zeros((9, 9, 3), np.uint8), points, 112)


@pytest.mark.parametrize(('scale', 'angle'), [(1.0, 0), (3.0, 25), (0.8, -40), (9.0, 170)])
def test_marks_drawn_on_a_photograph_land_on_the_template(scale, angle):
    turn = np.deg2rad(angle)
    matrix = 60 * scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    marks = (LANDMARKS - LANDMARKS.mean(0)) @ matrix.T + (700, 500)
    for index in range(5):
        photo = np.zeros((1000, 1400, 3), np.uint8)
        cv2.circle(photo, tuple(round(v) for v in marks[index]), max(2, round(3 * scale)), (255,) * 3, -1)
        face = align(photo, marks, 160).astype(float).sum(2)
        rows, columns = np.indices(face.shape)
        centre = np.array([(columns * face).sum(), (rows * face).sum()]) / face.sum()
        assert np.abs(centre - LANDMARKS[index] * 160).max() < 2.0


def test_a_box_without_landmarks_is_loosened_to_the_same_square():
    photo = np.zeros((400, 400, 3), np.uint8)
    photo[100:200, 150:250] = 255
    face = crop_box(photo, np.array([150, 100, 250, 200]), 150)[..., 0]
    assert abs((face > 127).sum(0).max() - 100) <= 1  # the box takes two thirds of the square's side
    assert abs(np.argwhere(face > 127).mean(0) - 74.5).max() < 1


@pytest.mark.parametrize('shape', [(160, 160), (180, 200), (40, 30), (1000, 600)])
def test_the_middle_square(shape):
    image = np.zeros((*shape, 3), np.uint8)
    side = min(shape)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    image[top : top + side, left : left + side] = 200
    assert (fit_square(image, 64) == 200).all()


def test_a_similarity_zooms_about_the_middle_and_shifts_by_shares():
    matrix = similarity(160, 112, scale=2.0)
    assert np.allclose(matrix @ (79.5, 79.5, 1), 55.5)
    assert np.allclose(matrix @ (80.5, 79.5, 1), (55.5 + 1.4, 55.5))
    assert np.allclose(similarity(160, 160, shift=(0.1, -0.05))[:, 2], (16, -8))
    assert np.allclose(similarity(160, 160, degrees=90) @ (80.5, 79.5, 1), (79.5, 78.5))
