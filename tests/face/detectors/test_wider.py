"""WIDER FACE's lists, and the photographs that training makes of them."""

import numpy as np
import pytest
from mmengine.registry import DATASETS, TRANSFORMS

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.face.detectors.wider import read_wider

OWN = """0--Parade/a.jpg
2
10 20 30 40 0 0 0 0 0 0
5 6 0 8 0 0 0 0 0 0
0--Parade/b.jpg
0
0 0 0 0 0 0 0 0 0 0
1--Handshaking/c.jpg
1
1 2 3 4 0 0 0 1 0 0
"""
LABEL = """# 0--Parade/a.jpg
10 20 30 40 12 25 0.0 30 25 0.0 20 35 0.0 14 50 1.0 28 50 0.0 0.82
50 20 8 9 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 0.1
# 1--Handshaking/c.jpg
1 2 3 4 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1
"""


def listed(folder, text):
    (folder / 'list.txt').write_text(text)
    return folder / 'list.txt'


def test_widers_own_list(tmp_path):
    a, b, c = read_wider(listed(tmp_path, OWN))
    assert [image.file for image in (a, b, c)] == [
        '0--Parade/a.jpg',
        '0--Parade/b.jpg',
        '1--Handshaking/c.jpg',
    ]
    assert a.boxes.tolist() == [[10, 20, 40, 60], [5, 6, 5, 14]]
    assert [image.invalid.tolist() for image in (a, b, c)] == [[False, True], [], [True]]
    assert (b.boxes.shape, b.landmarks.shape) == ((0, 4), (0, 5, 2))
    assert np.isnan(a.landmarks).all()


def test_a_list_without_the_line_of_zeros(tmp_path):
    a, b = read_wider(listed(tmp_path, 'a.jpg\n0\nb.jpg\n1\n1 2 3 4 0 0 0 0 0 0\n'))
    assert (len(a.boxes), len(b.boxes)) == (0, 1)


def test_retinafaces_list_has_landmarks(tmp_path):
    a, c = read_wider(listed(tmp_path, LABEL))
    assert a.landmarks[0].tolist() == [[12, 25], [30, 25], [20, 35], [14, 50], [28, 50]]
    assert np.isnan([*a.landmarks[1:], *c.landmarks]).all()
    assert c.boxes.tolist() == [[1, 2, 4, 6]]


def test_some_faces_of_a_list_may_have_a_blur(tmp_path):
    none, some = ' '.join(['-1'] * 15), ' '.join('4 5 0' for _ in range(5))
    [image] = read_wider(listed(tmp_path, f'# a.jpg\n1 2 3 4 {none}\n1 2 3 4 {some} 0.5\n'))
    assert np.isfinite(image.landmarks).all((1, 2)).tolist() == [False, True]


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('', 'empty list'),
        ('a.jpg\nfew\n', "line 1: a.jpg is followed by no count of faces, but 'few'"),
        ('a.jpg\n2\n1 2 3 4 0 0 0 0 0 0\n', 'line 1: a.jpg has 1 of 2 faces'),
        ('a.jpg\n1\n1 2 3 4\n', "line 3: a face is 10 numbers, got '1 2 3 4'"),
        ('a.jpg\n1\n1 2 3 x 0 0 0 0 0 0\n', 'line 3: a face is 10 numbers'),
        ('a.jpg\n²\n1 2 3 4 0 0 0 0 0 0\n', 'followed by no count of faces'),
        ('a.jpg\n0\nb.jpg\n0\na.jpg\n0\n', 'a.jpg is named twice'),
        ('#\n', 'line 1: names no file'),
        ('# a.jpg\n1 2 3 4\n', 'line 2: a face is 19 or 20 numbers'),
    ],
)
def test_what_is_no_list_is_refused_by_its_line(tmp_path, text, reason):
    with pytest.raises(InputError, match=reason):
        read_wider(listed(tmp_path, text))


@pytest.fixture
def photo(tmp_path):
    """A photograph with a face, whose five landmarks have five colours; and one without landmarks."""
    import cv2

    image = np.zeros((120, 200, 3), np.uint8)
    marks = [(80, 40), (100, 40), (90, 50), (82, 62), (98, 62)]
    for number, (x, y) in enumerate(marks, 1):
        image[y - 2 : y + 3, x - 2 : x + 3] = 40 * number
    (tmp_path / 'images').mkdir()
    cv2.imwrite(str(tmp_path / 'images' / 'a.png'), image)
    numbers = ' '.join(f'{x} {y} 0' for x, y in marks)
    listed(tmp_path, f'# a.png\n70 30 40 40 {numbers} 0.5\n150 90 30 20 {" ".join(["-1"] * 15)} 0\n')
    return tmp_path


def test_landmarks_follow_the_picture(photo):
    steps = [
        dict(type='LoadImage'),
        dict(type='LoadFaceBoxes'),
        dict(type='CropPhoto', size=160),
        dict(type='FlipPhoto', prob=0.5),
        dict(type='PackPhoto', meta_keys=('img_id', 'img_shape')),
    ]
    np.random.seed(3)
    data = DATASETS.build(
        dict(
            type='WiderFaces',
            data_root=str(photo),
            ann_file='list.txt',
            data_prefix=dict(img='images/'),
            pipeline=[dict(step, _scope_='mmdet') for step in steps],
            _scope_='mmdet',
        )
    )
    seen, mirrored = 0, 0
    for _ in range(40):
        sample = data[0]
        assert sample['inputs'].shape == (3, 160, 160)
        truth = sample['data_samples'].gt_instances
        assert len(truth.bboxes) == len(truth.labels) == len(truth.landmarks) >= 1
        for box, marks in zip(truth.bboxes.tensor, truth.landmarks, strict=True):
            assert box.clamp(0, 160).equal(box)
            if marks.isnan().any():
                continue
            assert marks[0, 0] < marks[1, 0]
            assert marks[3, 0] < marks[4, 0]
            colours = []
            for x, y in marks.round().int().tolist():
                inside = 2 <= x < 158 and 2 <= y < 158
                colours.append(int(sample['inputs'][0, y, x]) if inside else None)
            if None not in colours:
                seen += 1
                mirrored += colours[0] > colours[1]
                order = (2, 1, 3, 5, 4) if colours[0] > colours[1] else (1, 2, 3, 4, 5)
                assert colours == pytest.approx([40 * n for n in order], abs=12)
    assert seen > 15
    assert 3 < mirrored < seen - 3


def test_only_large_photographs_are_shrunk():
    step = TRANSFORMS.build(dict(type='BoundedResize', scale=100, _scope_='mmdet'))
    small = step(dict(img=np.zeros((60, 100, 3), np.uint8)))
    assert (small['img'].shape, small['scale_factor']) == ((60, 100, 3), (1.0, 1.0))
    large = step(dict(img=np.zeros((400, 120, 3), np.uint8)))
    assert (large['img'].shape, large['scale_factor']) == ((100, 30, 3), (0.25, 0.25))
