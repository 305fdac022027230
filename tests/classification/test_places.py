"""Data set, head, metric and the most alike photograph, each beside a slow answer."""

import json
import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import RepeatDataset
from mmengine.registry import init_default_scope
from mmengine.structures import BaseDataElement
from PIL import Image
from torch.nn import functional as F

from mbv1_backbone.classification.partition import Partition
from mbv1_backbone.classification.place_data import PlacesDataset
from mbv1_backbone.classification.place_head import (
    PlacesHead,
    cells_of,
    partition_of,
    without_cells_file,
)
from mbv1_backbone.classification.place_metric import PlacesMetric, shares_within
from mbv1_backbone.classification.s2_cells import cell_ids
from mbv1_backbone.common.errors import DamagedFileError, InputError, one_line
from mbv1_backbone.geolocation.locator import Locator
from mbv1_backbone.geolocation.nearest import (
    NearestPhotographHook,
    _share,
    _training_photos,
    nearest_places,
)
from mbv1_backbone.inference.classifier import Classifier
from mbv1_backbone.runtime.spec import ModelSpec
from mbv1_backbone.training.cells import check_cells
from mbv1_backbone.training.config import load_config
from mbv1_backbone.training.exported import ExportedModel

TOWNS = np.array([[45.8, 16.0], [-33.4, -70.6], [35.7, 139.7], [1.3, 103.8]])


def write_photos(folder, rows, name='train.csv'):
    lines = ['file,latitude,longitude']
    for number, (latitude, longitude) in enumerate(rows):
        file = f'{name}_{number}.png'
        Image.new('RGB', (4, 4)).save(folder / file)
        lines.append(f'{file},{latitude},{longitude}')
    (folder / name).write_text('\n'.join(lines) + '\n')


@pytest.fixture
def folder(tmp_path):
    """Three photographs of each town but the last, which has one; two of a test."""
    write_photos(tmp_path, [*np.repeat(TOWNS[:3], 3, 0).tolist(), TOWNS[3].tolist()])
    write_photos(tmp_path, [TOWNS[0].tolist(), TOWNS[3].tolist()], 'test.csv')
    places = np.concatenate([np.repeat(TOWNS[:3], 3, 0), TOWNS[3:]])
    Partition.fit(places, max_photos=3, min_photos=2).save(tmp_path / 'cells.json')
    return tmp_path


