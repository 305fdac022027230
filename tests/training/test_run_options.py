"""Averaged weights, an early end, mosaics, a start from other classes and a time: options of a run."""

import argparse
import copy
import json
import logging
import math
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.datasets import MultiImageMixDataset
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, HOOKS, METRICS, MODELS
from support.small_run import small_config

from mbv1_backbone.cli.main import main
from mbv1_backbone.cli.train_options import seconds
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.compat.registry import use_scope
from mbv1_backbone.training import load_config, read_checkpoint, time_budget
from mbv1_backbone.training.averaging import RunEMAHook, use_averaging, use_early_stop
from mbv1_backbone.training.mosaic import MosaicOffHook, use_mosaic
from mbv1_backbone.training.run import resume_from, train
from mbv1_backbone.training.time_budget import use_time_budget
from mbv1_backbone.training.warm_start import start_of, use_warm_start

NOW = [0.0]
VALIDATION = [2.0]
SEEN = []


@HOOKS.register_module()
class Ticks(Hook):
    """Steps of a second, validations of two batches; notes weights and rates."""

    priority = 'VERY_HIGH'

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        NOW[0] += 1
        SEEN.append((runner.optim_wrapper.get_lr()['lr'][0], copy.deepcopy(runner.model.state_dict())))

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        NOW[0] += VALIDATION[0]


@METRICS.register_module()
class Scores(BaseMetric):
    """What the test says, validation by validation."""

    def __init__(self, values):
        super().__init__()
        self.values = list(values)

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return dict(score=self.values.pop(0) if self.values else 0.0)


@pytest.fixture
def config(tmp_path):
    def build(epochs=2, scores=None, **changes):
        SEEN.clear()
        NOW[0], VALIDATION[0] = 0.0, 2.0
        cfg = small_config(tmp_path / 'run', epochs, custom_hooks=[dict(type='Ticks')], **changes)
        if scores is not None:
            cfg.val_dataloader = copy.deepcopy(cfg.train_dataloader)
            cfg.val_cfg = dict(type='ValLoop')
            cfg.val_evaluator = dict(type='Scores', values=scores)
            cfg.default_hooks.checkpoint.update(save_best='score', rule='greater')
        return cfg

    return build


def test_the_average_is_the_exponential_mean_and_a_resumed_run_has_the_same(config, tmp_path):
    cfg = config(30)
    use_averaging(cfg)
    again = copy.deepcopy(cfg)
    train(cfg)
    mean = None
    for step, (_, weights) in enumerate(SEEN):
        now = weights['layer.weight'].double()
        share = max(0.1, 10 / (10 + step))  # 1 / (.05 * 60 steps) would be more than a tenth
        mean = now if mean is None else mean * (1 - share) + now * share
    saved = torch.load(tmp_path / 'run' / 'epoch_30.pth', weights_only=True)
    torch.testing.assert_close(saved['state_dict']['layer.weight'].double(), mean, atol=1e-6, rtol=0)
    torch.testing.assert_close(saved['ema_state_dict']['module.layer.weight'], SEEN[-1][1]['layer.weight'])
    assert not torch.equal(saved['state_dict']['layer.weight'], SEEN[-1][1]['layer.weight'])
    again.work_dir = str(tmp_path / 'again')
    (tmp_path / 'again').mkdir()
    shutil.copy(tmp_path / 'run' / 'epoch_28.pth', tmp_path / 'again')
    resume_from(again, 'auto')
    train(again)
    resumed = torch.load(tmp_path / 'again' / 'epoch_30.pth', weights_only=True)
    torch.testing.assert_close(resumed['state_dict'], saved['state_dict'])


def test_a_run_stops_once_its_best_lies_back_and_says_which_it_is(config, tmp_path, capsys):
    cfg = config(10, [0.1, 0.5, 0.5, 0.4, 0.6])
    use_early_stop(cfg, 2)
    train(cfg)
    out = ''.join(capsys.readouterr())
    assert 'score is no better than 0.500 since 2 validations: training stops here, at epoch 4' in out
    assert f'best: {tmp_path / "run" / "best_score_epoch_2.pth"}' in out
    assert (tmp_path / 'run' / 'best_score_epoch_2.pth').is_file()
    assert len(SEEN) == 8


