"""The checked reader: what it fills in, leaves out and refuses."""

import copy
import json
import math
import random

import numpy as np
import pytest
from PIL import Image

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.detection.formats.coco import checked, read_coco
from mbv1_backbone.detection.formats.report import table

CLASSES = ('ball', 'car', 'star')
WIDTH, HEIGHT = 80, 60
BOXES = {1: [(5, 6, 20, 30, 'ball'), (40, 10, 30, 20, 'car')], 2: [(10, 10, 60, 40, 'star')]}


def good():
    """Two pictures, three boxes; ids as they fall."""
    ids = {'star': 7, 'ball': 9, 'car': 12}
    boxes = [(image, *box) for image, found in BOXES.items() for box in found]
    return dict(
        images=[dict(id=i, file_name=f'{i}.jpg', width=WIDTH, height=HEIGHT) for i in BOXES],
        annotations=[
            dict(id=k, image_id=i, category_id=ids[name], bbox=[x, y, w, h], area=w * h, iscrowd=0)
            for k, (i, x, y, w, h, name) in enumerate(boxes, 1)
        ],
        categories=[dict(id=i, name=name) for name, i in ids.items()],
    )


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / 'images'
    folder.mkdir()
    for image in BOXES:
        Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(folder / f'{image}.jpg')
    return folder


def read(content, pictures, encoding='utf-8', **kwargs):
    path = pictures.parent / 'train.json'
    path.write_bytes((content if isinstance(content, str) else json.dumps(content)).encode(encoding))
    return read_coco(path, pictures, kwargs.pop('classes', CLASSES), **kwargs)


def named_boxes(found):
    """(file, class, box) of every annotation, whatever the ids."""
    files = {image['id']: image['file_name'] for image in found.images}
    names = {category['id']: category['name'] for category in found.categories}
    return sorted(
        (files[a['image_id']], names[a['category_id']], *map(float, a['bbox'])) for a in found.annotations
    )


EXPECTED = sorted(
    (f'{image}.jpg', name, *map(float, box)) for image, found in BOXES.items() for *box, name in found
)


def each(key, change):
    """A change of every entry of a list."""

    def changed(content):
        for entry in content[key]:
            change(entry)
        return content

    return changed


def drop(key):
    return lambda entry: entry.pop(key)


def put(**values):
    return lambda entry: entry.update(values)


def apply(*changes):
    def changed(content):
        for change in changes:
            content = change(content) or content
        return content

    return changed


FILLED_IN = {
    'as it is': lambda c: c,
    'categories in another order': lambda c: c['categories'].reverse(),
    'no iscrowd': each('annotations', drop('iscrowd')),
    'iscrowd null': each('annotations', put(iscrowd=None)),
    'iscrowd as text': each('annotations', put(iscrowd='0')),
    'iscrowd false': each('annotations', put(iscrowd=False)),
    'ignore as text': each('annotations', put(ignore='0')),
    'no area': each('annotations', drop('area')),
    'area 0': each('annotations', put(area=0)),
    'area not a number': each('annotations', put(area=math.nan)),
    'no annotation ids': each('annotations', drop('id')),
    'annotation ids repeated': each('annotations', put(id=5)),
    'annotation ids from 0': each('annotations', lambda a: a.update(id=a['id'] - 1)),
    'sizes of -1': each('images', put(width=-1, height=-1)),
    'no sizes': apply(each('images', drop('width')), each('images', drop('height'))),
    'sizes null': each('images', put(width=None, height=None)),
    'sizes as text': each('images', put(width=str(WIDTH), height=str(HEIGHT))),
    'sizes that boxes do not fit into': each('images', put(width=30, height=30)),
    'sizes exchanged': each('images', put(width=HEIGHT, height=WIDTH)),
    'image ids as text in annotations': each('annotations', lambda a: a.update(image_id=str(a['image_id']))),
    'image ids as text in images': each('images', lambda i: i.update(id=f' {i["id"]}')),
    'image ids as 1.0': each('annotations', lambda a: a.update(image_id=float(a['image_id']))),
    'category ids as text': each('categories', lambda c: c.update(id=str(c['id']))),
    'boxes as text': each('annotations', lambda a: a.update(bbox=[str(v) for v in a['bbox']])),
    'backslashes': each('images', lambda i: i.update(file_name=f'images\\{i["file_name"]}')),
    'paths of another machine': each('images', lambda i: i.update(file_name=f'C:\\a\\b\\{i["file_name"]}')),
    'paths from the root': each('images', lambda i: i.update(file_name=f'/home/a/images/{i["file_name"]}')),
    'an unused supercategory': lambda c: c['categories'].insert(0, dict(id=0, name='things')),
    'a supercategory of a class name': lambda c: c['categories'].insert(0, dict(id=0, name='ball')),
    'two categories of one name, both used': apply(
        lambda c: c['categories'].append(dict(id=3, name='ball')),
        lambda c: c['annotations'][0].update(category_id=3),
    ),
    'no boxes but masks': each(
        'annotations',
        lambda a: a.update(segmentation=[corners(a['bbox'])], bbox=None) or a.pop('bbox'),
    ),
    'an image entry twice': lambda c: c['images'].append(dict(c['images'][0])),
}


