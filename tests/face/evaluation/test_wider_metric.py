"""WIDER FACE's protocol against a slow one, on ground truth that was made up and written as .mat files."""

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.face.evaluation.wider import LEVELS, WiderTruth, average_precision, read_wider_truth

IMAGES = {'0--Parade': ['a', 'b'], '1--Riot': ['c']}


def cells(values):
    made = np.empty((len(values), 1), object)
    for place, value in enumerate(values):
        made[place, 0] = value
    return made


@pytest.fixture
def made_up(tmp_path):
    """Three images with six faces each; the folder of the files, faces and what counts."""
    random = np.random.default_rng(0)
    faces, counted = {}, {}
    for event, files in IMAGES.items():
        for file in files:
            corners = random.integers(0, 200, (6, 2))
            faces[f'{event}/{file}'] = np.hstack([corners, random.integers(10, 60, (6, 2))])
            counted[f'{event}/{file}'] = {'easy': [1, 3], 'medium': [1, 2, 3], 'hard': [1, 2, 3, 5, 6]}

    def nested(value):
        return cells([cells([value(f'{event}/{file}') for file in files]) for event, files in IMAGES.items()])

    savemat(
        tmp_path / 'wider_face_val.mat',
        dict(
            event_list=cells(list(IMAGES)),
            file_list=cells([cells(files) for files in IMAGES.values()]),
            face_bbx_list=nested(faces.get),
        ),
    )
    for level in LEVELS:
        kept = nested(lambda name, level=level: np.array(counted[name][level])[:, None])
        savemat(tmp_path / f'wider_{level}_val.mat', dict(gt_list=kept))
    return tmp_path, faces, counted


def detections(faces):
    """Faces moved by some pixels, some twice, some missing, and boxes of nothing."""
    random = np.random.default_rng(1)
    found = {}
    for name, rows in faces.items():
        boxes = np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:]]).astype(float)
        moved = np.vstack([boxes, boxes[:3], random.integers(0, 200, (3, 4)) + np.array([0, 0, 200, 200])])
        moved += random.normal(0, 3, moved.shape)
        kept = random.random(len(moved)) > 0.2
        found[name] = moved[kept], random.random(kept.sum()).round(2)  # with ties
    return found


def slow_average_precision(found, faces, counted, level):
    """The protocol threshold by threshold, box by box."""
    everything = [score for _, scores in found.values() for score in scores]
    low, high = min(everything), max(everything)
    curve = []
    for step in range(1, 1001):
        threshold = 1 - step / 1000
        proposals = hits = 0
        for name, (boxes, scores) in found.items():
            recalled = set()
            for index in sorted(range(len(scores)), key=lambda i: -scores[i]):
                if (scores[index] - low) / (high - low) < threshold:
                    break
                best, share = None, 0.0
                for number, (x, y, w, h) in enumerate(faces[name].tolist(), 1):
                    x1, y1, x2, y2 = boxes[index]
                    wide = min(x2, x + w) - max(x1, x) + 1
                    tall = min(y2, y + h) - max(y1, y) + 1
                    if wide > 0 and tall > 0:
                        both = (x2 - x1 + 1) * (y2 - y1 + 1) + (w + 1) * (h + 1)
                        iou = wide * tall / (both - wide * tall)
                        best, share = (number, iou) if iou > share else (best, share)
                if share >= 0.5 and best not in counted[name][level]:
                    continue
                proposals += 1
                if share >= 0.5:
                    recalled.add(best)
            hits += len(recalled)
        total = sum(len(levels[level]) for levels in counted.values())
        curve.append((hits / total, hits / proposals if proposals else 0.0))
    area, before = 0.0, 0.0
    for place, (recall, _) in enumerate(curve):
        area += (recall - before) * max(precision for _, precision in curve[place:])
        before = recall
    return area


@pytest.mark.parametrize('level', LEVELS)
def test_figures_are_those_of_the_slow_protocol(made_up, level):
    folder, faces, counted = made_up
    found = detections(faces)
    expected = slow_average_precision(found, faces, counted, level)
    assert 0.2 < expected < 0.95
    assert average_precision(found, read_wider_truth(folder), level) == pytest.approx(expected, abs=1e-9)


def test_what_is_found_exactly_is_one_and_nothing_is_zero(made_up):
    folder, faces, _ = made_up
    truth = read_wider_truth(folder)
    whole = {name: (image.boxes, np.linspace(0.9, 0.5, 6)) for name, image in truth.items()}
    assert average_precision(whole, truth, 'hard') == pytest.approx(1)
    assert average_precision({}, truth, 'easy') == 0
    assert average_precision({next(iter(faces)): (np.zeros((0, 4)), np.zeros(0))}, truth, 'easy') == 0


def test_ground_truth_that_is_none_is_refused(made_up):
    folder, _, _ = made_up
    (folder / 'wider_hard_val.mat').write_bytes(b'no mat')
    with pytest.raises(InputError, match=r'wider_hard_val\.mat: not a readable \.mat file'):
        read_wider_truth(folder)
    savemat(folder / 'wider_hard_val.mat', dict(other=1))
    with pytest.raises(InputError, match=r'wider_hard_val\.mat: has no gt_list'):
        read_wider_truth(folder)
    savemat(folder / 'wider_hard_val.mat', dict(gt_list=cells([1])))
    with pytest.raises(InputError, match='not the ground truth'):
        read_wider_truth(folder)


def test_what_is_found_where_no_face_is_listed_does_not_count():
    truth = {
        'a/1': WiderTruth(np.array([[0, 0, 50, 50]]), {level: np.array([True]) for level in LEVELS}),
        'a/2': WiderTruth(np.zeros((0, 4)), {level: np.zeros(0, bool) for level in LEVELS}),
    }
    found = {'a/1': (truth['a/1'].boxes, np.array([0.5])), 'a/2': (truth['a/1'].boxes, np.array([0.9]))}
    assert average_precision(found, truth, 'easy') == pytest.approx(1)


def test_faces_are_numbered_from_1(made_up):
    folder, _, _ = made_up
    content = loadmat(folder / 'wider_hard_val.mat')
    content['gt_list'].ravel()[0].ravel()[0][0] = 0
    savemat(folder / 'wider_hard_val.mat', dict(gt_list=content['gt_list']))
    with pytest.raises(InputError, match='face 0 of'):
        read_wider_truth(folder)
