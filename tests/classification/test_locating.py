"""Places from end to end, by the command line: a drawn world, its cells, a network, and maps."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.project import ROOT

from mbv1_backbone.classification.coordinates import read_located
from mbv1_backbone.classification.outlines import is_land
from mbv1_backbone.classification.partition import Partition
from mbv1_backbone.classification.place_metric import DISTANCES
from mbv1_backbone.classification.sphere import great_circle
from mbv1_backbone.classification.world_data import TOWNS, draw_place, make_world, towns_of
from mbv1_backbone.cli import networks
from mbv1_backbone.cli.main import main
from mbv1_backbone.inference.classifier import Classifier
from mbv1_backbone.runtime.spec import ModelSpec

TINY = """
_base_ = {base!r}
train_pipeline = [
    dict(type='LoadPhoto'),
    dict(type='Resize', scale=64, backend='pillow'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadPhoto'),
    dict(type='MiddleSquare', size=64),
    dict(type='PackInputs', meta_keys=('img_path', 'latitude', 'longitude')),
]
data = dict(data_root={root!r})
process = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(batch_size=16, dataset=dict(pipeline=train_pipeline, **data), **process)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline, **data), **process)
test_dataloader = val_dataloader
val_evaluator = data
test_evaluator = data
model = dict(head=dict(data_root={root!r}))
max_epochs = 8
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
"""


def test_a_world_is_drawn_the_same_again(tmp_path):
    assert make_world(tmp_path / 'a', 6, 3) == dict(train=6, test=3)
    make_world(tmp_path / 'b', 4, 3)
    first, second = (read_located(tmp_path / name / 'train.csv') for name in 'ab')
    assert second.files == first.files[:4]
    image = 'images/train_00003.jpg'
    assert (tmp_path / 'a' / image).read_bytes() == (tmp_path / 'b' / image).read_bytes()
    assert len(list((tmp_path / 'a' / 'images').iterdir())) == 9


def test_towns_are_apart_and_on_land():
    towns = towns_of(np.random.default_rng(0))
    assert len(towns) == TOWNS
    assert is_land(towns).all()
    between = [great_circle(towns[k : k + 1], towns[:k]).min() for k in range(1, TOWNS)]
    assert min(between) > 700


def test_a_places_look_depends_on_where_it_is():
    def colours(latitude, longitude):
        drawn = [np.asarray(draw_place(np.random.default_rng(k), latitude, longitude)) for k in range(12)]
        return np.mean(drawn, (0, 1, 2))

    here, again = colours(45, 15), colours(45.001, 15.001)
    assert np.abs(here - again).max() < 2
    for other in (colours(5, 15), colours(80, 15), colours(45, -100), colours(45, 140)):
        assert np.abs(here - other).max() > 4


def test_cells_are_written_said_and_drawn(tmp_path, capsys):
    make_world(tmp_path, 120, 1)
    words = ['cells', str(tmp_path / 'train.csv'), '--out-dir', str(tmp_path)]
    assert main([*words, '--max-photos', '10', '--min-photos', '2']) == 0
    cells = Partition.load(tmp_path / 'cells.json')
    assert f'{len(cells)} cells of 120 photographs' in capsys.readouterr().out
    assert Image.open(tmp_path / 'cells.png').width == 960
    assert main([*words, '--min-photos', '500', '--max-photos', '500']) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith('error: 120 photographs: 0 cells of 500 to 500')
    assert Partition.load(tmp_path / 'cells.json').ids.tolist() == cells.ids.tolist()


def located_photo(path, latitude, longitude):
    exif = Image.Exif()
    exif[0x8825] = {1: 'N', 2: (latitude, 0.0, 0.0), 3: 'E', 4: (longitude, 0.0, 0.0)}
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (8, 8)).save(path, exif=exif)


def test_the_map_of_cells_is_no_photograph_of_the_next_run(tmp_path, capsys, caplog):
    located_photo(tmp_path / 'a.jpg', 45.8, 16.0)
    located_photo(tmp_path / 'b.jpg', 10.0, 10.0)
    words = ['cells', str(tmp_path), '--out-dir', str(tmp_path), '--max-photos', '1', '--min-photos', '1']
    for _ in range(2):
        assert main(words) == 0
        said = capsys.readouterr().out
        assert '2 cells of 2 photographs; levels' in said
        assert 'to 1 photograph each' in said
        assert 'left out' not in said + caplog.text


def test_a_photograph_is_not_overwritten_by_the_map(tmp_path, capsys):
    located_photo(tmp_path / 'a.jpg', 45.8, 16.0)
    located_photo(tmp_path / 'b.jpg', 10.0, 10.0)
    words = ['cells', str(tmp_path), '--out-dir', str(tmp_path), '--max-photos', '1', '--min-photos', '1']
    Image.new('RGB', (8, 8)).save(tmp_path / 'cells.png')  # without GPS values, and no cells beside it
    located_photo(tmp_path / 'x.png', 1.0, 1.0)
    kept = (tmp_path / 'x.png').read_bytes()
    for make in (lambda: None, lambda: (tmp_path / 'x.png').replace(tmp_path / 'cells.png')):
        make()
        assert main(words) == 2
        assert 'is also read' in capsys.readouterr().err
    (tmp_path / 'cells.png').unlink()
    assert main(words) == 0
    (tmp_path / 'cells.png').write_bytes(kept)  # a photograph, beside cells of an earlier run
    assert main(words) == 2
    assert (tmp_path / 'cells.png').read_bytes() == kept


@pytest.mark.parametrize('name', ['cells.json', 'cells.png'])
def test_cells_do_not_overwrite_what_they_are_made_of(name, tmp_path, capsys):
    table = tmp_path / ('cells.json' if name == 'cells.json' else 'train.csv')
    table.write_text('file,latitude,longitude\ncells.png,45.8,16\nb.jpg,10,10\n')
    Image.new('RGB', (8, 8)).save(tmp_path / 'cells.png')
    kept = (tmp_path / name).read_bytes()
    words = ['--out-dir', str(tmp_path), '--max-photos', '1', '--min-photos', '1']
    assert main(['cells', str(table), *words]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f'error: --out-dir {tmp_path / name}: is also read')
    assert (tmp_path / name).read_bytes() == kept


class Drawn:
    """A network of places that gives every photograph the same answer."""

    parallel = 1

    def __init__(self, cells):
        places = tuple(map(tuple, cells.places.tolist()))
        self.spec = ModelSpec(
            'classifier', (8, 8), 'fp32', '', {}, cells.names, places=places, photos=tuple(cells.photos)
        )

    def run(self, images):
        return (np.tile(np.float32([0.9, 0.1]), (len(images), 1)),)


@pytest.fixture
def drawn(monkeypatch):
    """``a.onnx`` gives the first of two cells."""
    cells = Partition.fit(np.array([[10.0, 10.0], [45.8, 16.0]]), 1, 1)
    monkeypatch.setattr(networks, 'open_network', lambda *args, **options: Classifier(Drawn(cells)))


def test_gps_values_of_nowhere_are_not_compared(drawn, tmp_path, caplog):
    located_photo(tmp_path / 'a.jpg', 0.0, 0.0)
    located_photo(tmp_path / 'b.jpg', 10.0, 10.0)
    words = ['locate', 'a.onnx', str(tmp_path), '--out-dir', str(tmp_path / 'out'), '--no-pictures']
    assert main(words) == 0
    first, second = json.loads((tmp_path / 'out' / 'locations.json').read_text())
    assert 'gps' not in first
    assert second['gps']['distance_km'] == 0
    assert 'a.jpg: GPS values 0, 0 often stand for unknown, and are not compared' in caplog.text


@pytest.mark.parametrize('verb', [['locate'], ['classify', 'predict']])
def test_a_name_with_a_line_break_is_one_line(verb, drawn, tmp_path, capsys):
    Image.new('RGB', (8, 8)).save(tmp_path / 'a\nb.png')
    words = [*verb, 'a.onnx', str(tmp_path / 'a\nb.png'), '--out-dir', str(tmp_path / 'out'), '--no-pictures']
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if r'a\nb.png' in line]
    assert not [line for line in lines if line.startswith('b.png')]
    assert lines[-1].endswith(': places of 1 photograph' if verb == ['locate'] else ': classes of 1 image')
    [result] = json.loads(next((tmp_path / 'out').glob('*.json')).read_text())
    assert result['file_name'] == str(tmp_path / 'a\nb.png')


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A folder with a world, a config, and a network that has learned for seconds."""
    folder = tmp_path_factory.mktemp('world')
    make_world(folder, 900, 150)
    cells = ['--out-dir', str(folder), '--max-photos', '20', '--min-photos', '4']
    assert main(['cells', str(folder / 'train.csv'), *cells]) == 0
    base = str(ROOT / 'configs' / 'classification' / 'places_mbv1_0.25-64_demo.py')
    (folder / 'tiny.py').write_text(TINY.format(base=base, root=str(folder)))
    assert main(['train', str(folder / 'tiny.py'), '--work-dir', str(folder / 'run'), '--no-amp']) == 0
    return folder