def corners(box):
    x, y, w, h = box
    return [x, y, x + w, y, x + w, y + h, x, y + h]


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('name', FILLED_IN)
def test_what_can_be_known_is_filled_in(name, training, pictures):
    content = good()
    content = FILLED_IN[name](content) or content
    found = read(content, pictures, training=training)
    assert named_boxes(found) == EXPECTED
    assert [category['name'] for category in found.categories] == list(CLASSES)
    assert [annotation['id'] for annotation in found.annotations] == [1, 2, 3]
    assert [annotation['area'] for annotation in found.annotations] == [600, 600, 2400]
    assert {(image['width'], image['height']) for image in found.images} == {(WIDTH, HEIGHT)}
    assert all(
        annotation['iscrowd'] == 0 and not annotation.get('ignore') for annotation in found.annotations
    )
    assert (found.report.images, found.report.boxes) == (2, 3)


ELSEWHERE = [
    ([], ['train/{}', 'val/{}']),
    ([], ['val/{}', 'a/val/{}']),
    (['val'], ['val/{}', 'val/{}']),
    (['../val'], ['val/{}', 'val/{}']),
]


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le', 'utf-32'])
def test_encodings(encoding, pictures):
    assert named_boxes(read(good(), pictures, encoding)) == EXPECTED


def test_category_ids_are_the_files_in_the_order_of_the_classes(pictures):
    assert read(good(), pictures).category_ids == (9, 12, 7)
    swapped = read(good(), pictures, classes=('star', 'ball', 'car'))
    assert swapped.category_ids == (7, 9, 12)


def test_an_accent_may_be_encoded_in_two_ways(pictures):
    content = good()
    content['categories'][0]['name'] = 'e\u0301toile'
    found = read(content, pictures, classes=('ball', 'car', '\u00e9toile'))
    assert found.report.boxes == 3


def changed_first(**values):
    return lambda c: c['annotations'][0].update(values)


LEFT_OUT = {
    'not_numbers': [
        changed_first(bbox=[math.nan, 1, 2, 3]),
        changed_first(bbox=[math.inf, 1, 2, 3]),
        changed_first(bbox=['a', 1, 2, 3]),
        changed_first(bbox=[1, 2, 3]),
        changed_first(bbox=None),
        changed_first(bbox=dict(x=1)),
    ],
    'empty': [changed_first(bbox=[5, 5, 0, 10]), changed_first(bbox=[5, 5, 10, -2])],
    'outside': [changed_first(bbox=[90, 5, 10, 10]), changed_first(bbox=[-20, 5, 10, 10])],
    'fractions': [changed_first(bbox=[0.1, 0.2, 0.3, 0.4])],
    'unknown_image': [changed_first(image_id=77), changed_first(image_id='x')],
    'unknown_category': [changed_first(category_id=77)],
    'other_class': [
        apply(changed_first(category_id=3), lambda c: c['categories'].append(dict(id=3, name='tree')))
    ],
}


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize(
    ('reason', 'change'), [(reason, change) for reason, changes in LEFT_OUT.items() for change in changes]
)
def test_what_cannot_be_known_is_left_out_and_counted(reason, change, training, pictures):
    content = good()
    change(content)
    found = read(content, pictures, training=training)
    assert len(found.annotations) == 2
    assert dict(found.report.counts) == {reason: 1}
    assert found.report.first[reason] == 'annotation 1'
    assert '1 (first: annotation 1)' in table([found.report])


