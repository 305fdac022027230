"""A detector for a data set alone: what is proposed, the config that says it, and its training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

from mbv1_backbone.cli.main import main
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.detection.formats.layouts import open_data
from mbv1_backbone.detection.formats.splits import DetectionData, Split, divided
from mbv1_backbone.training.config import load_config
from mbv1_backbone.training.own_config import write_config
from mbv1_backbone.training.own_data import Choice, base_config, propose


@pytest.fixture(scope='module')
def yolo(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo data in YOLO's form."""
    root = tmp_path_factory.mktemp('yolo')
    for role in ('train', 'val'):
        coco = json.loads((demo_data / f'annotations/{role}.json').read_text())
        (root / f'images/{role}').mkdir(parents=True)
        (root / f'labels/{role}').mkdir(parents=True)
        for image in coco['images']:
            name, side = image['file_name'], image['width']
            (root / f'images/{role}/{name}').symlink_to(demo_data / 'images' / name)
            lines = [
                f'{a["category_id"] - 1} {(x + w / 2) / side:.6f} {(y + h / 2) / side:.6f} {w / side:.6f} '
                f'{h / side:.6f}\n'
                for a in coco['annotations']
                if a['image_id'] == image['id']
                for x, y, w, h in [a['bbox']]
            ]
            (root / f'labels/{role}/{name}').with_suffix('.txt').write_text(''.join(lines))
    names = [category['name'] for category in coco['categories']]
    (root / 'data.yaml').write_text(json.dumps(dict(train='images/train', val='images/val', names=names)))
    return root


# Workers that outlive their loader are collected within some later test.
IN_PROCESS = (
    '--cfg-options',
    *(f'{part}_dataloader.num_workers=0' for part in ('train', 'val', 'test')),
    *(f'{part}_dataloader.persistent_workers=False' for part in ('train', 'val', 'test')),
)


