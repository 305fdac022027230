"""Resuming: the config's schedule, and what is refused before anything is used."""

import os
import zipfile

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from support.small_run import small_config

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.training.checkpoint import latest_checkpoint
from mbv1_backbone.training.run import resume_from, train

RATES = {}


@HOOKS.register_module(force=True)
class RatesHook(Hook):
    """Notes the learning rate of every iteration."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        RATES[runner.iter] = runner.optim_wrapper.get_lr()['lr'][0]


def rates_of(cfg, resume=None):
    RATES.clear()
    cfg.custom_hooks = [dict(type='RatesHook')]
    if resume:
        resume_from(cfg, resume)
    train(cfg)
    return dict(RATES)


@pytest.mark.parametrize(
    'changes',
    [
        {},
        {'param_scheduler.1.eta_min': 1e-4},
        {'optim_wrapper.optimizer.lr': 5e-3},
        {'param_scheduler': [dict(type='MultiStepLR', milestones=[3, 5], by_epoch=True)]},
        {'param_scheduler': [dict(type='PolyLR', by_epoch=True, end=6, convert_to_iter_based=True)]},
    ],
    ids=['more epochs', 'least rate', 'rate', 'another schedule', 'by iterations'],
)
def test_a_resumed_run_has_the_rates_of_one_in_one_go(changes, tmp_path):
    whole = rates_of(small_config(tmp_path / 'whole', epochs=6, **changes))
    train(small_config(tmp_path / 'parts', epochs=2))
    parts = rates_of(small_config(tmp_path / 'parts', epochs=6, **changes), resume='auto')
    assert sorted(parts) == list(range(4, 12))
    assert parts == pytest.approx({key: whole[key] for key in parts})


def test_an_unchanged_schedule_is_the_checkpoints(tmp_path):
    whole = rates_of(small_config(tmp_path / 'whole', epochs=6))
    cfg = small_config(tmp_path / 'parts', epochs=6)
    cfg.train_cfg.max_epochs = 3
    train(cfg)
    parts = rates_of(small_config(tmp_path / 'parts', epochs=6), resume='auto')
    assert parts == pytest.approx({key: whole[key] for key in range(6, 12)})


def test_weights_decay_follows_the_config(tmp_path):
    train(small_config(tmp_path, epochs=1))
    cfg = small_config(tmp_path, epochs=2, **{'optim_wrapper.optimizer.weight_decay': 0.25})
    resume_from(cfg, 'auto')
    train(cfg)
    saved = torch.load(tmp_path / 'epoch_2.pth', weights_only=True)['optimizer']['param_groups']
    assert {group['weight_decay'] for group in saved} == {0.25}


REFUSED = {
    'classes': (
        {'train_dataloader.dataset.metainfo': dict(classes=('b', 'a'))},
        r'has 2 classes \(a, b\), the config 2 \(b, a\)',
    ),
    'more classes': (
        {'train_dataloader.dataset.metainfo': dict(classes=('a', 'b', 'c'))},
        r'has 2 classes \(a, b\), the config 3 \(a, b, c\)',
    ),
    'layers': ({'model.outputs': 3}, r'not of this config: layer.weight \(1, 2\) instead of \(3, 2\)'),
    'optimizer': (
        {'optim_wrapper.optimizer': dict(type='AdamW', lr=1e-3, _delete_=True)},
        'another optimizer',
    ),
}


@pytest.mark.parametrize('name', REFUSED)
def test_another_run_is_refused_before_the_first_step(name, tmp_path):
    changes, complaint = REFUSED[name]
    train(small_config(tmp_path, epochs=1))
    cfg = small_config(tmp_path, epochs=2, **changes)
    resume_from(cfg, 'auto')
    with pytest.raises(InputError, match=complaint):
        train(cfg)
    assert not (tmp_path / 'epoch_2.pth').exists()


CRAFTED = {
    'a list': lambda c: [c],
    'published weights': lambda c: c['state_dict'],
    'no epoch': lambda c: c | dict(meta=dict(iter=3)),
    'odd meta': lambda c: c | dict(meta=[1]),
    'odd classes': lambda c: c | dict(meta=c['meta'] | dict(dataset_meta=5)),
    'odd state': lambda c: c | dict(state_dict=5),
    'odd optimizer': lambda c: c | dict(optimizer=[1]),
    'NaN': lambda c: c | dict(state_dict={k: v * float('nan') for k, v in c['state_dict'].items()}),
}


@pytest.mark.parametrize('name', CRAFTED)
def test_what_is_no_checkpoint_of_a_run_is_one_line(name, tmp_path):
    train(small_config(tmp_path, epochs=1))
    path = tmp_path / 'epoch_1.pth'
    torch.save(CRAFTED[name](torch.load(path, weights_only=True)), path)
    cfg = small_config(tmp_path, epochs=2)
    resume_from(cfg, str(path))
    with pytest.raises(InputError, match=r'checkpoint .*epoch_1\.pth'):
        train(cfg)


def test_the_newest_is_that_of_most_epochs_whatever_the_files_times_are(tmp_path):
    for epoch in (7, 138, 20):
        torch.save(dict(meta=dict(iter=epoch)), tmp_path / f'epoch_{epoch}.pth')
    os.utime(tmp_path / 'epoch_138.pth', (1, 1))
    assert latest_checkpoint(tmp_path).name == 'epoch_138.pth'
    torch.save(dict(meta=dict(iter=500), state_dict={}), tmp_path / 'iter_500.pth')
    torch.save(dict(meta=dict(iter=138), state_dict={}), tmp_path / 'epoch_138.pth')
    assert latest_checkpoint(tmp_path).name == 'iter_500.pth'


def damage(path, member):
    """Zero 2,000 bytes in the middle of a member."""
    with zipfile.ZipFile(path) as archive:
        info = next(i for i in archive.infolist() if i.filename.endswith(member) and i.file_size > 3000)
        start = info.header_offset + 200
    content = bytearray(path.read_bytes())
    content[start : start + 2000] = bytes(2000)
    path.write_bytes(content)


def test_a_damaged_checkpoint_is_passed_over_and_not_resumed(tmp_path, caplog):
    state = dict(w=torch.randn(100, 100))
    for epoch in (1, 2):
        torch.save(dict(state_dict=state, meta={}), tmp_path / f'epoch_{epoch}.pth')
    damage(tmp_path / 'epoch_2.pth', 'data/0')
    assert 'state_dict' in torch.load(tmp_path / 'epoch_2.pth', weights_only=True)  # PyTorch takes it
    assert latest_checkpoint(tmp_path).name == 'epoch_1.pth'
    assert 'epoch_2.pth: is damaged' in caplog.text
    with pytest.raises(InputError, match=r'epoch_2\.pth: is damaged'):
        resume_from(small_config(tmp_path), str(tmp_path / 'epoch_2.pth'))
