"""One run a work folder; no checkpoint of lost weights; configs that are wrong in one line."""

import errno
import fcntl
import os
import subprocess
import sys
import time

import pytest
import torch
from mmengine.hooks import CheckpointHook
from support.small_run import small_config

from mbv1_backbone import MobileNetV1
from mbv1_backbone.common.errors import InputError, LockedError
from mbv1_backbone.training import load_config
from mbv1_backbone.training.checkpoint import latest_checkpoint
from mbv1_backbone.training.checks import check_training, schedule_note
from mbv1_backbone.training.config import require_data
from mbv1_backbone.training.guards import only_run
from mbv1_backbone.training.run import resume_from, train

HOLD = """
import sys, time
from mbv1_backbone.training.guards import only_run
with only_run(sys.argv[1]):
    print('held', flush=True)
    time.sleep(60)
"""


def test_a_second_run_in_a_work_folder_is_refused_until_the_first_is_killed(tmp_path):
    with subprocess.Popen(
        [sys.executable, '-c', HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == 'held\n'
        with pytest.raises(LockedError, match=f'in use by another training run .*process {other.pid} on'):
            train(small_config(tmp_path))
        assert [p.name for p in tmp_path.iterdir()] == ['.training.lock']
        other.kill()
    for _ in range(100):
        try:
            with only_run(tmp_path):
                return
        except LockedError:
            time.sleep(0.1)
    pytest.fail('the lock of a killed run stays')


def test_a_second_run_of_a_process_writes_its_curves_into_its_own_folder(tmp_path):
    """mmdet's configs name their visualizer, and mmengine has one of a name in a process."""
    named = dict(type='Visualizer', name='visualizer', vis_backends=[dict(type='LocalVisBackend')])
    for place in ('first', 'second'):
        train(small_config(tmp_path / place, epochs=1, visualizer=named))
        assert len([*(tmp_path / place).glob('*/vis_data/scalars.json')]) == 1


@pytest.mark.parametrize('poison', [float('nan'), float('inf')])
def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_good_checkpoint(poison, tmp_path):
    options = {'default_hooks.checkpoint.max_keep_ckpts': 1}
    train(small_config(tmp_path, epochs=1, **options))
    before = (tmp_path / 'epoch_1.pth').read_bytes()
    cfg = small_config(tmp_path, epochs=3, **options, **{'train_dataloader.dataset.poison': poison})
    resume_from(cfg, 'auto')
    with pytest.raises(InputError, match=r'not finite since iteration 4: training stops.*epoch_1\.pth'):
        train(cfg)
    assert (tmp_path / 'epoch_1.pth').read_bytes() == before
    assert latest_checkpoint(tmp_path).name == 'epoch_1.pth'
    assert not list(tmp_path.glob('*epoch_2*'))


def test_weights_that_are_not_finite_are_not_written_either(tmp_path):
    cfg = small_config(tmp_path, epochs=1, **{'optim_wrapper.optimizer.lr': 1e38})
    cfg.param_scheduler = None
    with pytest.raises(InputError, match='not finite'):
        train(cfg)
    assert not list(tmp_path.glob('*.pth'))


WRONG = {
    'classes as text': (
        {'train_dataloader.dataset.metainfo': dict(classes='ball')},
        r"train_dataloader: metainfo.classes must be .* got 'ball'; of one: \('ball',\)",
    ),
    'one class twice': (
        {'train_dataloader.dataset.metainfo': dict(classes=['a', 'a'])},
        "repeat a name, got 'a' twice",
    ),
    'another number': (
        {'model.bbox_head': dict(num_classes=3)},
        r'bbox_head.num_classes=3, but .* 2 classes',
    ),
    'a head of several': (
        {'model.roi_head': dict(bbox_head=[dict(num_classes=2), dict(num_classes=5)])},
        r'roi_head.bbox_head\[1\].num_classes=5',
    ),
    'a checkpoint interval of text': (
        {'default_hooks.checkpoint.interval': 'x'},
        r"default_hooks\.checkpoint\.interval must be a whole number, got 'x'",
    ),
    'a validation interval of text': ({'train_cfg.val_interval': 'x'}, r"val_interval must be .*, got 'x'"),
    'epochs of text': ({'train_cfg.max_epochs': 'x'}, r"train_cfg\.max_epochs must be .*, got 'x'"),
    'a validation interval of 0': ({'train_cfg.val_interval': 0}, 'val_interval must be .*, got 0'),
    'a mistyped optimizer': (
        {'optim_wrapper.optimizer.type': 'Adamm'},
        r'optim_wrapper\.optimizer\.type: there is no optimizer Adamm',
    ),
    'no optimizer': ({'optim_wrapper': None}, 'has no optim_wrapper'),
}


@pytest.mark.parametrize('name', WRONG)
def test_a_config_that_cannot_train_is_one_line(name, tmp_path):
    changes, complaint = WRONG[name]
    cfg = small_config(tmp_path)
    cfg.train_dataloader.dataset.metainfo = dict(classes=('a', 'b'))
    cfg.merge_from_dict(changes)
    with pytest.raises(InputError, match=complaint):
        check_training(cfg)


@pytest.mark.parametrize(('kind', 'decay'), [('AdamW', 0.01), ('SGD', 0)])
def test_an_optimizer_without_weight_decay_gets_its_own_default(kind, decay, tmp_path):
    """mmengine's constructor raises "base_wd should not be None"."""
    cfg = small_config(tmp_path, epochs=1)
    cfg.optim_wrapper = dict(optimizer=dict(type=kind, lr=1e-3), paramwise_cfg=dict(norm_decay_mult=0.0))
    train(cfg)
    saved = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)['optimizer']['param_groups']
    assert {group['weight_decay'] for group in saved} == {decay}


def test_a_data_prefix_may_be_one_folder_as_mmpretrain_has_it(tmp_path):
    cfg = small_config(tmp_path)
    cfg.train_dataloader.dataset = dict(type='ImageNet', data_root=str(tmp_path), data_prefix='train')
    with pytest.raises(InputError, match='train does not exist'):
        require_data(cfg, 'train_dataloader')
    (tmp_path / 'train').mkdir()
    require_data(cfg, 'train_dataloader')


BROKEN = {
    'empty': ('', 'has no model'),
    'raises': ('1 / 0', 'division by zero'),
    'exits': ('raise SystemExit(3)', 'config .*: 3'),
    'itself': ("_base_ = 'itself.py'\nmodel = dict(type='x')", 'its own base: itself.py -> itself.py'),
    'circle': ("_base_ = ['other.py']", 'its own base: circle.py -> other.py -> circle.py'),
    'model is a number': ('model = 5', 'has no model'),
    'backbone is a number': ('model = dict(backbone=5)', 'backbone must be a dict, got 5'),
}


@pytest.mark.parametrize('name', BROKEN)
def test_a_config_that_does_anything_wrong_is_one_line(name, tmp_path):
    content, complaint = BROKEN[name]
    (tmp_path / f'{name.split()[0]}.py').write_text(content)
    (tmp_path / 'other.py').write_text("_base_ = 'circle.py'")
    with pytest.raises(InputError, match=complaint):
        load_config(tmp_path / f'{name.split()[0]}.py')


def test_a_schedule_that_ends_before_the_training_is_said(tmp_path):
    cfg = small_config(tmp_path, epochs=2)
    assert schedule_note(cfg) == ''
    cfg.train_cfg.max_epochs = 6
    assert 'ends at epoch 2, training at 6' in schedule_note(cfg)
    cfg.param_scheduler = dict(type='MultiStepLR', milestones=[1])
    assert schedule_note(cfg) == ''


def test_a_training_that_ends_before_its_schedule_is_said(tmp_path):
    """A run that was shortened by max_epochs alone kept the long warm-up, and nothing was said."""
    cfg = small_config(tmp_path, epochs=16)
    assert schedule_note(cfg, 32) == ''
    assert 'training ends at step 2, param_scheduler at step 3: the learning rate' in schedule_note(cfg, 2)
    cfg.train_cfg.max_epochs = 4
    assert 'training ends at epoch 4, param_scheduler at epoch 16: the' in schedule_note(cfg, 8)


def test_damaged_weights_to_start_from_are_found_before_the_first_step(tmp_path):
    train(small_config(tmp_path / 'first', epochs=1, **{'model.outputs': 4000}))
    path = tmp_path / 'first' / 'epoch_1.pth'
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    path.write_bytes(content)
    cfg = small_config(tmp_path / 'second', **{'model.outputs': 4000})
    cfg.load_from = str(path)
    with pytest.raises(InputError, match=r'epoch_1\.pth: is damaged'):
        train(cfg)
    backbone = MobileNetV1(0.25, init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    with pytest.raises(InputError, match=r'epoch_1\.pth: is damaged'):
        backbone.init_weights()


def test_on_a_file_system_without_locks_a_run_goes_on_with_a_warning(tmp_path, monkeypatch, caplog):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, 'lockf', no_locks)
    with caplog.at_level('WARNING', 'mbv1_backbone'), only_run(tmp_path):
        pass
    assert f'work folder {tmp_path}: its file system has no locks (No locks available)' in caplog.text


@pytest.mark.parametrize(
    'hooks',
    [
        None,
        {},
        dict(checkpoint=dict(type='mmengine.CheckpointHook')),
        dict(checkpoint=dict(type=CheckpointHook)),
        dict(checkpoint=dict(type='mmengine.hooks.CheckpointHook')),
    ],
)
def test_mmengines_checkpoint_hook_is_replaced_however_it_is_named(hooks, tmp_path):
    cfg = small_config(tmp_path)
    cfg.default_hooks = hooks
    check_training(cfg)
    assert cfg.default_hooks.checkpoint.type == 'SafeCheckpointHook'


@pytest.mark.parametrize('hook', [None, dict(type='CheckpointHook', backend_args=dict(backend='local'))])
def test_a_checkpoint_hook_that_is_switched_off_or_writes_elsewhere_stays(hook, tmp_path):
    cfg = small_config(tmp_path)
    cfg.default_hooks.checkpoint = hook
    check_training(cfg)
    assert cfg.default_hooks.checkpoint == hook


@pytest.mark.parametrize('there', [False, True])
def test_a_run_that_is_refused_leaves_its_work_folder_as_it_was(there, tmp_path):
    work_dir = tmp_path / 'runs' / 'one'
    if there:
        (work_dir / 'log').mkdir(parents=True)
        (work_dir / 'log' / 'scalars.json').write_text('{}')
        (work_dir / 'small.py').write_text('mine')
    before = {
        path: path.is_file() and path.read_bytes() for path in tmp_path.rglob('*') if path.name[0] != '.'
    }
    cfg = small_config(work_dir)
    cfg.filename, cfg.experiment_name = str(tmp_path / 'small.py'), f'refused_{there}'
    cfg.train_dataloader.update(batch_size=16, drop_last=True)
    with pytest.raises(InputError, match='8 training images do not fill one batch'):
        train(cfg)
    after = {
        path: path.is_file() and path.read_bytes() for path in tmp_path.rglob('*') if path.name[0] != '.'
    }
    assert after == before
    cfg.train_dataloader.update(batch_size=4)
    cfg.experiment_name = 'next'  # mmengine keeps one visualizer a name and second
    train(cfg)  # and nothing is in the way of the next run
    assert (work_dir / 'epoch_2.pth').is_file()
