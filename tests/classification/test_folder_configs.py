"""Configs on folders of photographs: Table 10's networks, and a run of an ordinary ``mbv1 train``."""

import json

import pytest
from mmengine.registry import init_default_scope
from support.classes import draw_folder

from mbv1_backbone import training
from mbv1_backbone.cli.main import main

# The paper's Table 10: million mult-adds and params.
TABLE_10 = {'1.0-224': (569, 3.3), '0.75-224': (325, 1.9), '1.0-192': (418, 3.3), '0.75-192': (239, 1.9)}


def test_nothing_but_json_is_printed_after_work_in_another_scope(capsys):
    init_default_scope('mmengine')
    capsys.readouterr()  # it may say that the scope was another one
    assert main(['complexity', 'mbv1_1.0-224_folder', '--json']) == 0
    assert json.loads(capsys.readouterr().out)


@pytest.mark.parametrize('step', ['web', 'stanford'])
@pytest.mark.parametrize('network', TABLE_10)
def test_the_networks_are_those_of_table_10(network, step, capsys):
    assert main(['complexity', f'mbv1_{network}_{step}-dogs', '--json']) == 0
    layers = json.loads(capsys.readouterr().out)
    mult_adds, params = TABLE_10[network]
    assert sum(layer['mult_adds'] for layer in layers) / 1e6 == pytest.approx(mult_adds, rel=0.004)
    assert sum(layer['params'] for layer in layers) / 1e6 == pytest.approx(params, abs=0.05)


@pytest.mark.parametrize('network', TABLE_10)
def test_both_steps_train_the_same_network_on_data_of_their_own(network):
    web, dogs = (training.load_config(f'mbv1_{network}_{step}-dogs') for step in ('web', 'stanford'))
    assert web.model == dogs.model
    assert web.train_dataloader.dataset.data_root == 'data/web_dogs'
    assert dogs.train_dataloader.dataset.data_root == 'data/stanford_dogs'
    size = int(network.rpartition('-')[2])
    for cfg in (web, dogs):
        assert cfg.train_dataloader.dataset.pipeline[1].scale == size
        assert cfg.test_dataloader.dataset.pipeline[1]['size'] == size


def test_missing_data_says_where_it_comes_from(tmp_path, capsys):
    given = ['train', 'mbv1_1.0-224_stanford-dogs', '--work-dir', str(tmp_path / 'run')]
    assert main(given) == 2
    assert 'mbv1 convert stanford-dogs FOLDER' in capsys.readouterr().err


def test_an_ordinary_run_evaluates_both_accuracies(tmp_path, capsys):
    options = {
        'model.backbone.widen_factor': 0.25,
        'model.head.in_channels': 256,
        'model.head.num_classes': 3,
        'train_cfg.max_epochs': 1,
    }
    root = draw_folder(tmp_path / 'photographs', train=4, test=2)
    cfg = training.load_config('mbv1_1.0-224_folder', options, str(root), str(tmp_path / 'run'))
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(batch_size=4, num_workers=0, persistent_workers=False)
        pipeline = loader.dataset.pipeline
        pipeline[1]['scale' if pipeline[1].type == 'RandomResizedCrop' else 'size'] = 32
    training.train(cfg)
    found = training.read_checkpoint(tmp_path / 'run' / 'epoch_1.pth')
    assert found.meta['dataset_meta']['classes'] == ('ant', 'bee', 'cat')
    out = capsys.readouterr().out
    assert 'accuracy/top1' in out
    assert 'single-label/recall' in out