def test_a_resumed_run_knows_how_long_ago_its_best_was(config, tmp_path):
    cfg = config(10, [0.5, 0.4, 0.3])
    use_early_stop(cfg, 3)
    first = copy.deepcopy(cfg)
    first.train_cfg.max_epochs = 3
    train(first)
    cfg.val_evaluator['values'] = [0.45] * 9
    resume_from(cfg, 'auto')
    train(cfg)  # epoch 3's own validation came after its checkpoint
    assert len(SEEN) == 2 * 5
    assert (tmp_path / 'run' / 'best_score_epoch_1.pth').is_file()


def test_a_better_value_that_the_hook_did_not_hear_of_begins_the_count_anew(config):
    cfg = config(9, [0.5, 0.4, 0.6])
    use_early_stop(cfg, 2)
    first = copy.deepcopy(cfg)
    first.train_cfg.max_epochs = 3
    train(first)
    cfg.val_evaluator['values'] = [0.55] * 9
    resume_from(cfg, 'auto')
    train(cfg)
    assert len(SEEN) == 2 * 5


@pytest.mark.parametrize('scores', [None, [0.1] * 99])
def test_a_run_ends_in_its_time_with_a_whole_checkpoint_and_the_rate_at_0(
    config, tmp_path, monkeypatch, scores
):
    monkeypatch.setattr(time_budget, '_now', lambda: NOW[0])
    cfg = config(2, scores)
    use_time_budget(cfg, 100)
    train(cfg)
    rates = [rate for rate, _ in SEEN]
    base = cfg.optim_wrapper.optimizer.lr
    assert 85 < NOW[0] <= 100
    assert (scores is None) == (len(SEEN) > 90)
    assert rates[0] < 0.05 * base < 0.95 * base < max(rates) <= base
    assert rates[-1] < 0.005 * base
    assert np.argmax(rates) < 10
    last = max((tmp_path / 'run').glob('epoch_*.pth'), key=lambda path: int(path.stem[6:]))
    assert last.name == f'epoch_{math.ceil(len(SEEN) / 2)}.pth'
    torch.testing.assert_close(read_checkpoint(last).state, dict(SEEN[-1][1]))
    if scores is not None:
        (log,) = (tmp_path / 'run').glob('*/vis_data/scalars.json')
        left = [json.loads(line) for line in log.read_text().splitlines()]
        assert 4 < sum('score' in line for line in left) < 12  # a seventh of the time, the last of the end


@pytest.mark.parametrize('batch', [1, 3, 8, 14])
def test_long_validations_neither_take_most_of_the_time_nor_end_after_it(config, monkeypatch, batch):
    monkeypatch.setattr(time_budget, '_now', lambda: NOW[0])
    cfg = config(2, [0.1] * 99)
    VALIDATION[0] = batch
    cfg.default_hooks.checkpoint.interval = 20
    use_time_budget(cfg, 100)
    train(cfg)
    assert 80 < NOW[0] <= 100
    assert len(SEEN) > 30


def test_a_validation_that_is_too_long_for_the_time_is_said(config, monkeypatch, capsys):
    monkeypatch.setattr(time_budget, '_now', lambda: NOW[0])
    cfg = config(2, [0.1] * 99)
    VALIDATION[0] = 30
    use_time_budget(cfg, 100)
    train(cfg)
    said = ''.join(capsys.readouterr())
    assert said.count('a validation takes 60 s of the 100 s of --time-budget') == 1


