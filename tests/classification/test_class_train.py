"""mbv1 classify train: from a folder of photographs to a network that every other verb takes."""

import json

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from support.classes import draw_folder

from mbv1_backbone import load, training
from mbv1_backbone.cli.main import main
from mbv1_backbone.common.images import read_image
from mbv1_backbone.inference.exportable import exportable, input_of
from mbv1_backbone.inference.resolve import resolve
from mbv1_backbone.models import MobileNetV1
from mbv1_backbone.models.recipe import Recipe
from mbv1_backbone.weights import import_weights
from mbv1_backbone.weights.store import Weights, read_weights, write_weights


@pytest.fixture(scope='module')
def start(tmp_path_factory):
    """Weights of a small classifier of other classes: random, with statistics of patterns."""
    torch.manual_seed(0)
    backbone = MobileNetV1(widen_factor=0.25, padding='same', act_cfg=dict(type='ReLU6'))
    for module in backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        backbone.train()(torch.nn.functional.interpolate(torch.rand(32, 3, 4, 4) * 2 - 1, 32))
    state = {n: t for n, t in backbone.state_dict().items() if not n.endswith('_tracked')}
    state |= {'head.fc.weight': torch.randn(7, 256), 'head.fc.bias': torch.zeros(7)}
    recipe = Recipe('test', 0.25, 'same', dict(type='ReLU6'), input_size=32)
    path = tmp_path_factory.mktemp('start') / 'start.safetensors'
    write_weights(Weights(state, recipe, kind='classifier'), path)
    return path


@pytest.fixture(scope='module')
def photographs(tmp_path_factory):
    return draw_folder(tmp_path_factory.mktemp('photographs'), classes=4, train=8, test=4)


@pytest.fixture(scope='module')
def frozen(photographs, start, tmp_path_factory):
    """The result of a linear classifier on fixed features."""
    work_dir = tmp_path_factory.mktemp('frozen') / 'run'
    words = ['classify', 'train', photographs, '--pretrained', start, '--frozen', '--work-dir', work_dir]
    assert main([*map(str, words)]) == 0
    return work_dir


def results_of(work_dir):
    return json.loads((work_dir / 'results.json').read_text())


def test_a_linear_classifier_leaves_the_backbone_as_it_was(frozen, start):
    before, after = read_weights(start).state, read_weights(frozen / 'model.safetensors').state
    for name, tensor in before.items():
        if name.startswith('rows.'):
            assert torch.equal(after[f'backbone.{name}'], tensor), name
    assert after['head.fc.weight'].shape == (4, 256)
    results = results_of(frozen)
    assert results['top1'] > 0.9
    assert (results['classes'], results['train'], results['test']) == (4, 32, 16)
    assert results['linear']['folds'] == 4
    assert (frozen / 'confusion.png').stat().st_size > 5000


def test_the_result_is_what_test_and_load_say_too(frozen, photographs, tmp_path):
    config, weights = frozen / 'config.py', frozen / 'model.safetensors'
    results = results_of(frozen)
    cfg = training.load_config(config, work_dir=str(tmp_path))
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
    found = training.evaluate(cfg, str(weights))
    assert found['accuracy/top1'] == pytest.approx(100 * results['top1'], abs=1e-4)
    assert found['single-label/recall'] == pytest.approx(100 * results['mean_per_class'], abs=1e-4)
    classifier = load(config, weights, kind='classifier', backend='torch', precision='fp32')
    assert tuple(classifier.network.spec.classes) == ('ant', 'bee', 'cat', 'dog')
    right = [
        classifier.classify(p).argmax() == label
        for label, name in enumerate(classifier.network.spec.classes)
        for p in (photographs / 'test' / name).iterdir()
    ]
    assert np.mean(right) == results['top1']


def test_training_testing_and_export_see_the_same_pixels(frozen, photographs):
    cfg = training.load_config(frozen / 'config.py')
    init_default_scope('mmpretrain')
    path = next((photographs / 'test' / 'bee').iterdir())
    packed = Compose(cfg.test_dataloader.dataset.pipeline)(dict(img_path=str(path)))
    spec = exportable(resolve(frozen / 'config.py', frozen / 'model.safetensors')).spec
    expected = input_of(read_image(path), spec)
    assert expected.shape == (32, 32, 3)
    assert (packed['inputs'].numpy()[::-1].transpose(1, 2, 0) == expected).all()


def test_the_result_is_exported_and_says_its_classes(frozen, photographs, tmp_path, capsys):
    model = [str(frozen / 'config.py'), str(frozen / 'model.safetensors')]
    images = str(photographs / 'test')
    out = str(tmp_path / 'pets.onnx')
    assert main(['export', *model, '--to', 'onnx', '--out', out, '--images', images, '--num', '4']) == 0
    words = ['--top', '1', '--precision', 'fp32']
    assert main(['classify', 'predict', out, str(photographs / 'test' / 'cat'), *words]) == 0
    assert capsys.readouterr().out.count(': cat ') >= 3


