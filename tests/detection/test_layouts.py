"""Data sets of every layout: one content, whatever form it has, and one line for what is none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.detection.formats.layouts import open_data
from mbv1_backbone.detection.formats.splits import divided, role_of

# Names, sizes, and boxes x, y, width, height in pixels of classes 0 and 1.
TRAIN = {
    'a': ((64, 48), [(0, (3, 5, 20, 17)), (1, (40, 1, 13, 47))]),
    'b': ((97, 31), [(1, (0, 0, 97, 31))]),
    'c': ((50, 50), []),
}
VALID = {'d': ((33, 77), [(0, (7, 9, 1, 50))]), 'e': ((640, 480), [(0, (333, 111, 77, 301))])}
CLASSES = ('king', 'ace')
LAYOUTS = ('coco', 'coco-roboflow', 'coco-file', 'yolo', 'yolo-roboflow', 'yolo-lists', 'yolo-plain', 'voc')


def pictures(folder: Path, content: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, ((width, height), _) in content.items():
        Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(folder / f'{name}.jpg')


def write_coco(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number, (name, ((width, height), boxes)) in enumerate(content.items(), 1):
        images.append(dict(id=number, file_name=f'{name}.jpg', width=width, height=height))
        for label, box in boxes:
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=number,
                    category_id=label + 1,
                    bbox=list(box),
                    area=box[2] * box[3],
                    iscrowd=0,
                )
            )
    categories = [dict(id=k, name=name, supercategory='cards') for k, name in enumerate(CLASSES, 1)]
    if 'roboflow' in str(path):
        categories.insert(0, dict(id=0, name='cards', supercategory='none'))
    path.write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories)))


def write_yolo(folder: Path, content: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, ((width, height), boxes) in content.items():
        lines = [
            f'{label} {(x + w / 2) / width:.6f} {(y + h / 2) / height:.6f} {w / width:.6f} {h / height:.6f}'
            for label, (x, y, w, h) in boxes
        ]
        if lines:
            (folder / f'{name}.txt').write_text('\n'.join(lines) + '\n')


def write_voc(folder: Path, content: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, ((width, height), boxes) in content.items():
        objects = ''.join(
            f'<object><name>{CLASSES[label]}</name><bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin>'
            f'<xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>'
            for label, (x, y, w, h) in boxes
        )
        size = f'<size><width>{width}</width><height>{height}</height></size>'
        (folder / f'{name}.xml').write_text(f'<annotation>{size}{objects}</annotation>')


def data_yaml(file: Path, **parts: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(dict(parts, names=list(CLASSES), nc=2)))  # JSON is YAML
    return file


def make(root: Path, layout: str) -> Path:
    """Write the data set; what to open."""
    for part, content in (('train', TRAIN), ('valid', VALID)):
        if layout.startswith('coco'):
            roboflow = layout == 'coco-roboflow'
            pictures(root / (part if roboflow else 'images'), content)
            file = f'{part}/_annotations.coco.json' if roboflow else f'annotations/instances_{part}.json'
            write_coco(root / file, content)
        elif layout == 'voc':
            pictures(root / part, content)
            write_voc(root / part, content)
        elif layout in ('yolo-roboflow', 'yolo-plain'):
            pictures(root / part / 'images', content)
            write_yolo(root / part / 'labels', content)
        else:
            pictures(root / 'images' / part, content)
            write_yolo(root / 'labels' / part, content)
    if layout == 'yolo-plain':
        (root / 'classes.txt').write_text('\n'.join(CLASSES) + '\n')
    elif layout == 'yolo-roboflow':
        data_yaml(root / 'data.yaml', train='../train/images', val='../valid/images')
        (root / 'README.roboflow.txt').write_text('cards\n')
    elif layout == 'yolo-lists':
        for part, content in (('train', TRAIN), ('valid', VALID)):
            (root / f'{part}.txt').write_text(''.join(f'./images/{part}/{name}.jpg\n' for name in content))
        return data_yaml(root / 'lists.yaml', path='nowhere', train='train.txt', val=['valid.txt'])
    elif layout == 'yolo':
        return data_yaml(root / 'data.yaml', path=str(root), train='images/train', val='images/valid')
    return root / 'annotations/instances_train.json' if layout == 'coco-file' else root


@pytest.mark.parametrize('layout', LAYOUTS)
def test_every_layout_gives_the_same_images_and_boxes(layout: str, tmp_path: Path) -> None:
    """Exactly: what the evaluator and the network get does not depend on the form."""
    data = open_data(make(tmp_path / layout, layout))
    assert sorted(data.classes) == sorted(CLASSES)
    assert ('Roboflow' in data.layout) == (layout == 'yolo-roboflow')
    assert list(data.splits) == ['train', 'val']
    for role, content in (('train', TRAIN), ('val', VALID)):
        found = data.splits[role].read(CLASSES, training=role == 'train')
        assert [(i['id'], Path(i['file_name']).stem) for i in found.images] == [*enumerate(content, 1)]
        assert [(i['width'], i['height']) for i in found.images] == [size for size, _ in content.values()]
        assert [(a['image_id'], a['category_id'], tuple(a['bbox'])) for a in found.annotations] == [
            (number, found.category_ids[label], box)
            for number, (_, boxes) in enumerate(content.values(), 1)
            for label, box in boxes
        ]
        assert all((found.folder / i['file_name']).is_file() for i in found.images)


def test_polygons_and_key_points_become_boxes(tmp_path: Path) -> None:
    root = make(tmp_path / 'data', 'yolo').parent
    (root / 'labels/train/a.txt').write_text('1 0.25 0.5 0.75 0.5 0.5 1.0\n')
    [first, *_] = open_data(root).splits['train'].coco['annotations']
    assert first['bbox'] == [16, 24, 32, 24]
    (root / 'labels/train/a.txt').write_text('1 0.5 0.5 0.5 0.5 0.1 0.1 2 0.9 0.9 2\n')
    data_yaml(root / 'data.yaml', train='images/train', val='images/valid', kpt_shape=[2, 3])
    [first, *_] = open_data(root).splits['train'].coco['annotations']
    assert first['bbox'] == [16, 12, 32, 24]


def test_fractions_are_of_the_picture_as_exif_turns_it(tmp_path: Path) -> None:
    root = make(tmp_path / 'data', 'yolo').parent
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (48, 64)).save(root / 'images/train/a.jpg', exif=exif)
    found = open_data(root).splits['train'].read(CLASSES)
    assert (found.images[0]['width'], found.images[0]['height']) == (64, 48)
    assert found.annotations[0]['bbox'] == [3, 5, 20, 17]


def test_what_is_not_divided_is_divided_alike_in_every_form(tmp_path: Path) -> None:
    many = {f'n{k:02}': ((40, 30), [(k % 2, (1, 2, 10, 10))]) for k in range(20)}
    pictures(tmp_path / 'yolo/images', many)
    write_yolo(tmp_path / 'yolo/labels', many)
    (tmp_path / 'yolo/classes.txt').write_text('king\nace\n')
    pictures(tmp_path / 'coco', many)
    write_coco(tmp_path / 'coco/mine.json', many)
    pictures(tmp_path / 'voc', many)
    write_voc(tmp_path / 'voc', many)
    held_out = []
    for name in ('yolo', 'coco', 'voc'):
        data = divided(open_data(tmp_path / name), 0.25, seed=3)
        held_out.append([Path(i['file_name']).stem for i in data.splits['val'].coco['images']])
        assert len(data.splits['train'].coco['annotations']) == 15
        assert '25% of the images held out by seed 3' in data.notes[-1]
    assert len(held_out[0]) == 5
    assert held_out[0] == held_out[1] == held_out[2]


def _labels(root: Path, text: str) -> Path:
    (root / 'labels/train/b.txt').write_text(text)
    return root


MISTAKES = {
    'nothing': (lambda root: shutil.rmtree(root / 'labels') or root / 'images', 'no annotations there'),
    'no such folder': (lambda root: root / 'none', 'no such file or folder'),
    'another file': (lambda root: root / 'images/train/a.jpg', "must be a folder, data.yaml of YOLO's or a"),
    'two layouts': (
        lambda root: write_coco(root / 'annotations/train.json', TRAIN) or root,
        r"COCO's \(annotations/train.json\) and YOLO's \(data.yaml\): say which with --layout coco or yolo",
    ),
    'no names': (
        lambda root: (root / 'data.yaml').write_text('train: images/train') and root,
        "has no 'names', the classes' names",
    ),
    'names with a hole': (
        lambda root: (root / 'data.yaml').write_text('train: images/train\nnames: {0: a, 2: b}') and root,
        r'names must be numbered 0..1',
    ),
    'a name of nothing': (
        lambda root: (root / 'data.yaml').write_text('train: images/train\nnames: [a, ""]') and root,
        'names must be a list of the classes',
    ),
    'names by a hole': (
        lambda root: (
            (root / 'data.yaml').unlink() or ((root / 'classes.txt').write_text('a\n\nb\n') and root)
        ),
        'classes.txt: line 2 is empty',
    ),
    'names in Latin-1': (
        lambda root: (
            (root / 'data.yaml').unlink() or ((root / 'classes.txt').write_bytes(b'caf\xe9\n') and root)
        ),
        "classes.txt: 'utf-8' codec can't decode",
    ),
    'a date that there is not': (
        lambda root: (root / 'data.yaml').write_text('names: [a]\ndate: 2024-02-30') and root / 'data.yaml',
        'data.yaml: not YAML: day is out of range',
    ),
    'no classes.txt': (lambda root: (root / 'data.yaml').unlink() or root, 'nothing that names the classes'),
    'no labels': (
        lambda root: shutil.rmtree(root / 'labels/train') or root,
        r'none of 3 pictures has labels; those of a.jpg are looked for in .*labels/train/a.txt',
    ),
    'empty split': (
        lambda root: [p.unlink() for p in (root / 'images/valid').iterdir()] and root,
        'val: no picture in images/valid',
    ),
    'split that is not there': (
        lambda root: shutil.rmtree(root / 'images/valid') or root,
        'val: .*images/valid does not exist',
    ),
    'pixels': (lambda root: _labels(root, '0 30 20 10 10\n'), r'b.txt, line 1: 30 is no fraction'),
    'class without a name': (
        lambda root: _labels(root, '0 .5 .5 .5 .5\n2 .5 .5 .5 .5\n'),
        r'b.txt, line 2: class 2 has no name; there are 0..1',
    ),
    'words': (lambda root: _labels(root, 'king .5 .5 .5 .5\n'), "'king .5 .5 .5 .5' is not all numbers"),
    'not a number': (lambda root: _labels(root, '0 nan .5 .5 .5\n'), 'is not all numbers'),
    'predictions': (lambda root: _labels(root, '0 .5 .5 .5 .5 .9\n'), 'these are predictions'),
    'too few': (lambda root: _labels(root, '0 .5 .5 .5\n'), 'must be a class and x, y, width, height'),
    'no picture': (
        lambda root: (root / 'images/train/a.jpg').write_bytes(b'text') and root,
        r'image .*images/train/a.jpg',
    ),
}


@pytest.mark.parametrize('name', MISTAKES)
def test_what_is_no_data_set_is_one_line(name: str, tmp_path: Path) -> None:
    spoil, message = MISTAKES[name]
    root = make(tmp_path / 'data', 'yolo').parent
    with pytest.raises(InputError, match=message):
        open_data(spoil(root))


def test_names_that_are_not_as_many_as_stated(tmp_path: Path) -> None:
    root = make(tmp_path / 'data', 'yolo').parent
    (root / 'data.yaml').write_text('train: images/train\nnc: 3\nnames: [king, ace]')
    with pytest.raises(InputError, match="nc is 3, but there are 2 names: 'king', 'ace'"):
        open_data(root)


def test_files_of_coco_that_no_name_tells_apart(tmp_path: Path) -> None:
    for name in ('one', 'two'):
        write_coco(tmp_path / f'annotations/{name}.json', TRAIN)
    with pytest.raises(InputError, match=r"'one\.json', 'two\.json', and no name says which is to train on"):
        open_data(tmp_path)
    with pytest.raises(InputError, match=r'its pictures are not found, the first is a\.jpg; looked in'):
        open_data(tmp_path / 'annotations/one.json')


def test_two_folders_of_one_use(tmp_path: Path) -> None:
    root = make(tmp_path / 'data', 'coco-roboflow')
    shutil.copytree(root / 'valid', root / 'val')
    with pytest.raises(InputError, match='both val and valid are to validate on: give one of them'):
        open_data(root)


def test_nothing_to_train_on(tmp_path: Path) -> None:
    root = make(tmp_path / 'data', 'coco-roboflow')
    shutil.rmtree(root / 'train')
    with pytest.raises(InputError, match="has 'val' and nothing to train on"):
        divided(open_data(root))
    with pytest.raises(InputError, match='--held-out is of what is not divided'):
        divided(open_data(make(tmp_path / 'all', 'coco')), 0.5)


@pytest.mark.parametrize(
    ('name', 'role'),
    [
        ('instances_val2017', 'val'),
        ('Train', 'train'),
        ('trainval', 'train'),
        ('train_test', None),
        ('contest', None),
        ('', None),
    ],
)
def test_roles(name: str, role: str | None) -> None:
    assert role_of(name) == role


def _coco(root: Path, **changes: object) -> Path:
    """Five images with a box each, in one file."""
    names = [f'{k}.jpg' for k in range(5)]
    pictures(root, {name.removesuffix('.jpg'): ((40, 30), []) for name in names})
    content: dict = dict(
        images=[dict(id=k, file_name=name) for k, name in enumerate(names)],
        annotations=[dict(id=k, image_id=str(k), category_id=1, bbox=[1, 1, 9, 9]) for k in range(5)],
        categories=[dict(id=1, name='king')],
    )
    (root / 'mine.json').write_text(json.dumps(content | changes))
    return root / 'mine.json'


def test_ids_as_text_are_divided_with_their_images(tmp_path: Path) -> None:
    data = divided(open_data(_coco(tmp_path)))
    assert [len(split.read(data.classes).annotations) for split in data.splits.values()] == [4, 1]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(annotations=[3]), r'mine.json: annotations\[0\] must be an object, got 3'),
        (dict(images=[3]), r'mine.json: images\[0\] must be an object, got 3'),
        (dict(images=[dict(id=0, file_name='0.jpg')]), '20% of 1 images cannot be held out'),
        (dict(categories=[{}]), 'its categories have no names'),
    ],
)
def test_files_of_coco_that_are_wrong(changes: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        divided(open_data(_coco(tmp_path, **changes)))


def test_names_are_as_they_are_written(tmp_path: Path) -> None:
    """YAML reads yes and no as True and False, 1.10 as 1.1 and ~ as nothing."""
    root = make(tmp_path / 'data', 'yolo').parent
    for names in ('[yes, 1.10, ~]', '{0: yes, 1: 1.10, 2: ~}', '{"0": yes, "1": 1.10, "2": ~}'):
        (root / 'data.yaml').write_text(f'train: images\\train\nval: images/valid\nnames: {names}\n')
        assert open_data(root).classes == ('yes', '1.10', '~')


@pytest.mark.parametrize('layout', ['coco', 'yolo'])
def test_what_is_trained_on_and_evaluated_is_told(layout: str, tmp_path: Path) -> None:
    made = make(tmp_path / 'data', layout)
    if layout == 'coco':
        shutil.copy(made / 'annotations/instances_train.json', made / 'annotations/instances_valid.json')
    else:
        data_yaml(made, train='images/train', val='images/train', test='images/train')
    notes = open_data(made).notes
    assert '3 pictures are in both train and val' in notes
    assert not any('val and test' in note for note in notes)


@pytest.mark.parametrize('layout', ['yolo', 'yolo-roboflow', 'yolo-lists', 'beside'])
def test_labels_without_a_picture_are_told(layout: str, tmp_path: Path) -> None:
    """Not those of pictures that a list leaves out, nor files of other kinds."""
    root = tmp_path / 'data'
    if layout == 'beside':
        labels = root / 'photos'
        pictures(labels, TRAIN)
        write_yolo(labels, TRAIN)
        made = data_yaml(root / 'data.yaml', train='photos')
    else:
        made = make(root, layout)
        labels = root / ('train/labels' if layout == 'yolo-roboflow' else 'labels/train')
    if layout == 'yolo-lists':
        (root / 'train.txt').write_text('./images/train/a.jpg\n')
    for name, text in (
        ('classes', 'king\nace\n'),
        ('notes', 'all by hand'),
        ('empty', ''),
        ('codes', '\xff'),
    ):
        (labels / f'{name}.txt').write_text(text, encoding='latin-1')
    assert not any('label files' in note for note in open_data(made).notes)
    for name in ('gone', 'b.v2'):
        (labels / f'{name}.txt').write_text('0 .5 .5 .1 .1\n')
    [note] = [note for note in open_data(made).notes if 'label files' in note]
    assert note.startswith('train: 2 label files have no picture, and are left out: the first is ')
    assert note.endswith('b.v2.txt')


def test_boxes_of_voc_that_are_left_out_are_told(tmp_path: Path) -> None:
    root = make(tmp_path / 'data', 'voc')
    assert open_data(root).notes == []
    file = root / 'train/a.xml'
    file.write_text(file.read_text().replace('<xmin>4<', '<xmin>nan<').replace('<xmin>41<', '<xmin>99<'))
    assert open_data(root).notes == ['train: boxes left out: 1 without area in the image, 1 not numbers']


def test_a_check_goes_on_without_the_picture_of_an_annotation(tmp_path: Path) -> None:
    root = make(tmp_path / 'data', 'voc')
    (root / 'train/a.jpg').unlink()
    with pytest.raises(InputError, match=r'a\.jpg: no such file'):
        open_data(root)
    unreadable: dict[Path, str] = {}
    assert len(open_data(root, unreadable=unreadable).splits['train'].coco['images']) == 2
    assert list(unreadable) == [root / 'train/a.xml']
    assert 'a.jpg: no such file' in unreadable[root / 'train/a.xml']


def test_files_that_are_no_part_are_told(tmp_path: Path) -> None:
    made = make(tmp_path / 'data', 'coco')
    assert open_data(made).notes == []
    shutil.copy(made / 'annotations/instances_train.json', made / 'annotations/instances_more.json')
    assert open_data(made).notes == ["left out, no part by their names: 'instances_more.json'"]