def test_a_resumed_run_gets_its_time_from_where_it_had_got_with_the_rate_of_the_config(
    config, tmp_path, monkeypatch
):
    monkeypatch.setattr(time_budget, '_now', lambda: NOW[0])
    cfg = config(2)
    use_time_budget(cfg, 100)
    cfg.default_hooks.checkpoint.interval = 20
    again = copy.deepcopy(cfg)
    train(cfg)
    steps, then = len(SEEN), NOW[0]
    again.optim_wrapper.optimizer.lr = 3e-4
    use_time_budget(again, 60)
    resume_from(again, 'auto')
    train(again)
    rates = [rate for rate, _ in SEEN[steps:]]
    assert 50 < NOW[0] - then <= 60
    assert len(rates) == NOW[0] - then
    assert rates[0] < 0.1 * 3e-4 < 0.95 * 3e-4 < max(rates) <= 3e-4
    last = max((tmp_path / 'run').glob('epoch_*.pth'), key=lambda path: int(path.stem[6:]))
    assert torch.load(last, weights_only=True)['meta']['iter'] == len(SEEN)


def test_a_config_that_a_run_left_starts_its_time_anew(config, monkeypatch):
    monkeypatch.setattr(time_budget, '_now', lambda: NOW[0])
    cfg = config(1)
    cfg.train_dataloader.batch_size = 8  # a step an epoch
    cfg.default_hooks.checkpoint.interval = 20
    use_time_budget(cfg, 60)
    NOW[0] = 1000.0
    monkeypatch.setattr(time_budget, '_HERE', 'another process')
    train(cfg)
    assert 50 < len(SEEN) <= 60


def test_all_processes_go_by_the_clock_of_the_first(config, monkeypatch):
    """Else one leaves the epoch a step before another, which waits for it for ever."""
    monkeypatch.setattr(time_budget, '_now', lambda: 5 * NOW[0])

    def broadcast(gone):
        gone[:] = NOW[0]

    monkeypatch.setattr(time_budget, 'broadcast', broadcast)
    cfg = config(2, [0.1] * 99)
    use_time_budget(cfg, 100)
    train(cfg)
    assert 85 < NOW[0] <= 100


def test_the_average_looks_back_on_a_share_of_a_run_in_a_given_time(config, monkeypatch):
    monkeypatch.setattr(time_budget, '_now', lambda: NOW[0])
    seen = []
    original = RunEMAHook.after_train_iter

    def noted(self, runner, **args):
        original(self, runner, **args)
        seen.append(self.ema_model.momentum)

    monkeypatch.setattr(RunEMAHook, 'after_train_iter', noted)
    cfg = config(2)  # four steps, of which there is no twentieth
    cfg.default_hooks.checkpoint.interval = 1000
    use_averaging(cfg)
    use_time_budget(cfg, 600)
    train(cfg)
    assert seen[-1] == pytest.approx(1 / (0.05 * 595), rel=0.02)