@pytest.mark.slow
def test_one_command_trains_and_both_forms_of_the_data_give_one_ap(
    yolo: Path, demo_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / 'work'
    words = ('train', '--data', yolo / 'data.yaml', '--model', 'ssd_mbv1_0.25', '--size', '96')
    options = ('--epochs', '1', '--batch-size', '8', '--pretrained', 'none', '--no-amp')
    assert main([*map(str, words), *options, '--work-dir', str(work), *IN_PROCESS]) == 0
    said = capsys.readouterr().out
    assert "YOLO, 5 classes: 'ball', 'car', 'flower', 'house', 'star'" in said
    assert 'schedule    1 epochs of 3 steps of 8 images' in said
    config, weights = work / 'ssd_mbv1_0.25.py', work / 'epoch_1.pth'
    found = []
    for name, data in (('yolo', yolo), ('coco', demo_data)):
        out = tmp_path / f'{name}.json'
        test = ('test', config, weights, '--data', data, '--out', out, '--work-dir', tmp_path / name)
        assert main([*map(str, test), *IN_PROCESS]) == 0
        said = capsys.readouterr().out
        tables = [line for line in said.splitlines() if 'Average' in line or line.startswith('|')]
        assert tables
        found.append((tables, json.loads(out.read_text())))
    assert found[0] == found[1]
    assert found[0][1]  # detections there are
    page = tmp_path / 'page'
    analyze = ('analyze', config, weights, '--data', yolo, '--out-dir', page)
    assert main([*map(str, analyze), *IN_PROCESS]) == 0
    report = json.loads((page / 'analysis.json').read_text())
    assert report['detections'] == len(found[0][1])
    assert report['annotations'] == str(yolo)


def test_the_saved_config_is_what_would_be_trained(
    yolo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / 'mine.py'
    assert main(['train', '--data', str(yolo), '--save-config', str(path)]) == 0
    assert f'{path}: mbv1 train {path}' in capsys.readouterr().out
    cfg = load_config(path)
    assert cfg.model.bbox_head.num_classes == 5
    assert cfg.train_dataloader.dataset.metainfo.classes == ('ball', 'car', 'flower', 'house', 'star')
    assert Path(cfg.train_dataloader.dataset.ann_file) == (tmp_path / 'mine_annotations/train.json').resolve()
    assert cfg.val_evaluator.ann_file == cfg.val_dataloader.dataset.ann_file
    assert (cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval) == (120, 12)
    assert sorted(p.name for p in tmp_path.iterdir()) == ['mine.py', 'mine_annotations']
    path.write_text('# mine\n')
    assert main(['train', '--data', 'none', '--save-config', str(path)]) == 2
    assert f'--save-config {path}: is there already' in capsys.readouterr().err
    assert path.read_text() == '# mine\n'


@pytest.mark.parametrize('parts', ['', 'train', 'train,val'])
def test_what_is_tested_with_is_said(
    parts: str, demo_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """That it is what was trained on, or has pictures of it."""
    (tmp_path / 'data').mkdir()
    coco = json.loads((demo_data / 'annotations/val.json').read_text())
    for image in coco['images']:
        image['file_name'] = str(demo_data / 'images' / image['file_name'])
    for part in parts.split(','):
        (tmp_path / f'data/{part or "boxes"}.json').write_text(json.dumps(coco))
    found = tmp_path / 'found.json'
    found.write_text('[]')
    words = ('analyze', '--data', tmp_path / 'data', '--predictions', found, '--out-dir', tmp_path / 'page')
    assert main([*map(str, words)]) == 0
    said = capsys.readouterr().out
    role = parts.rpartition(',')[2] or 'all'
    assert f'data: COCO, {len(coco["images"])} images ({role})\n' in said
    assert ('has seen these images' in said) == (role != 'val')
    assert (f'{len(coco["images"])} pictures are in both train and val' in said) == (role == 'val')


def data_of(sides: list[float], images: int = 50, picture: int = 1000) -> DetectionData:
    """Images without files, with squares of these sides of the picture."""
    rng = np.random.default_rng(0)
    coco: dict = dict(images=[], annotations=[], categories=[dict(id=1, name='a'), dict(id=2, name='b')])
    for number in range(1, images + 1):
        coco['images'].append(dict(id=number, file_name=f'{number}.jpg', width=picture, height=picture))
        for label, side in enumerate(sides, 1):
            x, y = rng.uniform(0, 1 - side, 2) * picture
            box = [x, y, side * picture, side * picture]
            annotation = dict(id=len(coco['annotations']), image_id=number, category_id=label, bbox=box)
            coco['annotations'].append(annotation | dict(area=box[2] ** 2, iscrowd=0))
    split = _Unread('made', Path('.'), coco)
    return DetectionData(Path('made'), 'COCO', ('a', 'b'), dict(train=split, val=split))


class _Unread(Split):
    """A split whose pictures are not looked at."""

    def read(self, classes, training=False):
        from mbv1_backbone.detection.formats.coco import checked

        return checked(json.loads(json.dumps(self.coco)), self.source, None, classes, training)


@pytest.mark.parametrize(
    ('sides', 'model', 'size'),
    [
        ([0.3, 0.2], 'ssd_mbv1', 300),
        ([0.3, 0.045], 'ssd_mbv1', 416),  # 13 pixels at 300, 19 at 416
        ([0.3, 0.01], 'ssd_mbv1', 640),
        ([0.3, 0.2], 'retinanet_mbv1_fpn', 320),
        ([0.3, 0.02], 'faster_rcnn_mbv1_fpn', 416),  # its finest map has a stride of 4
    ],
)
def test_the_input_is_as_large_as_the_smallest_class_asks_for(
    sides: list[float], model: str, size: int
) -> None:
    assert propose(data_of(sides), model).size == size


def test_an_input_is_no_larger_than_pictures_and_as_given() -> None:
    assert propose(data_of([0.3, 0.01], picture=450), 'ssd_mbv1').size == 416
    found = propose(data_of([0.3, 0.01]), 'ssd_mbv1', Choice(size=160, epochs=7, batch_size=4))
    assert (found.size, found.epochs, found.batch_size, found.lr) == (160, 7, 4, 0.005)
    assert found.model['bbox_head']['anchor_generator']['input_size'] == 160


@pytest.mark.parametrize(('images', 'epochs'), [(20, 120), (300, 100), (1000, 30), (3000, 12)])
def test_fewer_images_are_seen_more_often(images: int, epochs: int) -> None:
    assert propose(data_of([0.3], images), 'ssd_mbv1').epochs == epochs


@pytest.mark.parametrize('model', ['ssdlite_mbv1', 'ssd_mbv1_0.5', 'retinanet_mbv1_fpn', 'faster_rcnn_mbv1'])
def test_configs_of_every_model_load(model: str, tmp_path: Path) -> None:
    """``load_config`` holds heads and necks to the backbone's taps."""
    write_config(propose(data_of([0.3, 0.04]), model), tmp_path / 'c.py', tmp_path)
    cfg: Config = load_config(tmp_path / 'c.py')
    head = cfg.model.get('bbox_head') or cfg.model.roi_head.bbox_head
    assert head.num_classes == 2
    assert cfg.model.backbone.get('widen_factor', 1.0) == (0.5 if model.endswith('0.5') else 1.0)


def test_a_name_is_no_code(tmp_path: Path) -> None:
    """A line break in a class's name would end the comment that it stands in."""
    data = data_of([0.3])
    names = ("a\nraise SystemExit('run')  # ", 'b')
    for category, name in zip(data.splits['train'].coco['categories'], names, strict=True):
        category['name'] = name
    proposal = propose(replace(data, classes=names, root=Path('of\nraise')), 'ssd_mbv1')
    assert any('\n' in line for line in proposal.lines)
    write_config(proposal, tmp_path / 'c.py', tmp_path)
    assert load_config(tmp_path / 'c.py').classes == names


MISTAKES = {
    'model': (('--model', 'ssd_mbv2'), "--model ssd_mbv2: no such model; there are 'ssd_mbv1', "),
    'no detector': (('--model', 'arcface_mbv1_0.25-112'), 'arcface_mbv1_0.25-112.py is no detector'),
    'config, too': (('ssd_mbv1_coco',), 'config ssd_mbv1_coco and --data {data}: give one'),
    'root, too': (('--data-root', 'x'), '--data-root is of a config, not of --data {data}'),
    'share': (('--held-out', '.5'), "has 'train', 'val'; --held-out is of what is not divided"),
    'layout': (('--layout', 'voc'), 'no .xml file there'),
    'suffix': (('--save-config', 'x.txt'), '--save-config must end in .py, got x.txt'),
}


@pytest.mark.parametrize('name', MISTAKES)
def test_a_mistake_is_one_line(
    name: str, yolo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, message = MISTAKES[name]
    assert main(['train', '--data', str(yolo), '--work-dir', str(tmp_path / 'out'), *words]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error: ')]
    assert message.format(data=yolo) in line
    assert not (tmp_path / 'out').exists()


def test_options_of_data_are_not_of_configs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['train', 'ssd_mbv1_coco', '--epochs', '3']) == 2
    assert '--epochs is of --data, not of config ssd_mbv1_coco' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (('--layout', 'voc'), '--layout voc is of --data, which is not given'),
        (('--data', 'x', '--data-root', 'y'), '--data-root is of a config, not of --data x'),
    ],
)
def test_options_of_a_test_that_would_say_nothing(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['test', 'ssd_mbv1_demo.py', 'none.pth', *words]) == 2
    assert message in capsys.readouterr().err


def test_nothing_to_evaluate_on(yolo: Path) -> None:
    data = divided(open_data(yolo))
    coco = {**data.splits['val'].coco, 'annotations': []}
    empty = Split('val', data.splits['val'].folder, coco)
    with pytest.raises(InputError, match='val: no box to evaluate on, the list is empty'):
        propose(
            DetectionData(data.root, data.layout, data.classes, {**data.splits, 'val': empty}), 'ssd_mbv1'
        )


def test_the_models_of_the_table_are_there() -> None:
    assert base_config('ssd_mbv1_0.75_tf_bccd')[2] is None  # of the zoo, not of a width
    assert base_config('ssd_mbv1_0.75')[1:] == ('mbv1_backbone::detection/ssd_mbv1_coco.py', 0.75)