@pytest.mark.parametrize(
    ('reason', 'values'),
    [('crowd', dict(iscrowd=1)), ('ignored', dict(ignore=True)), ('thin', dict(bbox=[5, 5, 20, 0.5]))],
)
def test_what_is_not_learnt_from_is_kept_for_evaluation_and_counted(reason, values, pictures):
    content = good()
    changed_first(**values)(content)
    found = read(content, pictures, training=True)
    assert (len(found.annotations), found.report.boxes) == (3, 2)
    assert dict(found.report.counts) == {reason: 1}
    assert found.report.warnings == [f"{found.path}: has no box to learn from of class 'ball'"]


@pytest.mark.parametrize('training', [True, False])
def test_a_box_that_its_image_has_already_is_counted(training, pictures):
    content = good()
    first = content['annotations'][0]
    content['annotations'] += [{**first, 'id': 4}, {**first, 'id': 5, 'category_id': 7}]
    found = read(content, pictures, training=training)
    assert len(found.annotations) == 5
    assert dict(found.report.counts) == {'repeated': 1}
    assert found.report.first['repeated'] == 'annotation 4'
    assert 'the list is empty' in found.report.reasons()


REFUSED = {
    'a name that differs a little': (
        each('categories', lambda c: c.update(name=c['name'].replace('star', 'Star '))),
        r"no category is called 'star'; .*'ball', 'car', 'star'; .*'Star ', 'ball', 'car'; did you mean 'Sta",
    ),
    'a class that is another': (
        each('categories', lambda c: c.update(name=c['name'].replace('star', 'tree'))),
        r"no category is called 'star'; .*'tree'",
    ),
    'no class at all': (
        each('categories', lambda c: c.update(name=f'{c["id"]}')),
        r"no category is called 'ball', 'car', 'star'",
    ),
    'an id of two names': (
        lambda c: c['categories'].append(dict(id=7, name='moon')),
        r"category id 7 is 'star' and 'moon'",
    ),
    'a category without a name': (
        lambda c: c['categories'].append(dict(id=1)),
        r"categories\[3\] has no 'name'",
    ),
    'an image id twice': (
        lambda c: c['images'].append(dict(id=2, file_name='1.jpg', width=WIDTH, height=HEIGHT)),
        r'image id 2 is given to 2\.jpg and to 1\.jpg',
    ),
    'an image id twice, once as text': (
        lambda c: c['images'].append(dict(id='2', file_name='1.jpg', width=WIDTH, height=HEIGHT)),
        r'image id 2 is given to',
    ),
    'a picture under two ids': (
        lambda c: c['images'].append(dict(id=3, file_name='other/1.jpg', width=WIDTH, height=HEIGHT)),
        r'images 1 and 3 are one picture',
    ),
    'ids that are numbers and names': (
        lambda c: c['images'].append(dict(id='b', file_name='b.jpg')),
        r'image ids must all be numbers, or all be text',
    ),
    'a huge id': (lambda c: c['images'][0].update(id=2**70), r'images\[0\]: id must be a whole number below'),
    'a picture that is not there': (
        lambda c: c['images'].append(dict(id=3, file_name='c.jpg')),
        r'1 of 3 pictures are not in .*images, the first: c\.jpg',
    ),
    'fractions throughout': (
        each('annotations', put(bbox=[0.1, 0.2, 0.5, 0.5])),
        r'all 3 boxes are smaller than a pixel, as \[0\.1, .* of annotation 1;',
    ),
    'corners throughout': (
        each('annotations', lambda a: a.update(bbox=[40, 30, 78, 58])),
        r'3 of 3 boxes reach out of their image.* not x1, y1, x2, y2',
    ),
    'sizes that boxes may belong to': (
        each('images', put(width=160, height=120)),
        r'1\.jpg is 80 x 60, its entry says 160 x 120, and which',
    ),
    'no numbers throughout': (
        each('annotations', put(bbox=[math.nan] * 4)),
        r'no box is left to learn from, of 3: 3 x box is not four finite numbers \(the first: annotation 1\)',
    ),
    'crowds throughout': (
        each('annotations', put(iscrowd=1)),
        r'no box is left to learn from, of 3: 3 x crowd.* \(the first: annotation 1\)',
    ),
    'unknown images throughout': (each('annotations', put(image_id=9)), r'of 3: 3 x image_id of no image'),
    'an odd iscrowd': (changed_first(iscrowd='maybe'), r"annotation 1: iscrowd must be 0 or 1, got 'maybe'"),
    'no boxes': (each('annotations', drop('bbox')), r"train\.json: annotation 1 has no 'bbox'"),
    'no image_id': (each('annotations', drop('image_id')), r"annotation 1 has no 'image_id'"),
    'no category_id': (
        apply(each('annotations', drop('category_id')), each('annotations', drop('id'))),
        r"annotations\[0\] has no 'category_id'",
    ),
    'no file_name': (each('images', drop('file_name')), r"image 1 has no 'file_name'"),
    'no image id': (each('images', drop('id')), r"images\[0\] has no 'id'"),
    'no list of images': (lambda c: c.pop('images') and c, r"train\.json: has no 'images'"),
    'no list of annotations': (lambda c: c.pop('annotations') and c, r"has no 'annotations'"),
    'no list of categories': (lambda c: c.pop('categories') and c, r"has no 'categories'"),
    'an empty list of images': (
        lambda c: c.update(images=[]),
        r"'images' must be a list with something in it",
    ),
    'an empty list of annotations': (lambda c: c.update(annotations=[]), r'of 0: the list is empty'),
    'a list of results': (
        lambda c: c['annotations'],
        r'must be an object with images, annotations, categories',
    ),
    'an annotation that is none': (
        lambda c: c['annotations'].append(3),
        r'annotations\[3\] must be an object',
    ),
    'half a file': (lambda c: json.dumps(c)[:-20], r'train\.json: not JSON: '),
    'an empty file': (lambda c: '', r'train\.json: not JSON: '),
}


