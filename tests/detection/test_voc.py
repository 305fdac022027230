import json

import numpy as np
import pytest
from PIL import Image

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.detection.formats.voc import convert_voc

OBJECT = """<object><name>{name}</name><difficult>{difficult}</difficult>
<bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox></object>"""


def write_voc(folder, images, lists):
    for part in ('Annotations', 'ImageSets/Main', 'JPEGImages'):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for name, objects in images.items():
        Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(folder / 'JPEGImages' / f'{name}.jpg')
        body = ''.join(OBJECT.format(*box, name=kind, difficult=hard) for kind, box, hard in objects)
        (folder / 'Annotations' / f'{name}.xml').write_text(f'<annotation>{body}</annotation>')
    for name, ids in lists.items():
        (folder / 'ImageSets' / 'Main' / f'{name}.txt').write_text('\n'.join(ids) + '\n')


@pytest.fixture
def voc(tmp_path):
    write_voc(
        tmp_path / 'voc',
        {
            'one': [('dog', (1, 1, 50, 40), 0), ('cat', (11, 5, 20, 9), 1), ('dog', (45, 30, 90, 70), 0)],
            'two': [],
            'three': [('cat', (60, 60, 70, 70), 0), ('cat', (5, 5, 4, 5), 0)],
        },
        {'train': ['one', 'two', 'three'], 'test': ['two']},
    )
    return tmp_path / 'voc'


def test_boxes_are_converted_clipped_and_counted(voc, tmp_path):
    report = convert_voc(voc, tmp_path / 'coco', ['train', 'test'])
    coco = json.loads((tmp_path / 'coco/annotations/train.json').read_text())
    assert [c['name'] for c in coco['categories']] == ['cat', 'dog']
    assert coco['images'][0] == dict(id=1, file_name='one.jpg', width=50, height=40)
    found = [
        (a['image_id'], a['category_id'], a['bbox'], a['area'], a['iscrowd']) for a in coco['annotations']
    ]
    assert found == [
        (1, 2, [0, 0, 50, 40], 2000, 0),
        (1, 1, [10, 4, 10, 5], 50, 1),
        (1, 2, [44, 29, 6, 11], 66, 0),
    ]
    assert report['train'] == dict(images=3, boxes=3, dropped=2, other_classes=0)
    assert report['test'] == dict(images=1, boxes=0, dropped=0, other_classes=0)
    assert sorted(p.name for p in (tmp_path / 'coco/images').iterdir()) == ['one.jpg', 'three.jpg', 'two.jpg']


def test_chosen_classes_keep_their_order(voc, tmp_path):
    report = convert_voc(voc, tmp_path / 'coco', ['train'], classes=['dog'], link=True)
    assert report['train'] == dict(images=3, boxes=2, dropped=0, other_classes=3)
    assert (tmp_path / 'coco/images/one.jpg').is_symlink()


BREAKAGES = {
    'missing list': (
        lambda root: (root / 'ImageSets/Main/train.txt').unlink(),
        r'image list .*train\.txt: No such',
    ),
    'empty list': (
        lambda root: (root / 'ImageSets/Main/train.txt').write_text('\n'),
        r'train\.txt: is empty',
    ),
    'path in list': (
        lambda root: (root / 'ImageSets/Main/train.txt').write_text('../one'),
        r"train\.txt: '\.\./one' must be a plain name",
    ),
    'missing xml': (lambda root: (root / 'Annotations/one.xml').unlink(), r'annotation .*one\.xml: No such'),
    'broken xml': (
        lambda root: (root / 'Annotations/one.xml').write_text('<a>'),
        r'one\.xml: no element found',
    ),
    'no box': (
        lambda root: (root / 'Annotations/one.xml').write_text('<a><object><name>x</name></object></a>'),
        r'one\.xml: an object has no <xmin>',
    ),
    'missing image': (lambda root: (root / 'JPEGImages/one.jpg').unlink(), r'image .*one\.jpg: no such file'),
    'broken image': (lambda root: (root / 'JPEGImages/one.jpg').write_bytes(b'x'), r'image .*one\.jpg: '),
}


@pytest.mark.parametrize('name', BREAKAGES)
def test_what_is_wrong_is_named_and_nothing_written(name, voc, tmp_path):
    breaking, message = BREAKAGES[name]
    breaking(voc)
    with pytest.raises(InputError, match=message):
        convert_voc(voc, tmp_path / 'coco', ['train', 'test'])
    assert not (tmp_path / 'coco').exists()


def test_bccd_counts(shared, tmp_path):
    report = convert_voc(shared / 'bccd', tmp_path, ['trainval', 'test'], link=True)
    assert report['classes'] == ['Platelets', 'RBC', 'WBC']
    assert [report[split]['images'] for split in ('trainval', 'test')] == [292, 72]
    assert sum(report[split]['boxes'] for split in ('trainval', 'test')) == 4888
