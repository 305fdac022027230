"""A data set with every trouble that is looked for, and what the check says of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from mbv1_backbone.cli.main import main
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.detection.data_check import check_data
from mbv1_backbone.detection.formats.layouts import open_data
from mbv1_backbone.detection.near_duplicates import near_duplicates, thumbnail


def scene(seed: int) -> Image.Image:
    """Blocks of random colours: no two are alike."""
    blocks = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((160, 120), Image.Resampling.NEAREST)


@pytest.fixture
def troubled(tmp_path: Path) -> Path:
    """Ten pictures to train on and three to validate on."""
    root = tmp_path / 'data'
    for part, count, first in (('train', 10, 0), ('val', 3, 100)):
        (root / f'images/{part}').mkdir(parents=True)
        (root / f'labels/{part}').mkdir(parents=True)
        for k in range(count):
            scene(first + k).save(root / f'images/{part}/{k}.png')
            (root / f'labels/{part}/{k}.txt').write_text('0 .5 .5 .4 .4\n')
    twin = ImageEnhance.Brightness(scene(3).resize((320, 240))).enhance(0.8)
    twin.save(root / 'images/val/1.jpg', quality=60)
    (root / 'images/val/1.png').unlink()
    (root / 'images/train/7.png').write_bytes((root / 'images/train/7.png').read_bytes()[:300])
    (root / 'labels/train/2.txt').write_text('0 .5 .5 .4 .4\n1 .21 .21 .9 .02\n')
    (root / 'data.yaml').write_text('train: images/train\nval: images/val\nnames: [near, wide, <none>]\n')
    return root


def test_every_trouble_is_found_and_shown(troubled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = troubled.parent / 'out'
    assert main(['data', 'check', str(troubled), '--out-dir', str(out)]) == 0
    said = capsys.readouterr().out
    found = json.loads((out / 'check.json').read_text())
    assert found['images'] == dict(train=9, val=3)
    assert found['counts']['train']['near'] == dict(images=9, boxes=9, small=0, medium=9, large=0)
    assert found['counts']['train']['wide']['boxes'] == 1
    [unreadable] = found['unreadable']
    assert unreadable.endswith('train/7.png')
    [pair] = found['near_duplicates']
    assert (pair['image'], pair['other_image']) == ('3.png', '1.jpg')
    assert [(box['class'], box['image']) for box in found['uncovered']] == [('wide', '2.png')]
    assert found['uncovered'][0]['iou'] < 0.5
    assert 'train: no box of <none>' in said
    page = (out / 'check.html').read_text()
    assert page.count('<img src="data:image/jpeg;base64,') == 9 + 3 + 1 + 1
    assert '<none>' not in page
    assert '&lt;none&gt;' in page
    assert not any(word in page for word in ('<script', 'http://', 'https://', '<link'))


def test_pictures_are_alike_whatever_their_size_light_and_compression() -> None:
    first = scene(0)
    changed = ImageEnhance.Contrast(first.resize((640, 480), Image.Resampling.BICUBIC)).enhance(0.7)
    parts = dict(
        train={'a': thumbnail(np.asarray(first)), 'b': thumbnail(np.asarray(scene(1)))},
        val={'c': thumbnail(np.asarray(changed)), 'd': thumbnail(np.asarray(scene(2)))},
        test={},
    )
    [(part, name, other, twin, score)] = near_duplicates(parts)
    assert (part, name, other, twin) == ('train', 'a', 'val', 'c')
    assert score > 0.97


def test_pictures_of_one_colour_are_like_nothing() -> None:
    plain = thumbnail(np.full((40, 40, 3), 7, np.uint8))
    assert not near_duplicates(dict(train={'a': plain}, val={'b': plain}))


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (('--model', 'none'), '--model none: no such model'),
        (('--layout', 'voc'), 'no .xml file there'),
        (('--size', '5'), '--size: must be at least 32, got 5'),
    ],
)
def test_a_mistake_is_one_line(
    words: tuple[str, ...], message: str, troubled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = troubled.parent / 'out'
    assert main(['data', 'check', str(troubled), '--out-dir', str(out), *words]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error: ')]
    assert message in line
    assert not out.exists()


def test_what_is_trained_on_is_found_again_in_what_it_is_evaluated_on(troubled: Path) -> None:
    """Whole, too: the same pictures in both parts are no part that is there twice."""
    (troubled / 'data.yaml').write_text('train: images/val\nval: images/val\nnames: [near, wide]\n')
    found = check_data(open_data(troubled), {})
    assert sorted((pair[1], pair[3]) for pair in found.duplicates) == [
        ('0.png',) * 2,
        ('1.jpg',) * 2,
        ('2.png',) * 2,
    ]


def test_pictures_are_where_training_finds_them(tmp_path: Path) -> None:
    """Backslashes, and folders that are left away: one that is missing is put down."""
    (tmp_path / 'images').mkdir()
    images = [dict(id=k, file_name=f'images\\{k}.png', width=160, height=120) for k in range(3)]
    for k in range(2):
        scene(k).save(tmp_path / f'images/{k}.png')
    boxes = [dict(id=k, image_id=k, category_id=1, bbox=[9, 9, 50, 50]) for k in range(3)]
    content = dict(images=images, annotations=boxes, categories=[dict(id=1, name='cat')])
    (tmp_path / 'mine.json').write_text(json.dumps(content))
    unreadable: dict[Path, str] = {}
    check = check_data(open_data(tmp_path), unreadable)
    assert [image['file_name'] for image in check.found['all'].images] == ['images/0.png', 'images/1.png']
    assert [path.name for path in unreadable] == ['images\\2.png']


def test_a_part_without_a_readable_picture_is_not_one_without_labels(troubled: Path) -> None:
    for path in (troubled / 'images/val').iterdir():
        path.write_bytes(b'text')
    unreadable: dict[Path, str] = {}
    with pytest.raises(InputError, match='images/val: none of its pictures can be read'):
        check_data(open_data(troubled, None, unreadable), unreadable)