@pytest.mark.parametrize('name', REFUSED)
def test_what_would_be_wrong_is_refused_in_one_line(name, pictures):
    change, message = REFUSED[name]
    content = copy.deepcopy(good())
    changed = change(content)
    with pytest.raises(InputError, match=message) as caught:
        read(content if changed is None else changed, pictures, training=True)
    assert '\n' not in str(caught.value)
    assert str(caught.value).startswith(str(pictures.parent))


@pytest.mark.parametrize(
    ('classes', 'message'),
    [
        ('ball', r"must be a tuple of names, got 'ball'; of one: \('ball',\)"),
        ((), 'must be a tuple of names'),
        ((1, 2), 'must be a tuple of names'),
        (('ball', 'car', 'ball'), "must not repeat a name, got 'ball'"),
        (('ball', 'cars', 'star'), "no category is called 'cars'.* did you mean 'car' by 'cars'"),
    ],
)
def test_classes_of_the_config(classes, message, pictures):
    with pytest.raises(InputError, match=message):
        read(good(), pictures, classes=classes)


@pytest.mark.parametrize('training', [True, False])
def test_a_file_may_lack_a_class(training, pictures):
    content = good()
    content['categories'] = [c for c in content['categories'] if c['name'] != 'ball']
    content['annotations'] = content['annotations'][1:]
    found = read(content, pictures, training=training)
    assert [c['name'] for c in found.categories] == list(CLASSES)
    assert named_boxes(found) == EXPECTED[1:]
    assert len(set(found.category_ids)) == 3
    assert "has no category 'ball'" in found.report.warnings[0]


def test_a_subset_of_the_categories_may_be_learnt(pictures):
    found = read(good(), pictures, classes=('car',), training=True)
    assert [name for _, name, *_ in named_boxes(found)] == ['car']
    assert found.report.counts['other_class'] == 2