@pytest.mark.slow
def test_the_whole_network_is_trained_from_the_linear_classifier(photographs, shared, tmp_path, capsys):
    start = shared / 'weights' / 'mobilenet_v1_0.25_128_quant.tflite'  # its batch norms are folded
    words = ['classify', 'train', photographs, '--pretrained', start, '--work-dir', tmp_path / 'run']
    words += ['--epochs', 2, '--batch-size', 8, '--size', 64]
    assert main([*map(str, words)]) == 0
    assert 'linear classifier on 256 features' in capsys.readouterr().out
    results = results_of(tmp_path / 'run')
    assert (results['epochs'], results['batch_size'], results['lr']) == (2, 8, 0.01)
    assert results['top1'] > 0.6
    after = read_weights(tmp_path / 'run' / 'model.safetensors')
    assert after.classes == ('ant', 'bee', 'cat', 'dog')
    name = 'rows.13.pointwise.conv.weight'
    assert not torch.equal(after.state[f'backbone.{name}'], import_weights(start).state[name])
    cfg = training.load_config(tmp_path / 'run' / 'config.py')
    assert cfg.test_dataloader.dataset.pipeline[1]['size'] == 64
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(0.01 * 8 / 32)


def test_what_cannot_be_read_is_counted(photographs, start, tmp_path, capsys):
    root = draw_folder(tmp_path / 'a', classes=2, train=4, test=0)
    (root / 'ant' / 'x.jpg').write_bytes(b'no image')
    words = ['classify', 'train', root, '--pretrained', start, '--frozen', '--work-dir', tmp_path / 'run']
    assert main([*map(str, words)]) == 0
    out = capsys.readouterr().out
    assert 'left out: 1 of 9 photographs that cannot be read' in out
    assert '25% of each class, held out by seed 0' in out


@pytest.mark.parametrize(
    ('classes', 'words', 'message'),
    [
        (1, [], 'one class, ant'),
        (2, ['--lr', '0'], '--lr must be more than 0 and finite, got 0'),
        (2, ['--lr', 'inf'], '--lr must be more than 0 and finite, got inf'),
        (2, ['--seed', '4294967296'], '--seed: must lie in 0..2**32 - 1, got 4294967296'),
        (2, ['--size', '100000'], '--size must be at most 1024, got 100000'),
        (2, ['--size', '8'], 'must be at least 32'),
        (2, ['--frozen', '--epochs', '3'], '--frozen trains the last layer alone; --epochs is of'),
        (2, ['--held-out', '.5'], 'has test/ to test with'),
        (2, ['--pretrained', 'no/such_weights'], 'no/such_weights'),
    ],
)
def test_what_is_refused_leaves_nothing_behind(classes, words, message, start, tmp_path, capsys):
    root = draw_folder(tmp_path / 'a', classes=classes)
    given = ['classify', 'train', root, '--pretrained', start, '--work-dir', tmp_path / 'run', *words]
    assert main([*map(str, given)]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'run').exists()


def test_a_folder_with_an_earlier_run_is_refused(photographs, frozen, start, capsys):
    given = ['classify', 'train', photographs, '--pretrained', start, '--work-dir', frozen]
    assert main([*map(str, given)]) == 2
    assert 'is not an empty folder' in capsys.readouterr().err


@pytest.mark.parametrize('work_dir', ['', '--work-dir=ant/run'])
def test_results_do_not_land_among_the_photographs(work_dir, start, tmp_path, monkeypatch, capsys):
    """The next run took their pictures for a class."""
    monkeypatch.chdir(draw_folder(tmp_path / 'a'))
    words = ['classify', 'train', '.', '--pretrained', str(start), *filter(None, [work_dir])]
    assert main(words) == 2
    assert 'lies in ., among the photographs' in capsys.readouterr().err


def test_weights_are_looked_for_before_photographs_are_decoded(photographs, tmp_path, monkeypatch, capsys):
    def never(*_):
        raise AssertionError('photographs were decoded')

    monkeypatch.setattr('mbv1_backbone.classification.folders.without_unreadable', never)
    words = ['classify', 'train', photographs, '--pretrained', 'none.pth', '--work-dir', tmp_path / 'run']
    assert main([*map(str, words)]) == 2
    assert 'none.pth' in capsys.readouterr().err
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('place', ['photographs', 'run'])
def test_folders_whose_names_a_config_would_change_are_refused(place, start, tmp_path, capsys):
    """mmengine put the config's own name in place of it, and the written network could not be read."""
    folder = tmp_path / ('{{fileBasename}}' if place == 'photographs' else 'photographs')
    draw_folder(folder, classes=2, train=2)
    work_dir = tmp_path / ('{{fileBasename}}' if place == 'run' else 'run')
    words = ['classify', 'train', folder, '--pretrained', start, '--frozen', '--work-dir', work_dir]
    assert main([*map(str, words)]) == 2
    assert 'has {{ in its name' in capsys.readouterr().err
    assert not work_dir.exists()


def test_photographs_that_were_trained_on_are_said(start, tmp_path, capsys):
    draw_folder(tmp_path / 'a', classes=2, train=3)
    (tmp_path / 'a' / 'test' / 'ant' / '9.jpg').write_bytes(
        (tmp_path / 'a' / 'train' / 'ant' / '0.jpg').read_bytes()
    )
    words = [
        'classify',
        'train',
        tmp_path / 'a',
        '--pretrained',
        start,
        '--frozen',
        '--work-dir',
        tmp_path / 'r',
    ]
    assert main([*map(str, words)]) == 0
    assert 'byte by byte, in another part or class: 1; the first: ' in capsys.readouterr().out