def test_photographs_to_train_on_have_the_label_of_their_cell(folder):
    data = PlacesDataset('train.csv', data_root=str(folder))
    cells = Partition.load(folder / 'cells.json')
    assert len(data) == 9
    assert data.metainfo['classes'] == cells.names
    for index in range(9):
        info = data.get_data_info(index)
        assert [info['latitude'], info['longitude']] == TOWNS[index // 3].tolist()
        assert cells.places[info['gt_label']] == pytest.approx(TOWNS[index // 3])


def test_a_folder_of_photographs_with_gps_values_is_a_data_set(folder):
    exif = Image.Exif()
    exif[0x8825] = {1: 'N', 2: (45.8, 0.0, 0.0), 3: 'E', 4: (16.0, 0.0, 0.0)}
    (folder / 'photos' / 'home').mkdir(parents=True)
    Image.new('RGB', (4, 4)).save(folder / 'photos' / 'home' / 'a.jpg', exif=exif)
    data = PlacesDataset('photos', data_root=str(folder))
    assert [data.get_data_info(k)['img_path'] for k in range(len(data))] == [
        str(folder / 'photos/home/a.jpg')
    ]
    assert data.get_data_info(0)['gt_label'] == data.partition.assign(TOWNS[:1])[0]


def test_photographs_in_no_cell_stay_in_a_test(folder):
    data = PlacesDataset('test.csv', data_root=str(folder), test_mode=True)
    assert [data.get_data_info(k)['gt_label'] >= 0 for k in range(2)] == [True, False]


@pytest.mark.parametrize(
    ('make', 'says'),
    [
        (lambda folder: (folder / 'train.csv_4.png').unlink(), r'train.csv_4.png is not there'),
        (lambda folder: (folder / 'train.csv').unlink(), 'not a readable CSV file'),
        (lambda folder: write_photos(folder, [(0.5, 0.5)]), 'none of 1 photographs lies in a cell'),
        (lambda folder: write_photos(folder, [(91, 0.5)]), 'latitude must lie in -90..90, got 91'),
        (lambda folder: (folder / 'cells.json').unlink(), 'cells.json: no such file; mbv1 cells makes it'),
    ],
)
def test_wrong_data_are_refused(folder, make, says):
    make(folder)
    with pytest.raises(InputError, match=says):
        PlacesDataset('train.csv', data_root=str(folder))


def test_coordinates_far_from_all_cells_are_suspected_to_be_swapped(folder, caplog):
    # Zagreb the other way round is in Yemen: on land, but nowhere near a cell.
    write_photos(folder, [(16.0, 45.8), (16.1, 45.7)], 'test.csv')
    with caplog.at_level(logging.WARNING):
        PlacesDataset('test.csv', data_root=str(folder), test_mode=True)
    assert 'latitude and longitude look swapped' in caplog.text


def samples(labels):
    return [BaseDataElement(gt_label=torch.tensor([label])) for label in labels]


def test_the_head_learns_by_cross_entropy(folder):
    head = PlacesHead(8, 'cells.json', data_root=str(folder))
    features = (torch.randn(5, 8),)
    labels = [0, 2, 1, 1, 0]
    expected = F.cross_entropy(features[0] @ head.fc.weight.T + head.fc.bias, torch.tensor(labels))
    assert head.loss(features, samples(labels))['loss'].item() == pytest.approx(expected.item())


def test_a_checkpoint_carries_the_cells(folder):
    cells = Partition.load(folder / 'cells.json')
    state = PlacesHead(8, 'cells.json', data_root=str(folder)).state_dict()
    other = PlacesHead(8, num_classes=3)
    other.load_state_dict(state)
    found = partition_of(other.cells)
    assert found.ids.tolist() == cells.ids.tolist()
    assert found.places == pytest.approx(cells.places)
    assert found.photos.tolist() == cells.photos.tolist()


@pytest.mark.parametrize(
    'damage',
    [
        lambda cells: cells.fill_(torch.nan),
        lambda cells: cells[:, 8:16].fill_(255),
        lambda cells: cells[:, :2].fill_(-7),
        lambda cells: cells[:, 3].add_(0.5),
        lambda cells: cells[:, 7].add_(2),  # no level has its last bit there
        lambda cells: cells[0].copy_(cells[1]),
        lambda cells: cells.resize_(len(cells), 5),
    ],
)
def test_damaged_cells_of_a_checkpoint_are_refused(damage, folder):
    cells = cells_of(Partition.load(folder / 'cells.json'))
    damage(cells)
    with pytest.raises(DamagedFileError):
        partition_of(cells)


def test_cells_survive_an_average_over_processes(folder):
    table = cells_of(Partition.load(folder / 'cells.json'))
    for processes in (2, 3, 7, 256):
        averaged = sum([table] * processes) / processes
        assert torch.equal(averaged, table)


@pytest.mark.parametrize('kind', [torch.float32, torch.float16, torch.bfloat16])
def test_cells_survive_every_type_of_float(kind):
    """Devices without float64 (Apple's) could not hold them."""
    places = np.random.default_rng(0).uniform(-1, 1, (50, 2)) * (89, 180)
    ids = cell_ids(*places.T)
    places = places[ids.argsort()]
    cells = Partition(np.sort(ids), places, np.arange(1, 51) * 10**6)
    assert cells_of(cells).dtype == torch.float32
    found = partition_of(cells_of(cells).to(kind))
    assert found.ids.tolist() == cells.ids.tolist()
    assert np.abs(found.places - places).max() <= 0.51e-7
    assert found.photos.tolist() == cells.photos.tolist()


def other_cells(folder, change):
    """A file of cells with the same numbers as the folder's, and something else."""
    content = json.loads((folder / 'cells.json').read_text())
    change(content['cells'][0])
    (folder / 'cells.json').write_text(json.dumps(content))


OTHERS = {
    'places of the cells': lambda row: row.__setitem__(1, row[1] + 0.001),
    'numbers of photographs in the cells': lambda row: row.__setitem__(3, row[3] - 1),
}


@pytest.mark.parametrize('what', OTHERS)
def test_a_checkpoint_of_the_same_cells_with_other_places_is_refused(what, folder):
    state = PlacesHead(8, 'cells.json', data_root=str(folder)).state_dict()
    other_cells(folder, OTHERS[what])
    with pytest.raises(InputError, match=rf'cells.json: not the {what} that the network was trained with'):
        PlacesHead(8, 'cells.json', data_root=str(folder)).load_state_dict(state)


class Network(torch.nn.Module):
    def __init__(self, head):
        super().__init__()
        self.head = head


def exported(cells):
    model = ExportedModel.__new__(ExportedModel)
    torch.nn.Module.__init__(model)
    places, photos = tuple(map(tuple, cells.places.tolist())), tuple(cells.photos.tolist())
    spec = SimpleNamespace(classes=cells.names, places=places, photos=photos)
    model.session = SimpleNamespace(spec=spec, path='places.onnx')
    return model


@pytest.mark.parametrize('kind', ['pytorch', 'exported'])
def test_data_and_metrics_of_other_cells_than_the_networks_are_refused(kind, folder):
    head = PlacesHead(8, 'cells.json', data_root=str(folder))
    cells = Partition.load(folder / 'cells.json')
    model = Network(head) if kind == 'pytorch' else exported(cells)

    def loop(data=None, *metrics):
        return SimpleNamespace(
            dataloader=SimpleNamespace(dataset=data), evaluator=SimpleNamespace(metrics=metrics)
        )

    def loops():
        data = PlacesDataset('train.csv', data_root=str(folder))
        return loop(RepeatDataset(data, 2)), loop(None, PlacesMetric('cells.json', data_root=str(folder)))

    check_cells(model, *loops(), None)
    whole = (folder / 'cells.json').read_bytes()
    for what, change in OTHERS.items():
        (folder / 'cells.json').write_bytes(whole)
        other_cells(folder, change)
        for one in loops():
            with pytest.raises(InputError, match=f'not the {what} that the network was trained with'):
                check_cells(model, one)


class Told:
    """A network that says of itself what a test wants, with as many classes."""

    def __init__(self, cells, outputs=None, **said):
        spec = exported(cells).session.spec
        self.spec = SimpleNamespace(**{**vars(spec), 'kind': 'classifier', 'size': (8, 8), **said})
        self.outputs = outputs or len(cells)

    def run(self, images):
        return (np.zeros((len(images), self.outputs), np.float32),)


@pytest.mark.parametrize(
    ('said', 'says'),
    [
        (lambda cells: dict(places=((91, 500), *cells.places[1:])), 'have no place'),
        (lambda cells: dict(places=((float('nan'), 2), *cells.places[1:])), 'have no place'),
        (lambda cells: dict(places=tuple(cells.places[::-1])), 'does not lie in it'),
        (lambda cells: dict(places=tuple(cells.places[:2])), '3 cells, but 2 places and 3 numbers'),
        (lambda cells: dict(classes=cells.names[:2]), '2 cells, but 3 places'),
        (lambda cells: dict(classes=cells.names[:2], photos=()), '2 cells, but 3 places$'),
        (lambda cells: dict(photos=(3, 3)), '3 places and 2 numbers of photographs'),
        (lambda cells: dict(photos=(3, 3, 0)), 'number of photographs'),
        (lambda cells: dict(classes=('zz', *cells.names[1:])), "not the token of an S2 cell: 'zz'"),
        (lambda cells: dict(places=tuple((p,) for p in cells.places[:, 0])), 'cells cannot be read'),
    ],
)
def test_an_exported_network_whose_cells_are_no_partition_is_refused(said, says, folder):
    cells = Partition.load(folder / 'cells.json')
    Locator(Classifier(Told(cells)), 'x.onnx')
    Locator(Classifier(Told(cells, photos=())), 'x.onnx')  # of an older export
    with pytest.raises(InputError, match=rf'^x\.onnx: .*{says}'):
        Locator(Classifier(Told(cells, **said(cells))), 'x.onnx')


def test_an_exported_network_of_more_classes_than_cells_is_refused(folder):
    cells = Partition.load(folder / 'cells.json')
    with pytest.raises(InputError, match=r'^x\.onnx: 4 classes, but 3 cells$'):
        Locator(Classifier(Told(cells, outputs=4)), 'x.onnx')


@pytest.mark.parametrize('crop', [-1, 0, 1.5, float('nan'), 'x', True])
def test_an_exported_network_whose_crop_is_no_share_is_refused(crop):
    spec = ModelSpec('classifier', (8, 8), 'fp32', '', {})
    text = json.dumps({**json.loads(spec.as_text()), 'crop': crop})
    with pytest.raises(InputError, match=r'x\.onnx: says crop=.*, must lie above 0, up to 1'):
        ModelSpec.from_text(text, Path('x.onnx'))


def test_an_exported_network_of_something_else_places_nothing(folder):
    model = exported(Partition.load(folder / 'cells.json'))
    model.session.spec.places = ()
    metric = PlacesMetric('cells.json', data_root=str(folder))
    loop = SimpleNamespace(
        dataloader=SimpleNamespace(dataset=None), evaluator=SimpleNamespace(metrics=[metric])
    )
    with pytest.raises(InputError, match=r'places\.onnx: not a network of places'):
        check_cells(model, loop)


def test_a_checkpoint_of_other_cells_is_refused(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp('other')
    Partition.fit(np.repeat(-TOWNS[:3], 3, 0), 3, 2).save(other / 'cells.json')
    state = PlacesHead(8, 'cells.json', data_root=str(other)).state_dict()
    with pytest.raises(InputError, match='not the cells that the network was trained with'):
        PlacesHead(8, 'cells.json', data_root=str(folder)).load_state_dict(state)


def test_a_head_without_cells_neither_learns_nor_locates(tmp_path):
    head = PlacesHead(8, 'cells.json', num_classes=3, data_root=str(tmp_path))
    with pytest.raises(InputError, match='mbv1 cells makes it'):
        head.loss((torch.zeros(1, 8),), samples([0]))
    with pytest.raises(InputError, match='without cells'):
        partition_of(head.cells)
    with pytest.raises(InputError, match='no such file'):
        PlacesHead(8, 'cells.json', data_root=str(tmp_path))
    with pytest.raises(ValueError, match='num_classes must be at least 2, got None'):
        PlacesHead(8)


def test_a_config_is_given_as_many_cells_as_its_checkpoint_has(folder):
    state = {
        f'head.{k}': v for k, v in PlacesHead(8, 'cells.json', data_root=str(folder)).state_dict().items()
    }
    model = dict(
        type='ImageClassifier', head=dict(type='PlacesHead', cells='elsewhere.json', num_classes=9600)
    )
    assert without_cells_file(model, state)['head'] == dict(type='PlacesHead', cells=None, num_classes=3)
    other = dict(head=dict(type='LinearClsHead'))
    assert without_cells_file(other, state) is other


def test_the_metric_counts_by_distance(folder):
    metric = PlacesMetric('cells.json', data_root=str(folder))
    cells = metric.partition
    [zagreb] = cells.assign(TOWNS[:1])
    # At the place; 10 km north; 150 km north; half the world away.
    truth = [(45.8, 16.0), (45.89, 16.0), (47.15, 16.0), (-45.0, -160.0)]
    for number, (latitude, longitude) in enumerate(truth):
        sample = dict(
            img_path=str(number), pred_label=torch.tensor([zagreb]), latitude=latitude, longitude=longitude
        )
        metric.process(None, [sample, sample])  # a repeated one counts once
    found = metric.evaluate(8)
    shares = [found[f'places/within_{limit}km'] for limit in (1, 25, 200, 750, 2500)]
    assert shares == [25, 50, 75, 75, 75]
    assert found['places/median_km'] == pytest.approx(80, abs=2)
    plain = PlacesMetric('cells.json', data_root=str(folder), baselines=False)
    plain.process(None, [sample])
    assert list(plain.evaluate(1)) == [f'places/within_{limit}km' for limit in (1, 25, 200, 750, 2500)]


def test_the_prior_is_the_place_of_the_cell_with_the_most_photographs(tmp_path):
    Partition.fit(np.repeat(TOWNS[:2], (3, 5), 0), 5, 2).save(tmp_path / 'cells.json')
    metric = PlacesMetric('cells.json', data_root=str(tmp_path))
    for number, (latitude, longitude) in enumerate(TOWNS.tolist()):
        sample = dict(
            img_path=str(number), pred_label=torch.tensor([0]), latitude=latitude, longitude=longitude
        )
        metric.process(None, [sample])
    assert metric.evaluate(4)['places/prior_1km'] == 25


@pytest.mark.parametrize('limit', [1, 25, 200, 750, 2500])
def test_a_distance_of_the_limit_counts(limit):
    assert shares_within(np.array([limit, limit * 1.0001]), 'x')[f'x_{limit}km'] == 50


def test_the_most_alike_photograph_is_found():
    rng = np.random.default_rng(0)
    vectors, probes = rng.normal(size=(300, 16)), rng.normal(size=(40, 16))
    places = rng.uniform(-90, 90, (300, 2))
    expected = []
    for probe in probes:
        cosines = [probe @ vector / np.linalg.norm(vector) for vector in vectors]
        expected.append(places[int(np.argmax(cosines))].tolist())
    assert nearest_places(vectors, places, probes).tolist() == expected


def test_the_photographs_to_look_among_are_each_there_once_whatever_wraps_them(folder):
    """A data set in another one was an error, and every process embedded all photographs."""
    write_photos(folder, [TOWNS[0].tolist()], 'more.csv')
    init_default_scope('mmpretrain')
    first = dict(type='PlacesDataset', data_root=str(folder), ann_file='train.csv', pipeline=[])
    second = {**first, 'ann_file': 'more.csv'}
    both = dict(type='ConcatDataset', datasets=[dict(type='RepeatDataset', dataset=first, times=3), second])
    step = dict(type='LoadPhoto')
    test = dict(type='RepeatDataset', times=2, dataset={**first, 'pipeline': [step]})
    cfg = Config(dict(train_dataloader=dict(dataset=both), test_dataloader=dict(dataset=test)))
    photos = _training_photos(SimpleNamespace(cfg=cfg))
    paths = [data[index]['img_path'] for data, index in photos]  # read by the test's pipeline
    assert len(set(paths)) == len(paths) == 11  # with the one that lies in no cell


@pytest.mark.parametrize(('count', 'processes'), [(10, 1), (10, 3), (2, 3), (6, 3)])
def test_processes_share_the_photographs(count, processes):
    shares = [_share(count, rank, processes) for rank in range(processes)]
    assert len({len(share) for share in shares}) == 1
    assert [index for row in zip(*shares, strict=True) for index in row][:count] == [*range(count)]
    assert len(shares[0]) == -(-count // processes)


def test_a_photograph_that_cannot_be_read_is_named(folder):
    """It was an assertion that failed."""
    (folder / 'train.csv_0.png').write_bytes(b'no picture')
    pipeline = load_config('places_mbv1_1.0-224').train_dataloader.dataset.pipeline
    init_default_scope('mmpretrain')
    data = PlacesDataset('train.csv', data_root=str(folder), pipeline=pipeline)
    loader = torch.utils.data.DataLoader(data, num_workers=1)
    with pytest.raises(InputError) as caught:
        next(iter(loader))
    assert 'train.csv_0.png: cannot be decoded' in one_line(caught.value)


CELLS_MISTAKES = {
    'a token with an underscore': ('cells', 0, 0, '1_0'),
    'a token of other digits': ('cells', 0, 0, '\uff11'),
    'a token that is a number': ('cells', 0, 0, 4),
    'a latitude in quotes': ('cells', 0, 1, '45'),
    'a latitude that is true': ('cells', 0, 1, True),
    'photographs that are a fraction': ('cells', 0, 3, 1.7),
    'photographs that are true': ('cells', 0, 3, True),
    'photographs that are negative': ('cells', 0, 3, -1),
    'settings in quotes': ('max_photos', '3'),
    'settings that are a fraction': ('min_level', 1.7),
    'settings that are true': ('left_out', True),
    'settings that contradict': ('min_photos', 9),
}


@pytest.mark.parametrize('name', CELLS_MISTAKES)
def test_odd_values_in_a_file_of_cells_are_refused(name, folder):
    *places, last, value = CELLS_MISTAKES[name]
    content = json.loads((folder / 'cells.json').read_text())
    part = content
    for place in places:
        part = part[place]
    part[last] = value
    (folder / 'cells.json').write_text(json.dumps(content))
    with pytest.raises(DamagedFileError, match=r'cells\.json: its cells'):
        Partition.load(folder / 'cells.json')


def test_training_photographs_are_embedded_as_in_a_test(monkeypatch):
    """mmengine's loop puts the model into evaluation mode only after the hook."""
    seen = []
    hook = NearestPhotographHook()
    monkeypatch.setattr('mbv1_backbone.geolocation.nearest._training_photos', lambda runner: None)
    monkeypatch.setattr(hook, '_embed', lambda runner, dataset: seen.append(runner.model.training))
    model = torch.nn.Module()
    model.neck = torch.nn.Identity()
    hook.before_test_epoch(SimpleNamespace(model=model.train(), logger=logging.getLogger()))
    assert seen == [False]


def test_an_exported_network_is_tested_without_the_nearest_photographs(caplog):
    hook, metrics = NearestPhotographHook(), {'places/within_1km': 5.0}
    runner = SimpleNamespace(model=object(), logger=logging.getLogger())
    hook.before_test_epoch(runner)
    hook.after_test_iter(runner, 0, outputs=[object()])
    hook.after_test_epoch(runner, metrics)
    assert metrics == {'places/within_1km': 5.0}
    assert 'the model has no neck' in caplog.text


def test_a_file_of_cells_says_how_it_was_made(folder):
    content = json.loads((folder / 'cells.json').read_text())
    assert {k: content[k] for k in ('max_photos', 'min_photos', 'min_level', 'left_out')} == dict(
        max_photos=3, min_photos=2, min_level=0, left_out=1
    )
