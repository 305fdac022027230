import pickle
import signal
import subprocess
import sys
import time

import pytest
import torch
from support.project import ROOT
from torch import nn

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.training import latest_checkpoint, load_weights


def save(path, content):
    torch.save(content, path)
    return path


def test_the_newest_whole_file_is_found(tmp_path):
    assert latest_checkpoint(tmp_path) is None
    model = nn.Linear(2, 2).state_dict()
    for name in ('epoch_2.pth', 'epoch_10.pth', 'best_coco_bbox_mAP_epoch_1.pth', 'other.pth'):
        save(tmp_path / name, model)
        time.sleep(0.01)
    assert latest_checkpoint(tmp_path).name == 'epoch_10.pth'
    torn = tmp_path / 'epoch_11.pth'
    torn.write_bytes((tmp_path / 'epoch_10.pth').read_bytes()[:-200])
    assert latest_checkpoint(tmp_path).name == 'epoch_10.pth'


@pytest.mark.parametrize(
    ('name', 'value', 'message'),
    [
        ('weight', torch.nan, 'weight holds values that are not finite'),
        ('running_mean', torch.inf, 'running_mean holds values that are not finite'),
        ('running_var', -2.0, 'running_var holds variances below 0'),
    ],
)
def test_weights_that_no_training_ends_with_are_refused(name, value, message, tmp_path):
    state = nn.BatchNorm2d(3).state_dict()
    state[name][1] = value
    with pytest.raises(InputError, match=f'checkpoint .*w.pth: {message}'):
        load_weights(nn.BatchNorm2d(3), save(tmp_path / 'w.pth', state))


def test_weights_are_loaded_whole_or_not_at_all(tmp_path):
    source, target = nn.Linear(3, 2), nn.Linear(3, 2)
    meta = load_weights(
        target, save(tmp_path / 'a.pth', dict(state_dict=source.state_dict(), meta=dict(epoch=3)))
    )
    assert meta == dict(epoch=3)
    assert torch.equal(source.weight, target.weight)
    assert load_weights(target, save(tmp_path / 'bare.pth', source.state_dict())) == {}


WRONG = {
    'missing': ({'weight': torch.zeros(2, 3)}, 'bias missing'),
    'unknown': ({'weight': torch.zeros(2, 3), 'bias': torch.zeros(2), 'x': torch.zeros(1)}, 'x unknown'),
    'shape': ({'weight': torch.zeros(2, 4), 'bias': torch.zeros(2)}, r'weight \(2, 4\) instead of \(2, 3\)'),
}


@pytest.mark.parametrize('name', WRONG)
def test_another_models_weights_are_refused(name, tmp_path):
    state, message = WRONG[name]
    with pytest.raises(InputError, match=f'is not of this config: .*{message}'):
        load_weights(nn.Linear(3, 2), save(tmp_path / 'w.pth', state))


class Evil:
    def __reduce__(self):
        return (exec, ("raise RuntimeError('code was run')",))


def test_nothing_is_unpickled(tmp_path):
    for name, content in (
        ('evil', {'state_dict': {}, 'x': Evil()}),
        ('object', {'x': pickle.PicklingError()}),
    ):
        with pytest.raises(InputError, match='cannot be loaded safely'):
            load_weights(nn.Linear(1, 1), save(tmp_path / f'{name}.pth', content))
    (tmp_path / 'text.pth').write_text('hello')
    with pytest.raises(InputError, match=r'text\.pth: cannot be loaded safely'):
        load_weights(nn.Linear(1, 1), tmp_path / 'text.pth')
    with pytest.raises(InputError, match='no such file'):
        load_weights(nn.Linear(1, 1), tmp_path / 'none.pth')


def train_command(config, demo_data, work_dir, epochs=4):
    return [
        *(sys.executable, 'tools/train.py', str(config), '--data-root', str(demo_data)),
        *(
            '--work-dir',
            str(work_dir),
            '--resume',
            '--cfg-options',
            'default_hooks.checkpoint.max_keep_ckpts=1',
        ),
        *(f'train_cfg.max_epochs={epochs}', 'log_level=DEBUG'),  # all of the log on the terminal
    ]


@pytest.mark.slow
def test_a_run_killed_at_any_moment_goes_on_from_a_whole_checkpoint(tiny_config, demo_data, tmp_path):
    """kill -9 at several moments around the writing of checkpoints, then to the end."""
    work_dir, reached = tmp_path / 'run', 0
    command = train_command(tiny_config, demo_data, work_dir)
    for delay in (0.0, 0.05, 0.3):
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for line in process.stdout:
            if 'Saving checkpoint at' in line:
                time.sleep(delay)
                break
        process.send_signal(signal.SIGKILL)
        process.wait()
        newest = latest_checkpoint(work_dir)
        for file in work_dir.glob('*.pth'):
            assert 'state_dict' in torch.load(file, weights_only=True), file
        epoch = torch.load(newest, weights_only=True)['meta']['epoch'] if newest else 0
        assert epoch >= reached
        reached = epoch
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert reached == 0 or f'resumed epoch: {reached}' in done.stdout + done.stderr
    last = torch.load(work_dir / 'epoch_4.pth', weights_only=True)
    assert last['meta']['epoch'] == 4
    assert last['optimizer']['state']
    assert sorted(p.name for p in work_dir.glob('epoch_*.pth')) == ['epoch_4.pth']
    assert not list(work_dir.glob('.*.tmp'))
    assert (work_dir / 'curves.png').stat().st_size > 5000


@pytest.mark.slow
def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(plain_config, demo_data, tmp_path):
    for name, epochs in (('whole', 3), ('parts', 2), ('parts', 3)):
        command = train_command(plain_config, demo_data, tmp_path / name, epochs)
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    whole, parts = (
        torch.load(tmp_path / name / 'epoch_3.pth', weights_only=True)['state_dict']
        for name in ('whole', 'parts')
    )
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, atol=1e-5, rtol=1e-4, msg=name)
