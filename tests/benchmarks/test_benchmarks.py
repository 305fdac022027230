"""Benchmarks measure what they say; how fast it is, they are not asked here."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import backbones, charts, runtimes
from benchmarks.backbones import THEIRS, candidate, candidates, grid, mult_adds, precisions
from benchmarks.detectors import CONFIGS, GOOGLES, OURS, _ours
from benchmarks.face_detectors import measure as measure_faces, megapixel
from benchmarks.timing import machine
from benchmarks.training import Stopwatch
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.face.finder import Faces


def test_mult_adds_are_the_papers():
    assert round(mult_adds(1.0, 224) / 1e6) == 568  # 569 with the classifier's
    assert round(mult_adds(0.25, 128) / 1e6) == 13


@pytest.mark.parametrize('name', ['ours, torch eager', 'ours, torch fp32', *THEIRS])
def test_every_candidate_maps_a_batch_to_one_thirty_second_of_its_size(name, tmp_path):
    run, parallel = candidate(name, tmp_path)
    found = run(np.zeros((2, 224, 224, 3), np.uint8))
    while isinstance(found, (list, tuple)):
        found = found[-1]
    count, _, *size = found.shape
    assert (count, size) == (2, [7, 7])
    assert parallel == 1


def test_the_plane_has_a_cell_for_every_width_and_resolution(tmp_path):
    found = grid((0.25, 0.5), (64, 96), batch=2, rounds=1)
    assert [(cell['width'], cell['side']) for cell in found['cells']] == [
        (0.25, 64),
        (0.25, 96),
        (0.5, 64),
        (0.5, 96),
    ]
    assert all(cell['milliseconds'] > 0 for cell in found['cells'])
    json.dumps(found)
    with Image.open(charts.plane(found, 'Plane', tmp_path / 'plane.png')) as picture:
        assert min(picture.size) > 300


@pytest.mark.parametrize(('fast', 'left_out'), [('1', set()), ('0', {'torch bf16', 'openvino bf16'})])
def test_bfloat16_is_measured_only_where_the_processor_multiplies_in_it(fast, left_out, monkeypatch):
    monkeypatch.setenv('MBV1_CPU_BF16', fast)
    assert set(backbones.OURS) - set(candidates()) == {f'ours, {name}' for name in left_out}
    assert set(THEIRS) < set(candidates())
    assert precisions() == (('fp32', 'bf16') if fast == '1' else ('fp32',))
    assert machine()['precision'] == precisions()[-1]


def test_every_runtime_is_measured_on_each_number_of_threads(monkeypatch):
    names = (runtimes.BASE, 'ONNX Runtime int8', 'LiteRT int8', 'ncnn fp16')
    some = [runtime for runtime in runtimes.RUNTIMES if runtime.name in names]
    monkeypatch.setattr(runtimes, 'RUNTIMES', some)
    found = runtimes.measure(1, (1, 2), width=0.25)
    assert set(found) == set(names)
    for row in found.values():
        assert set(row) == {'mb', 'cpu_1', 'wall_1', 'cpu_2', 'wall_2'}
        assert min(row.values()) > 0
    assert found['LiteRT int8']['mb'] < 0.5 * found[runtimes.BASE]['mb']
    rows = runtimes.table(found).splitlines()[1:]
    assert [float(row[20:].split()[0]) for row in rows] == sorted(
        round(row['cpu_1'], 2) for row in found.values()
    )
    [base] = [row for row in rows if row.startswith(runtimes.BASE)]
    assert base.split()[4] == base.split()[7] == '1.00'


def test_bars_are_drawn(tmp_path):
    panels = {'batch 1': {'ours': 1.0, 'theirs': 3.0}, 'batch 8': {'ours': 0.5, 'theirs': 2.0}}
    path = charts.bars(panels, 'milliseconds', 'Bars', tmp_path / 'bars.png', {'batch 1': 0.4}, log=True)
    with Image.open(path) as picture:
        assert picture.width > picture.height > 100


def test_the_stopwatch_takes_medians_by_stage():
    watch = Stopwatch()
    layer = torch.nn.Identity()
    watch.watch('forward', layer)
    for _ in range(3):
        with watch.stage('whole'):
            layer(torch.zeros(1))
    found = watch.medians()
    assert found.keys() == {'whole', 'forward'}
    assert 0 < found['forward'] <= found['whole']


@pytest.mark.parametrize('config', [*OURS.values(), GOOGLES])
def test_the_compared_configs_are_there(config):
    assert (CONFIGS / f'{config}.py').is_file()


@pytest.mark.slow
def test_untrained_detectors_are_made_to_find_nothing(tmp_path, shared):
    from mbv1_backbone.common.images import find_images

    detector = _ours(CONFIGS / 'ssdlite_mbv1_coco.py', tmp_path / 's.pth')
    for found in detector.detect(find_images([str(shared / 'coco' / 'val2017')])[:2]):
        assert (found.scores < 0.01).all()


@pytest.mark.slow
def test_the_tool_times_a_training_step(tiny_config, demo_data, tmp_path, run):
    options = ('--rounds', '1', '--out', tmp_path)
    done = run(
        *('tools/benchmark.py', *options, 'training', tiny_config, '--data-root', demo_data, '--no-amp')
    )
    step = json.loads((tmp_path / 'training.json').read_text())['result']['step']
    assert {'backward', 'optimiser', 'forward, backbone', 'whole step'} <= step.keys()
    assert step['forward, backbone'] < step['forward and loss'] < step['whole step']
    assert 'data, LoadImage' in done.stdout
    failed = run('tools/benchmark.py', 'detectors', '--photos', tmp_path / 'none', expect=2)
    assert 'no image at' in failed.stderr


def test_the_face_in_the_middle_is_found_or_not():
    photos = [np.full((100, 120, 3), value, np.uint8) for value in (10, 20, 30)]

    def detector(image):
        value = int(image[0, 0, 0])
        boxes = {10: [[40, 30, 80, 70]], 20: [[0, 0, 30, 30]], 30: [[0, 0, 119, 99]]}[value]  # 30: all of it
        return Faces(np.array(boxes, np.float32), np.ones(1, np.float32))

    found = measure_faces({'one': detector}, photos, rounds=1)['one']
    assert (found['recall'], found['faces']) == (pytest.approx(1 / 3), 3)
    assert found['milliseconds'] > 0
    whole = megapixel(photos)
    assert whole.shape == (1000, 1000, 3)
    assert set(np.unique(whole).tolist()) == {10, 20, 30}
    with pytest.raises(InputError, match='no photographs'):
        measure_faces({}, [], 1)
