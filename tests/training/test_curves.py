import json

from mbv1_backbone.common.images import read_image
from mbv1_backbone.training.curves import draw_curves, read_scalars


def write(folder, name, records, tail=''):
    path = folder / name / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps(record) + '\n' for record in records) + tail)


def test_a_resumed_run_continues_and_replaces_its_own_steps(tmp_path):
    write(
        tmp_path,
        '20260101_000000',
        [dict(step=s, loss=9.0 - s, loss_cls=1.0, lr=0.1, time=2.0) for s in (1, 2, 3)],
        tail='{"step": 4, "loss',  # killed while writing
    )
    write(
        tmp_path,
        '20260102_000000',
        [dict(step=3, loss=5.0, lr=0.1), dict(step=1, **{'coco/bbox_mAP': 0.25, 'coco/x': -1.0, 'time': 1})],
    )
    losses, metrics = read_scalars(tmp_path)
    assert losses == {'loss': [(1, 8.0), (2, 7.0), (3, 5.0)], 'loss_cls': [(1, 1.0), (2, 1.0), (3, 1.0)]}
    assert metrics == {'coco/bbox_mAP': [(1, 0.25)]}


def test_the_picture_has_curves(tmp_path):
    assert draw_curves(tmp_path) is None
    records = [dict(step=s, loss=1 / s) for s in range(1, 40)]
    write(tmp_path, '20260101_000000', [*records, {'step': 1, 'acc/$a_$^': 0.5}])  # TeX's signs in a class
    image = read_image(draw_curves(tmp_path))
    assert image.shape[1] == 960
    blue = (image[..., 2] > 150) & (image[..., 0] < 100)
    assert blue.sum() > 200
