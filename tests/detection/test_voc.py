import json
import shutil

import numpy as np
import pytest
from PIL import Image

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.detection.formats.voc import convert_voc, summary

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


def counted(counts):
    return {name: count for name, count in counts.items() if count}


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
    assert counted(report['train']) == dict(images=3, boxes=3, dropped=2)
    assert counted(report['test']) == dict(images=1)
    assert sorted(p.name for p in (tmp_path / 'coco/images').iterdir()) == ['one.jpg', 'three.jpg', 'two.jpg']


def test_chosen_classes_keep_their_order(voc, tmp_path):
    report = convert_voc(voc, tmp_path / 'coco', ['train'], classes=['dog'], link=True)
    assert counted(report['train']) == dict(images=3, boxes=2, other_classes=3)
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
    'missing xml': (
        lambda root: (root / 'Annotations/one.xml').unlink(),
        r"train\.txt: 'one' has no \.xml file",
    ),
    'no xml at all': (
        lambda root: [p.unlink() for p in (root / 'Annotations').iterdir()],
        r'voc: no \.xml file',
    ),
    'broken xml': (
        lambda root: (root / 'Annotations/one.xml').write_text('<a>'),
        r'one\.xml: no element found',
    ),
    'no box': (
        lambda root: (root / 'Annotations/one.xml').write_text(
            '<annotation><object><name>x</name></object></annotation>'
        ),
        r'one\.xml: an object has no <xmin>',
    ),
    'two boxes': (
        lambda root: (root / 'Annotations/one.xml').write_text(
            '<annotation><object><name>x</name><bndbox/><bndbox/></object></annotation>'
        ),
        r'one\.xml: an object has 2 <bndbox>: one each',
    ),
    'another root': (
        lambda root: (root / 'Annotations/one.xml').write_text('<html><body/></html>'),
        r'one\.xml: its root must be <annotation>, got <html>',
    ),
    'fractions': (
        lambda root: write_voc(
            root, {name: [('dog', (0.1, 0.2, 0.5, 1), 0)] for name in ('one', 'two', 'three')}, {}
        ),
        'all 3 boxes end within the first pixel',
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


def one_photograph(folder, size, stated, box, orientation=1):
    """A VOC set of one picture: its stored size, what the XML states, and a box of VOC's, from 1."""
    write_voc(folder, {'a': [('cat', box, 0)]}, {'train': ['a']})
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new('RGB', size).save(folder / 'JPEGImages/a.jpg', exif=exif)
    path = folder / 'Annotations/a.xml'
    tag = f'<size><width>{stated[0]}</width><height>{stated[1]}</height></size>' if stated else ''
    path.write_text(path.read_text().replace('<annotation>', f'<annotation>{tag}'))


@pytest.mark.parametrize(
    ('stored', 'stated', 'orientation', 'box', 'size', 'bbox'),
    [
        ((80, 60), (60, 80), 6, (5, 50, 30, 80), (60, 80), [4, 49, 26, 31]),  # drawn as EXIF turns it
        ((80, 60), (80, 60), 6, (5, 50, 30, 60), (80, 60), [4, 49, 26, 11]),  # drawn on the stored pixels
        ((80, 60), None, 6, (5, 50, 30, 80), (60, 80), [4, 49, 26, 31]),  # as it is shown, where the box fits
        ((80, 60), (0, 0), 6, (50, 5, 80, 30), (80, 60), [49, 4, 31, 26]),  # the box fits the stored pixels
        ((80, 60), (160, 120), 1, (20, 20, 100, 100), (80, 60), [9.5, 9.5, 40.5, 40.5]),  # resized since
        ((80, 60), (120, 160), 6, (20, 20, 100, 150), (60, 80), [9.5, 9.5, 40.5, 65.5]),  # and turned
        ((80, 60), (30, 40), 1, (20, 20, 70, 60), (80, 60), [19, 19, 51, 41]),  # a size that cannot be
    ],
)
def test_the_stated_size_decides_about_orientation_and_scale(
    stored, stated, orientation, box, size, bbox, tmp_path
):
    one_photograph(tmp_path / 'voc', stored, stated, box, orientation)
    report = convert_voc(tmp_path / 'voc', tmp_path / 'coco', ['train'])
    coco = json.loads((tmp_path / 'coco/annotations/train.json').read_text())
    assert (coco['images'][0]['width'], coco['images'][0]['height']) == size
    assert coco['annotations'][0]['bbox'] == bbox
    scaled = stated is not None and stated[0] > 100
    assert (report['train']['scaled'], 'resized' in summary(report)) == (scaled, scaled)


def test_a_size_of_another_shape_is_refused(tmp_path):
    one_photograph(tmp_path / 'voc', (80, 60), (80, 80), (5, 5, 30, 50))
    with pytest.raises(InputError, match=r'a\.xml: its <size> is 80 x 80, but .*a\.jpg is 80 x 60'):
        convert_voc(tmp_path / 'voc', tmp_path / 'coco', ['train'])


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16', 'utf-8'])
def test_lists_as_people_write_them(encoding, tmp_path):
    names = ['my cat 1', 'my cat', 'dog', 'größe']
    write_voc(tmp_path / 'voc', {name: [('cat', (5, 5, 20, 20), 0)] for name in names}, {'train': names})
    lines = ['my cat 1', 'my cat -1', 'dog\t 1', 'dog.jpg', 'dog.xml', 'größe']
    (tmp_path / 'voc/ImageSets/Main/train.txt').write_bytes('\r\n'.join(lines).encode(encoding))
    convert_voc(tmp_path / 'voc', tmp_path / 'coco', ['train'])
    coco = json.loads((tmp_path / 'coco/annotations/train.json').read_text())
    assert [image['file_name'] for image in coco['images']] == [f'{name}.jpg' for name in names]


def as_labelled(folder, count=10):
    """What labelling tools leave: ``annotations`` and ``images``, no lists; and a picture without XML."""
    write_voc(folder, {f'p{k}': [('cat', (5, 5, 20, 20), 0)] for k in range(count)}, {})
    (folder / 'Annotations').rename(folder / 'annotations')
    (folder / 'JPEGImages').rename(folder / 'images')
    shutil.rmtree(folder / 'ImageSets')
    Image.new('RGB', (9, 9)).save(folder / 'images/extra.jpg')
    (folder / 'annotations/._p0.xml').write_bytes(b'macOS')


def file_names(out, split):
    return [i['file_name'] for i in json.loads((out / f'annotations/{split}.json').read_text())['images']]


def test_folders_without_lists_are_divided_at_random(tmp_path):
    as_labelled(tmp_path / 'mine')
    report = convert_voc(tmp_path / 'mine', tmp_path / 'coco')
    assert report['splits'] == ['train', 'val']
    assert 'no lists' in summary(report)
    assert '1 images in' in summary(report)
    parts = [file_names(tmp_path / 'coco', split) for split in report['splits']]
    assert [len(part) for part in parts] == [8, 2]
    assert sorted(parts[0] + parts[1]) == sorted(f'p{k}.jpg' for k in range(10))

    convert_voc(tmp_path / 'mine', tmp_path / 'again', shares=[0.8, 0.2])
    assert file_names(tmp_path / 'again', 'val') == parts[1]
    convert_voc(tmp_path / 'mine', tmp_path / 'other', shares=[0.6, 0.2, 0.2], seed=1)
    assert [len(file_names(tmp_path / 'other', part)) for part in ('train', 'val', 'test')] == [6, 2, 2]
    assert file_names(tmp_path / 'other', 'val') != parts[1]


def test_a_folder_with_all_in_it_and_a_folder_a_split(tmp_path):
    as_labelled(tmp_path / 'mine', 4)
    for path in [*(tmp_path / 'mine/annotations').iterdir(), *(tmp_path / 'mine/images').iterdir()]:
        path.rename(tmp_path / 'mine' / path.name)
    assert convert_voc(tmp_path / 'mine', tmp_path / 'coco', shares=[0.5, 0.5])['train']['images'] == 2

    for split in ('train', 'valid'):  # the same names in both
        shutil.copytree(tmp_path / 'mine', tmp_path / 'exported' / split)
    report = convert_voc(tmp_path / 'exported', tmp_path / 'both')
    assert report['splits'] == ['train', 'valid']
    assert file_names(tmp_path / 'both', 'valid')[0] == 'valid/p0.jpg'
    assert (tmp_path / 'both/images/train/p3.jpg').is_file()


@pytest.mark.parametrize('shares', [[0.8], [0.8, 0.3], [1.2, -0.2], [0.99, 0.01], [0.25] * 4])
def test_shares_that_divide_nothing_are_refused(shares, tmp_path):
    as_labelled(tmp_path / 'mine')
    with pytest.raises(InputError, match='--split '):
        convert_voc(tmp_path / 'mine', tmp_path / 'coco', shares=shares)
    assert not (tmp_path / 'coco').exists()


def test_classes_that_match_nothing_are_refused_with_the_nearest(voc, tmp_path):
    with pytest.raises(InputError, match=r"is called 'Dog', but 'cat', 'dog'; did you mean 'dog'"):
        convert_voc(voc, tmp_path / 'coco', ['train'], classes=['cat', 'Dog'])
    assert not (tmp_path / 'coco').exists()


def test_boxes_that_are_no_numbers_are_counted(voc, tmp_path):
    path = voc / 'Annotations/one.xml'
    path.write_text(path.read_text().replace('<xmin>11<', '<xmin>NaN<').replace('<xmax>90<', '<xmax>inf<'))
    report = convert_voc(voc, tmp_path / 'coco', ['train'])
    assert counted(report['train']) == dict(images=3, boxes=1, dropped=2, not_numbers=2)
    assert '2 not numbers' in summary(report)
    for name in ('two', 'three'):
        (voc / f'Annotations/{name}.xml').unlink()
    path.write_text(path.read_text().replace('<ymin>1<', '<ymin>nan<'))
    (voc / 'ImageSets/Main/only.txt').write_text('one')
    with pytest.raises(InputError, match='voc: no box is left of 3'):
        convert_voc(voc, tmp_path / 'none', ['only'])


@pytest.mark.parametrize('link', [False, True])
def test_converting_in_place_keeps_the_pictures(link, tmp_path):
    as_labelled(tmp_path / 'mine')
    before = (tmp_path / 'mine/images/p0.jpg').read_bytes()
    convert_voc(tmp_path / 'mine', tmp_path / 'mine', link=link)
    assert not (tmp_path / 'mine/images/p0.jpg').is_symlink()
    assert (tmp_path / 'mine/images/p0.jpg').read_bytes() == before


def test_the_picture_is_found_by_its_stated_name(voc, tmp_path):
    (voc / 'JPEGImages/one.jpg').rename(voc / 'JPEGImages/DSC 1.JPG')
    path = voc / 'Annotations/one.xml'
    stated = '<annotation><filename>C:\\photos\\DSC 1.JPG</filename>'
    path.write_text(path.read_text().replace('<annotation>', stated))
    convert_voc(voc, tmp_path / 'coco', ['train'])
    assert file_names(tmp_path / 'coco', 'train')[0] == 'DSC 1.JPG'


def test_bccd_counts(shared, tmp_path):
    report = convert_voc(shared / 'bccd', tmp_path, link=True)
    assert report['classes'] == ['Platelets', 'RBC', 'WBC']
    assert [report[split]['images'] for split in ('trainval', 'test')] == [292, 72]
    assert sum(report[split]['boxes'] for split in ('trainval', 'test')) == 4888


@pytest.mark.parametrize('link', [False, True])
def test_pictures_that_are_links_to_each_other_are_not_lost(link, voc, tmp_path):
    """A source that is a link to the target, and a target that is a link to the source."""
    images, pictures = tmp_path / 'coco' / 'images', voc / 'JPEGImages'
    images.mkdir(parents=True)
    content = {name: (pictures / f'{name}.jpg').read_bytes() for name in ('one', 'two', 'three')}
    (pictures / 'one.jpg').rename(images / 'one.jpg')
    (pictures / 'one.jpg').symlink_to(images / 'one.jpg')
    (images / 'two.jpg').symlink_to(pictures / 'two.jpg')
    for _ in range(2):
        convert_voc(voc, tmp_path / 'coco', ['train'], link=link)
        for name, value in content.items():
            assert (images / f'{name}.jpg').read_bytes() == value
            assert (pictures / f'{name}.jpg').read_bytes() == value
    assert not (images / 'one.jpg').is_symlink()
    assert (images / 'two.jpg').is_symlink() == link
    assert sorted(p.name for p in images.iterdir()) == ['one.jpg', 'three.jpg', 'two.jpg']


def test_annotations_are_written_when_their_pictures_are_there(voc, tmp_path, monkeypatch):
    def fails(*_):
        raise OSError('disk gone')

    monkeypatch.setattr('shutil.copyfileobj', fails)
    with pytest.raises(OSError, match='disk gone'):
        convert_voc(voc, tmp_path / 'coco', ['train'])
    assert not [path for path in (tmp_path / 'coco').rglob('*') if path.is_file()]


def test_a_namespace_hides_no_boxes(voc, tmp_path):
    path = voc / 'Annotations/one.xml'
    path.write_text(path.read_text().replace('<annotation>', '<annotation xmlns="http://labels.example/1">'))
    assert convert_voc(voc, tmp_path / 'coco', ['train'])['train']['boxes'] == 3


def test_a_class_has_one_name_in_both_forms_of_unicode(voc, tmp_path):
    write_voc(
        voc,
        {'one': [('Z\u00e9bu', (1, 1, 9, 9), 0)], 'three': [('Ze\u0301bu', (1, 1, 9, 9), 0)]},
        {},
    )
    for classes in (None, ['Ze\u0301bu']):
        report = convert_voc(voc, tmp_path / 'coco', ['train'], classes)
        assert (report['classes'], report['train']['boxes']) == (['Z\u00e9bu'], 2)


def test_shares_that_are_no_numbers_are_refused(voc, tmp_path):
    with pytest.raises(InputError, match='needs two or three shares that add up to 1, got nan'):
        convert_voc(voc, tmp_path / 'coco', shares=(float('nan'), 0.5))
