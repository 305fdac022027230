"""RetinaFace on a made-up WIDER FACE of LFW's photographs: it trains, and WIDER's figures are printed."""

import shutil

import numpy as np
import pytest
from scipy.io import savemat

from mbv1_backbone.common.images import read_image
from mbv1_backbone.inference.detector import Detector
from mbv1_backbone.weights import import_weights, write_weights

CONFIG = 'configs/face/retinaface_mbv1_0.25.py'
SMALL = """
_base_ = ['{config}']
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadFaceBoxes'),
    dict(type='CropPhoto', size=160),
    dict(type='FlipPhoto'),
    dict(type='PackPhoto', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape')),
]
loader = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=train_pipeline), **loader)
val_dataloader = dict(**loader)
train_cfg = dict(max_epochs=1, val_interval=1)
"""


def cells(values):
    made = np.empty((len(values), 1), object)
    for place, value in enumerate(values):
        made[place, 0] = value
    return made


def make_wider(folder, photos, detector):
    """Lists and ground truth of what a detector finds, as WIDER and RetinaFace write them."""
    for part in ('train', 'val'):
        (folder / part / 'images' / '0--Faces').mkdir(parents=True)
    own, landmarks, boxes = [], [], []
    for number, photo in enumerate(photos):
        name = f'0--Faces/{number}.jpg'
        for part in ('train', 'val'):
            shutil.copyfile(photo, folder / part / 'images' / name)
        found = detector.detect(read_image(photo))[0].above(0.5)
        rows = [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in found.boxes.round().tolist()]
        boxes.append(np.array(rows))
        own += [name, str(len(rows)), *(' '.join(f'{v:.0f}' for v in row) + ' 0' * 6 for row in rows)]
        landmarks.append(f'# {name}')
        for row, marks in zip(rows, found.landmarks.tolist(), strict=True):
            landmarks.append(' '.join(map(str, [*row, *(v for mark in marks for v in (*mark, 0)), 0.9])))
    (folder / 'train' / 'label.txt').write_text('\n'.join(landmarks))
    (folder / 'split').mkdir()
    (folder / 'split' / 'wider_face_val_bbx_gt.txt').write_text('\n'.join(own))
    (folder / 'ground').mkdir()
    files = cells([cells([str(number) for number in range(len(photos))])])
    main = dict(event_list=cells(['0--Faces']), file_list=files, face_bbx_list=cells([cells(boxes)]))
    savemat(folder / 'ground' / 'wider_face_val.mat', main)
    kept = cells([cells([np.arange(1, len(rows) + 1)[:, None] for rows in boxes])])
    for level in ('easy', 'medium', 'hard'):
        savemat(folder / 'ground' / f'wider_{level}_val.mat', dict(gt_list=kept))


@pytest.mark.slow
def test_it_trains_and_is_evaluated(shared, tmp_path, run):
    weights = tmp_path / 'w.safetensors'
    write_weights(import_weights(shared / 'weights' / 'retinaface_mobilenet0.25.safetensors'), weights)
    photos = sorted((shared / 'lfw_color' / 'whole').rglob('*.jpg'))[:4]
    make_wider(tmp_path / 'wider', photos, Detector.load(CONFIG, weights))
    config = tmp_path / 'small.py'
    config.write_text(SMALL.format(config='mbv1_backbone::face/retinaface_mbv1_0.25.py'))
    folder = tmp_path / 'run'
    started = f'load_from={weights}'
    train = [
        'train',
        config,
        '--data-root',
        tmp_path / 'wider',
        '--work-dir',
        folder,
        '--cfg-options',
        started,
    ]
    done = run('-m', 'mbv1_backbone', *train)
    assert '4 training images, 4 for validation' in done.stdout
    assert 'wider/easy_ap 1.000, wider/medium_ap 1.000, wider/hard_ap 1.000' in done.stdout
    assert list(folder.glob('best_wider_hard_ap*.pth'))