class Loader:
    """Ten steps an epoch."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return 10


@pytest.mark.parametrize(('epochs', 'off'), [(1, None), (2, 1), (3, 2), (7, 6), (10, 8), (20, 17), (100, 85)])
def test_mosaics_end_before_the_run_does(epochs, off):
    skipped = []
    data = SimpleNamespace(update_skip_type_keys=lambda _: skipped.append(runner.iter // 10))
    runner = SimpleNamespace(
        train_dataloader=Loader(data), max_iters=10 * epochs, iter=0, logger=logging.getLogger()
    )
    hook = MosaicOffHook()
    for runner.iter in range(0, 10 * epochs, 10):
        hook.before_train_epoch(runner)
    assert skipped == ([] if off is None else [off])


def test_what_is_of_other_classes_starts_anew_and_all_else_is_kept():
    head = 'bbox_head.cls_convs.0.weight'
    target = {
        'backbone.w': torch.zeros(2, 3),
        head: torch.zeros(6, 4),
        'n.num_batches_tracked': torch.ones(1),
    }
    state = {'backbone.w': torch.ones(2, 3), head: torch.ones(9, 4)}
    kept, new = start_of(target, state, 'a.pth')
    assert (list(kept), new) == (['backbone.w'], [head])
    for wrong, complaint in (
        ({**state, 'backbone.w': torch.ones(3, 3)}, r'backbone\.w \(3, 3\) instead of \(2, 3\)'),
        ({**state, head: torch.ones(9, 5)}, r'cls_convs\.0\.weight \(9, 5\) instead of \(6, 4\)'),
        ({head: state[head]}, r'backbone\.w missing'),
        ({**state, 'neck.w': torch.ones(1)}, r'neck\.w unknown'),
    ):
        with pytest.raises(InputError, match=f'--warm-start a.pth is of another network.*{complaint}'):
            start_of(target, wrong, 'a.pth')


@pytest.mark.parametrize(
    ('classes', 'anew'), [(('ball', 'car'), 0), (('car', 'ball'), 12), (('cat', 'dog'), 12), (('cat',), 12)]
)
def test_as_many_other_classes_are_other_classes(tiny_config, tmp_path, classes, anew):
    """By their names: rows of the head that have learnt a cat start anew where there are cars."""

    def config_of(names):
        options = {'model.bbox_head.num_classes': len(names)}
        cfg = load_config(tiny_config, options)
        cfg.train_dataloader.dataset.metainfo = dict(classes=names)
        return cfg

    use_scope('mmdet')
    there = config_of(('ball', 'car'))
    state = MODELS.build({**there.model, '_scope_': 'mmdet'}).state_dict()
    torch.save(
        dict(state_dict=state, meta=dict(dataset_meta=dict(classes=('ball', 'car')))), tmp_path / 'a.pth'
    )
    here = config_of(classes)
    use_warm_start(here, str(tmp_path / 'a.pth'))
    names = here.custom_hooks[-1].get('anew', ())
    assert len(names) == anew
    assert all(name.startswith('bbox_head.cls_convs') for name in names)
    target = MODELS.build({**here.model, '_scope_': 'mmdet'}).state_dict()
    kept, new = start_of(target, state, 'a.pth', names)
    assert sorted(new) == sorted(names)
    assert len(kept) + len(new) == len(target)


def test_times_are_read_and_refused():
    found = {text: seconds(text) for text in ('30m', '2h', '1h30m', '90s', '1h0m5s')}
    assert found == {'30m': 1800, '2h': 7200, '1h30m': 5400, '90s': 90, '1h0m5s': 3605}
    for text in ('', '30', 'm', '-5m', '1.5h', '30 m', '5s', '0h', '1m1h'):
        with pytest.raises(argparse.ArgumentTypeError):
            seconds(text)


def test_mosaics_end_with_the_run_and_boxes_stay_on_their_objects(tiny_config, demo_data):
    cfg = load_config(tiny_config, None, str(demo_data))
    use_mosaic(cfg)
    use_scope('mmdet')
    kinds = [step['type'] for step in cfg.train_dataloader.dataset.pipeline]
    assert kinds[0] == 'Mosaic'
    assert 'Expand' not in kinds
    cfg.train_dataloader.dataset.pipeline[0]['prob'] = 1.0
    cfg.train_dataloader.dataset.pipeline[1:-1] = []
    data = DATASETS.build(dict(cfg.train_dataloader.dataset, _scope_='mmdet'))
    assert isinstance(data, MultiImageMixDataset)
    np.random.seed(0)
    mixed = [data[index] for index in range(6)]
    assert {tuple(sample['inputs'].shape) for sample in mixed} == {(3, 192, 192)}
    assert sum(len(sample['data_samples'].gt_instances) for sample in mixed) > 30
    data.update_skip_type_keys(['Mosaic'])
    assert data[0]['inputs'].shape != (3, 192, 192)


@pytest.mark.parametrize(
    ('use', 'changes', 'complaint'),
    [
        (use_early_stop, dict(val_dataloader={}), 'save_best'),
        (use_early_stop, dict(val_dataloader=None), 'has no validation'),
        (use_averaging, dict(custom_hooks=[dict(type='EMAHook')]), 'has an EMAHook of its own'),
        (use_time_budget, dict(train_cfg=dict(type='IterBasedTrainLoop', max_iters=3)), 'by epochs'),
        (use_time_budget, dict(train_cfg=dict(by_epoch=False, max_iters=3)), 'has IterBasedTrainLoop'),
        (use_mosaic, {}, 'for detectors whose training data has a pipeline'),
    ],
)
def test_options_that_are_not_for_a_config_are_one_line(tmp_path, use, changes, complaint):
    cfg = small_config(tmp_path)
    for key, value in changes.items():
        cfg[key] = value
    with pytest.raises(InputError, match=complaint) as refused:
        use(cfg, 60) if use in (use_early_stop, use_time_budget) else use(cfg)
    assert '\n' not in str(refused.value)
    with pytest.raises(InputError, match='trains on masks'):
        use_mosaic(load_config('configs/detection/mask_rcnn_mbv1_fpn_pennfudan.py'))


@pytest.mark.parametrize(
    ('options', 'complaint'),
    [
        (['--qat', 'a.pth', '--ema'], '--ema is not for --qat'),
        (['--warm-start', 'a.pth', '--pretrained'], '--warm-start and --pretrained both say'),
        (['--warm-start', 'a.pth'], 'checkpoint a.pth: no such file'),
        (['--time-budget', '30'], 'must be a time such as 30m'),
        (['--early-stop', '0'], 'must be at least 1'),
    ],
)
def test_the_verb_refuses_in_one_line(tiny_config, demo_data, tmp_path, capsys, options, complaint):
    command = ['train', str(tiny_config), '--data-root', str(demo_data), '--work-dir', str(tmp_path / 'w')]
    with pytest.raises(SystemExit) as left:
        raise SystemExit(main([*command, *options]))
    assert left.value.code == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / 'w').exists()


@pytest.mark.parametrize(('start', 'complaint'), [('', 'got an empty one'), ('no_such_name', 'no_such_name')])
def test_a_start_is_looked_for_before_data_is_read(tmp_path, capsys, start, complaint):
    work = tmp_path / 'w'
    command = ['train', '--data', str(tmp_path), '--model', 'ssd_mbv1', '--work-dir', str(work)]
    assert main([*command, '--warm-start', start]) == 2
    message = capsys.readouterr().err
    assert complaint in message
    assert message.count('\n') == 1
    assert not work.exists()


def test_a_network_of_faces_is_no_start_for_boxes(tmp_path, capsys):
    name = 'facenet_mbv1_1.0-160_color'
    command = ['train', '--data', str(tmp_path), '--warm-start', name, '--work-dir', str(tmp_path / 'w')]
    assert main(command) == 2
    assert f'--warm-start {name}: of faces, no start for boxes' in capsys.readouterr().err
    assert not (tmp_path / 'w').exists()


@pytest.mark.slow
def test_all_of_them_train_a_detector(tiny_config, demo_data, tmp_path, capsys):
    base = [str(tiny_config), '--data-root', str(demo_data), '--no-amp', '--work-dir']
    assert main(['train', *base, str(tmp_path / 'a'), '--cfg-options', 'train_cfg.max_epochs=1']) == 0
    first = tmp_path / 'a' / 'epoch_1.pth'
    path = tmp_path / 'two.py'
    loaders = ''.join(
        f"{name}_dataloader = dict(dataset=dict(metainfo=dict(classes=('ball', 'car'))))\n"
        for name in ('train', 'val', 'test')
    )
    path.write_text(f'_base_ = {str(tiny_config)!r}\nmodel = dict(bbox_head=dict(num_classes=2))\n{loaders}')
    command = ['train', str(path), *base[1:], str(tmp_path / 'b'), '--warm-start', str(first), '--ema']
    assert main([*command, '--early-stop', '3', '--mosaic', '--auto-scale-lr']) == 0
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if line.startswith('starts from')]
    assert 'anew, as they are of other classes: ' in line
    assert 'bbox_head.cls_convs.0' in line
    saved = torch.load(tmp_path / 'b' / 'epoch_2.pth', weights_only=True)
    assert 'ema_state_dict' in saved
    assert (
        main(
            ['test', str(path), str(tmp_path / 'b' / 'epoch_2.pth'), *base[1:3], '--work-dir', str(tmp_path)]
        )
        == 0
    )