@pytest.mark.parametrize(
    ('stated', 'box', 'size'),
    [
        ((HEIGHT, WIDTH), [5, 5, 20, 70], (HEIGHT, WIDTH)),  # drawn as EXIF turns it
        ((WIDTH, HEIGHT), [5, 5, 70, 20], (WIDTH, HEIGHT)),  # drawn on the stored pixels
        ((0, 0), [5, 5, 20, 70], (HEIGHT, WIDTH)),
        ((0, 0), [5, 5, 70, 20], (WIDTH, HEIGHT)),
    ],
)
@pytest.mark.parametrize('suffix', ['jpg', 'png'])
def test_a_turned_photograph(stated, box, size, suffix, pictures):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (WIDTH, HEIGHT)).save(pictures / f'turned.{suffix}', exif=exif)
    content = good()
    content['images'][0].update(file_name=f'turned.{suffix}', width=stated[0], height=stated[1])
    content['annotations'] = [dict(content['annotations'][0], bbox=box)]
    found = read(content, pictures)
    assert (found.images[0]['width'], found.images[0]['height']) == size


def test_masks_of_run_lengths_give_boxes(pictures):
    from pycocotools import mask

    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[6:36, 5:25] = 1
    encoded = mask.encode(np.asfortranarray(pixels))
    content = good()
    content['annotations'][0].update(
        segmentation=dict(size=encoded['size'], counts=encoded['counts'].decode()), bbox=[]
    )
    assert named_boxes(read(content, pictures)) == EXPECTED


ODD = (
    None,
    True,
    0,
    -1,
    1.5,
    math.nan,
    math.inf,
    2**70,
    '',
    '1',
    'nan',
    '\x00',
    '..',
    [],
    [1, 2, 3, 4],
    {},
    dict(a=1),
)


def places_of(value, place=()):
    """The paths to everything inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, other in inner:
        yield (*place, key)
        yield from places_of(other, (*place, key))


def test_any_content_is_read_or_refused_in_one_line(pictures):
    rng = random.Random(0)
    refused, read_ones = [], 0
    for _ in range(600):
        content = good()
        for _ in range(rng.choice([1, 1, 2, 4])):
            *way, last = rng.choice([*places_of(content)] or [('images',)])
            part = content
            for key in way:
                part = part[key]
            if rng.random() < 0.2 and last in (part if isinstance(part, dict) else range(len(part))):
                del part[last]
            else:
                part[last] = copy.deepcopy(rng.choice(ODD))
        try:
            found = checked(content, 'f.json', pictures, CLASSES, training=rng.random() < 0.5)
        except InputError as error:
            refused.append(str(error))
            continue
        read_ones += 1
        for annotation in found.annotations:
            assert all(map(math.isfinite, [*annotation['bbox'], annotation['area']]))
            assert min(annotation['bbox'][2:]) > 0
            assert annotation['iscrowd'] in (0, 1)
    assert read_ones > 50
    assert len(refused) > 50
    assert not any('\n' in message for message in refused)


def test_real_coco_loses_nothing(shared):
    for split, boxes, crowds in (('train2017', 939, 10), ('val2017', None, 0)):
        path = shared / f'coco/annotations/instances_{split}.json'
        names = [c['name'] for c in json.loads(path.read_text())['categories']]
        found = read_coco(path, shared / 'coco' / split, names)
        assert boxes is None or len(found.annotations) == boxes
        assert found.report.stated == len(found.annotations)
        assert found.report.counts['crowd'] == crowds


@pytest.mark.parametrize(('there', 'names'), ELSEWHERE)
def test_a_picture_of_another_folder_is_not_taken(there, names, pictures):
    """``val/1.jpg`` is another picture than ``1.jpg`` of ``train``."""
    for name in there:
        (pictures / name).mkdir()
    content = good()
    for image, name in zip(content['images'], names, strict=True):
        image['file_name'] = name.format(image['file_name'])
    with pytest.raises(InputError, match=r': 1 of 2 pictures are not in|: 2 of 2 pictures are not in'):
        read(content, pictures)