@pytest.mark.slow
def test_training_beats_the_prior_at_every_distance(trained, capfd):
    words = [
        str(trained / 'tiny.py'),
        str(trained / 'run' / 'epoch_8.pth'),
        '--work-dir',
        str(trained / 'test'),
    ]
    assert main(['test', *words]) == 0
    said = capfd.readouterr()
    found = {name: float(value) for name, value in re.findall(r'(places/\w+): ([\d.]+)', said.out + said.err)}
    for limit in DISTANCES:
        assert found[f'places/within_{limit}km'] > found[f'places/prior_{limit}km'] + 2, limit
        assert found[f'places/nearest_{limit}km'] > found[f'places/prior_{limit}km'], limit


@pytest.mark.slow
def test_photographs_are_located_whatever_runs_the_network(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('MBV1_CPU_BF16', '0')  # after a few epochs many cells are nearly as likely
    photos = [str(trained / 'images' / f'test_0000{k}.jpg') for k in range(5)]
    checkpoint = [str(trained / 'tiny.py'), str(trained / 'run' / 'epoch_8.pth')]
    moved = trained / 'cells.json'
    kept = moved.read_bytes()
    cells = Partition.load(moved)
    moved.unlink()  # a checkpoint has its cells with it
    weights = str(tmp_path / 'places.safetensors')
    try:
        assert main(['publish', *checkpoint, '--half', '--out', weights]) == 0
        published = [
            'locate',
            str(trained / 'tiny.py'),
            weights,
            *photos,
            '--out-dir',
            str(tmp_path / 'half'),
        ]
        assert main([*published, '--no-pictures']) == 0
        words = ['locate', *checkpoint, *photos, '--out-dir', str(tmp_path / 'out'), '--backend', 'torch']
        assert main([*words, '--precision', 'fp32']) == 0
        export = ['export', *checkpoint, '--to', 'onnx', '--out', str(tmp_path / 'places.onnx')]
        assert main([*export, '--images', str(trained / 'images')]) == 0
    finally:
        moved.write_bytes(kept)
    found = json.loads((tmp_path / 'out' / 'locations.json').read_text())
    places = dict(zip(cells.names, cells.places.round(6).tolist(), strict=True))
    for result in found:
        scores = [place['probability'] for place in result['locations']]
        assert scores == sorted(scores, reverse=True)
        assert len(scores) == 5
        assert 0 < sum(scores) <= 1.00001
        for place in result['locations']:
            assert [place['latitude'], place['longitude']] == pytest.approx(places[place['cell']], abs=2e-6)
        assert (tmp_path / 'out' / f'{Path(result["file_name"]).stem}.png').is_file()
    assert (
        main(
            [
                'locate',
                str(tmp_path / 'places.onnx'),
                *photos,
                '--out-dir',
                str(tmp_path / 'other'),
                '--no-pictures',
            ]
        )
        == 0
    )
    words = [
        'test',
        str(trained / 'tiny.py'),
        str(tmp_path / 'places.onnx'),
        '--work-dir',
        str(tmp_path / 'run'),
    ]
    assert main(words) == 0  # without the nearest photographs, which need features
    halved = json.loads((tmp_path / 'half' / 'locations.json').read_text())
    assert [r['locations'][0]['cell'] for r in halved] == [r['locations'][0]['cell'] for r in found]
    exported = json.loads((tmp_path / 'other' / 'locations.json').read_text())
    assert [r['locations'][0]['cell'] for r in exported] == [r['locations'][0]['cell'] for r in found]
    assert not list((tmp_path / 'other').glob('*.png'))


@pytest.mark.slow
def test_a_photograph_with_gps_values_is_told_how_far_it_is_off(trained, tmp_path, capsys):
    image = Image.open(trained / 'images' / 'test_00000.jpg')
    exif = Image.Exif()
    exif[0x8825] = {1: 'N', 2: (45.0, 48.0, 54.0), 3: 'E', 4: (15.0, 58.0, 48.0)}
    image.save(tmp_path / 'a.jpg', exif=exif)
    checkpoint = [str(trained / 'tiny.py'), str(trained / 'run' / 'epoch_8.pth')]
    assert main(['locate', *checkpoint, str(tmp_path / 'a.jpg'), '--out-dir', str(tmp_path)]) == 0
    [result] = json.loads((tmp_path / 'locations.json').read_text())
    best = result['locations'][0]
    expected = great_circle(np.array([[best['latitude'], best['longitude']]]), np.array([[45.815, 15.98]]))
    assert result['gps']['distance_km'] == pytest.approx(expected[0], abs=0.1)
    assert 'km from its GPS values' in capsys.readouterr().out


def test_a_network_of_something_else_locates_nothing(shared, tmp_path, capsys):
    Image.new('RGB', (8, 8)).save(tmp_path / 'a.png')
    other = shared / 'weights' / 'mobilenet_v1_0.25_128_quant.tflite'
    assert main(['locate', str(other), str(tmp_path / 'a.png')]) == 2
    assert f'error: {other}: not a network of places' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('words', 'says'),
    [
        (['{config}'], 'give its checkpoint and photographs after it'),
        (['a.onnx'], 'give photographs after it'),
        (['a.onnx', '{photo}'], 'a.onnx: no such file'),
        (['{config}', 'x.pth', 'none.jpg'], 'no image at none.jpg'),
        (['a.onnx', '{photo}', '--no-pictures'], '--no-pictures is about --out-dir'),
    ],
)
def test_wrong_words_are_one_line(tmp_path, capsys, words, says):
    Image.new('RGB', (8, 8)).save(tmp_path / 'a.png')
    given = dict(config='places_mbv1_1.0-224', photo=str(tmp_path / 'a.png'))
    assert main(['locate', *(word.format(**given) for word in words)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert says in line


def test_photographs_that_do_not_fill_a_batch_are_refused(tmp_path, capsys):
    make_world(tmp_path, 12, 1)
    words = ['--max-photos', '6', '--min-photos', '1']
    assert main(['cells', str(tmp_path / 'train.csv'), '--out-dir', str(tmp_path), *words]) == 0
    config = 'places_mbv1_0.25-64_demo'
    assert main(['train', config, '--data-root', str(tmp_path), '--work-dir', str(tmp_path / 'w')]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(
        'error: 12 training images do not fill one batch: train_dataloader.batch_size is 32'
    )


def test_training_without_cells_says_how_to_make_them(tmp_path, capsys):
    make_world(tmp_path, 4, 1)
    assert (
        main(
            ['train', 'places_mbv1_1.0-224', '--data-root', str(tmp_path), '--work-dir', str(tmp_path / 'w')]
        )
        == 2
    )
    line = capsys.readouterr().err.splitlines()[-1]
    assert 'cells.json does not exist' in line
    assert 'mbv1 cells ROOT/train.csv --out-dir ROOT' in line
    assert not (tmp_path / 'w').exists()
