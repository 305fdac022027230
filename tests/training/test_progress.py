"""What a training says: little on the terminal, with the time left; everything in the log file."""

import re

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import Dataset

from mbv1_backbone.training.progress import ProgressHook, TimeLeft

LEFT = re.compile(r'(\d+):(\d\d):(\d\d) left')


class Clock:
    """Time that passes only when told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_the_time_left_counts_steps_validations_and_pauses():
    """Epochs of 10 steps of 1 s; the first two take 30; a pause of 3 s and, every other epoch, 20 s more."""
    clock = Clock()
    left, estimates, times = TimeLeft(clock), [], []
    for epoch in range(1, 7):
        for index in range(10):
            clock.now += 30 if epoch == 1 and index < 2 else 1 + 3 * (epoch > 1 and index == 0)
            left.step_done(first=index == 0)
            done = 10 * (epoch - 1) + index + 1
            validations = sum(k % 2 == 0 for k in range(epoch, 7))
            estimates.append(left.estimate(60 - done, validations, 6 - epoch, steps_a_validation=20))
            times.append(clock.now)
        if epoch % 2 == 0:
            left.validation_begins()
            clock.now += 20
            left.validation_done()
    assert estimates[:2] == [None, None]
    for estimate, time in zip(estimates[2:], times[2:], strict=True):
        assert estimate == pytest.approx(clock.now - time, rel=0.15)


def test_a_validation_is_guessed_from_steps_until_one_was_seen():
    clock = Clock()
    left = TimeLeft(clock)
    for _ in range(5):
        clock.now += 2
        left.step_done(first=False)
    assert left.estimate(10, 3, 0, steps_a_validation=4.0) == pytest.approx(10 * 2 + 3 * 4 * 2)
    left.validation_begins()
    clock.now += 5
    left.validation_done()
    assert left.estimate(10, 3, 0, steps_a_validation=4.0) == pytest.approx(10 * 2 + 3 * 5)


class Ones(Dataset):
    metainfo = {}

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return torch.ones(1)


class Slow(BaseModel):
    """A step takes two seconds by the clock."""

    def __init__(self, clock):
        super().__init__()
        self.layer, self.clock = torch.nn.Linear(1, 1), clock

    def forward(self, x, mode='tensor'):
        self.clock.now += 2
        return dict(loss=self.layer(torch.stack(list(x))).square().mean())


def train(folder, train_cfg, **hook):
    clock = Clock()
    sampler = 'DefaultSampler' if train_cfg['by_epoch'] else 'InfiniteSampler'
    loader = dict(batch_size=1, sampler=dict(type=sampler, shuffle=False), dataset=Ones())
    runner = Runner(
        Slow(clock),
        work_dir=str(folder),
        train_dataloader=loader,
        train_cfg=train_cfg,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(checkpoint=None),
        log_level='ERROR',
        experiment_name=folder.name,
    )
    runner.register_hook(ProgressHook(clock=clock, **hook))
    runner.train()


@pytest.mark.parametrize(
    ('train_cfg', 'steps', 'prefix'),
    [
        (dict(by_epoch=True, max_epochs=20), 160, r'epoch \d+/20  '),
        (dict(by_epoch=False, max_iters=100), 100, ''),
    ],
)
def test_lines_where_there_is_no_terminal(train_cfg, steps, prefix, tmp_path, capsys):
    train(tmp_path, train_cfg, bar=False)
    *lines, end = capsys.readouterr().out.splitlines()
    assert end == f'trained in 0:0{2 * steps // 60}:{2 * steps % 60:02d}'
    assert len(lines) < 2 * steps / 10 + 2
    for line in lines:
        done = re.match(
            rf'{prefix}step (\d+)/{steps}  [\d:]+ gone, [\d:]+ left, loss [\d.]+, 2.000 s a step$', line
        )
        hours, minutes, seconds = map(int, LEFT.search(line).groups())
        assert 3600 * hours + 60 * minutes + seconds == 2 * (steps - int(done[1]))


def test_a_bar_on_a_terminal(tmp_path, capsys):
    train(tmp_path, dict(by_epoch=True, max_epochs=2), bar=True)
    output = capsys.readouterr()
    assert output.out == 'trained in 0:00:32\n'
    assert '100%' in output.err
    assert LEFT.search(output.err)


@pytest.mark.slow
def test_a_training_says_little_and_its_log_file_everything(tiny_config, demo_data, tmp_path, run):
    """``--amp`` where bfloat16 is emulated, which is what takes a warning."""
    done = run(
        *('tools/train.py', tiny_config, '--data-root', demo_data, '--work-dir', tmp_path, '--amp'),
        env=dict(MBV1_CPU_BF16='0'),
    )
    lines = (done.stdout + done.stderr).splitlines()
    first = next(k for k, line in enumerate(lines) if LEFT.search(line))
    assert first <= 15, lines[: first + 1]
    assert len(lines) <= 30
    assert sum('this processor does not multiply in it' in line for line in lines) == 1
    assert any(re.match(r'epoch 2: .*coco/bbox_mAP_50 \d', line) for line in lines)
    [log] = tmp_path.glob('*/*.log')
    assert f'log, with the whole config: {log}' in lines
    text = log.read_text()
    assert 'train_pipeline = [' in text
    assert 'paramwise_options -- backbone.rows.1.depthwise.conv.weight:weight_decay=0.0' in text
    assert 'Average Precision  (AP) @[ IoU=0.50:0.95' in text
    assert 'paramwise_options' not in done.stdout + done.stderr
