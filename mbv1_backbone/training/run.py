"""Building mmengine's runner from a config, on a GPU, a CPU, or many of either."""

from __future__ import annotations

import atexit
import os
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn

from mbv1_backbone.common.archive import check_archive
from mbv1_backbone.common.errors import InputError, user_errors
from mbv1_backbone.compat.chatter import pycocotools_logged
from mbv1_backbone.export.litert.trained import trained_ranges
from mbv1_backbone.models.imagenet import own_names
from mbv1_backbone.models.layers import folded
from mbv1_backbone.models.recipe import second_stage_differences
from mbv1_backbone.runtime.sessions import is_exported, open_session
from mbv1_backbone.training.annotations import check_annotations, check_same_classes
from mbv1_backbone.training.cells import check_cells
from mbv1_backbone.training.checkpoint import latest_checkpoint, load_weights, read_checkpoint
from mbv1_backbone.training.checks import check_data_classes, check_training, schedule_note
from mbv1_backbone.training.exported import ExportedModel
from mbv1_backbone.training.fake_quant import FakeQuantisation, Stage
from mbv1_backbone.training.guards import FiniteHook, only_run, refused_without_trace
from mbv1_backbone.training.labels import check_labels
from mbv1_backbone.training.network_input import network_size
from mbv1_backbone.training.precision import precision_of, slow_precision
from mbv1_backbone.training.progress import ProgressHook
from mbv1_backbone.training.recalibration import RecalibrateHook
from mbv1_backbone.training.resume import ResumeHook
from mbv1_backbone.training.terminal import QuietRunner
from mbv1_backbone.training.time_budget import TimedTrainLoop

__all__ = ['build_runner', 'evaluate', 'resume_from', 'scale_learning_rate', 'train']


def build_runner(cfg: Config, launcher: str = 'none') -> QuietRunner:
    """The runner of a config, with its training and validation data read.

    Args:
        cfg: From ``load_config``.
        launcher: ``none``, ``pytorch`` (torchrun), ``slurm`` or ``mpi``.

    Raises:
        InputError: If the config cannot be built, or its data cannot be read.
    """
    cfg.launcher = launcher
    if launcher != 'none' and not torch.cuda.is_available():
        _join_on_cpu(cfg, launcher)
    with user_errors('config'):
        return QuietRunner.from_cfg(cfg)


def train(cfg: Config, launcher: str = 'none') -> None:
    """Train as the config says; the terminal shows progress, the log file everything, with the whole config.

    Raises:
        InputError: If the config or the data is wrong.
    """
    check_training(cfg)
    start = cfg.get('load_from')
    if start and '://' not in start and not Path(start).is_file():
        raise InputError(f'load_from {start}: no such file')
    if cfg.get('resume') and not cfg.get('load_from'):
        resume_from(cfg, 'auto')
    if not cfg.get('resume') and Path(cfg.get('load_from') or '').is_file():
        read_checkpoint(cfg.load_from)  # mmengine's loader reads over damage
    work_dir = Path(cfg.work_dir)
    new = next((place for place in (*reversed(work_dir.parents), work_dir) if not place.exists()), None)
    with only_run(work_dir), pycocotools_logged(summary=True):
        with refused_without_trace(work_dir, new):
            runner = _prepared(cfg, launcher)
        runner.train()


def _prepared(cfg: Config, launcher: str) -> QuietRunner:
    """The runner, with its data read and checked, and what is trained said."""
    runner = build_runner(cfg, launcher)
    if wrong := second_stage_differences(_plain(runner.model)):
        raise InputError(f'config {cfg.filename}: the shared head is not as its backbone: {", ".join(wrong)}')
    for warning in (slow_precision(cfg), schedule_note(cfg, runner.train_loop.max_iters)):
        if warning:
            runner.logger.warning(warning)
    with user_errors('data set'):
        found = check_annotations(runner, runner.train_loop, runner.val_loop)
        check_labels(_plain(runner.model), runner.train_loop, runner.val_loop)
        check_cells(_plain(runner.model), runner.train_loop, runner.val_loop)
    _check_batches(runner)
    if runner.rank == 0:
        print(found, end='')
        print(_summary(runner), flush=True)
    if cfg.get('resume'):
        runner.register_hook(ResumeHook(cfg.load_from))
    _register(runner, RecalibrateHook(), FiniteHook(), ProgressHook())
    return runner


def _register(runner: Runner, *hooks: Hook) -> None:
    """Add hooks that every run has, but those that its config names itself."""
    named = {type(hook) for hook in runner.hooks}
    for hook in hooks:
        if type(hook) not in named:
            runner.register_hook(hook)


def evaluate(cfg: Config, checkpoint: str, launcher: str = 'none') -> dict[str, float]:
    """Evaluate a checkpoint, or a file of ``mbv1 export``, on the test data of a config.

    Args:
        cfg: From ``load_config``.
        checkpoint: A checkpoint, weights or an exported file.
        launcher: ``none``, ``pytorch`` (torchrun), ``slurm`` or ``mpi``.

    Returns:
        The metrics, by name.

    Raises:
        InputError: If the config, the checkpoint or the data is wrong.
    """
    cfg.load_from, cfg.resume = None, False
    check_data_classes(cfg, 'test_dataloader')
    runner = build_runner(cfg, launcher)
    built = _plain(runner.model)
    if is_exported(checkpoint):
        session = open_session(checkpoint)
        runner.model, classes = ExportedModel(session), own_names(session.spec.classes)
        _check_count(runner.model, built)
    else:
        meta = load_weights(built, checkpoint)
        classes = (meta.get('dataset_meta') or {}).get('classes') or ()
        if ranges := trained_ranges(meta, checkpoint):
            FakeQuantisation(built, network_size(cfg)).restore(ranges, checkpoint, Stage.FROZEN)
            print(f'{checkpoint}: trained for int8, and evaluated as rounded to it')
        elif launcher == 'none':
            runner.model = folded(runner.model)
    with pycocotools_logged(summary=False):
        with user_errors('data set'):
            found = check_annotations(runner, runner.test_loop)
            check_labels(built, test=runner.test_loop)
            check_cells(_plain(runner.model), runner.test_loop)
        here = runner.test_loop.dataloader.dataset.metainfo.get('classes')
        if classes and here:
            check_same_classes(f'the classes of checkpoint {checkpoint}', classes, 'metainfo.classes', here)
        if runner.rank == 0:
            print(found, end='')
        runner.open_terminal()
        return runner.test()


def _check_count(exported: ExportedModel, built: nn.Module) -> None:
    """Refuse an exported classifier of more or fewer classes than the config's; their names come after."""
    count, wanted = exported.count, getattr(getattr(built, 'head', None), 'num_classes', None)
    if not own_names(exported.session.spec.classes) and None not in (count, wanted) and count != wanted:
        raise InputError(
            f'{exported.session.path}: tells {count} classes apart, the config {wanted} '
            '(model.head.num_classes): both must be the same'
        )


def _plain(model: nn.Module) -> nn.Module:
    """The model inside what distributes it."""
    inner: Any = model.module if is_model_wrapper(model) else model
    return cast(nn.Module, inner)


def resume_from(cfg: Config, checkpoint: str) -> None:
    """Make a config resume: from a file, or with ``'auto'`` from the newest checkpoint of its work folder.

    With ``'auto'`` and no checkpoint yet, training starts from the beginning.

    Raises:
        InputError: If the file does not exist.
    """
    path = latest_checkpoint(cfg.work_dir) if checkpoint == 'auto' else Path(checkpoint)
    if path is not None and not path.is_file():
        raise InputError(f'checkpoint {path}: no such file')
    if path is not None:
        check_archive(path)
    cfg.resume, cfg.load_from = path is not None, str(path) if path else cfg.get('load_from')


def scale_learning_rate(cfg: Config) -> None:
    """Turn on mmengine's linear scaling of the learning rate with the whole batch.

    Raises:
        InputError: If the config does not say which batch its rate is for.
    """
    if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
        raise InputError('--auto-scale-lr needs auto_scale_lr.base_batch_size in the config')
    cfg.auto_scale_lr.enable = True


def _check_batches(runner: Runner) -> None:
    """Refuse a training set that does not fill one batch, where ``drop_last`` leaves out what is over."""
    loader = runner.train_loop.dataloader
    if isinstance(runner.train_loop, EpochBasedTrainLoop) and not len(loader):
        raise InputError(
            f'{len(loader.dataset)} training images do not fill one batch: train_dataloader.batch_size is '
            f'{loader.batch_size}, and drop_last leaves out what is over'
        )


def _summary(runner: Runner) -> str:
    """What is trained, how long, and where the log is: a line each."""
    loop, loader = runner.train_loop, runner.train_dataloader
    images = f'{len(loader.dataset)} training images'
    if runner.val_loop is not None:
        images += f', {len(runner.val_loop.dataloader.dataset)} for validation'
    by_epoch = isinstance(loop, EpochBasedTrainLoop)
    length = f'{loop.max_epochs} epochs, ' * by_epoch + f'{loop.max_iters} steps'
    if isinstance(loop, TimedTrainLoop):
        length = f'{timedelta(seconds=round(loop.seconds))} in steps'
    length += f' of {loader.batch_size} images'
    start = f'goes on from {runner.cfg.load_from}\n' if runner.cfg.get('resume') else ''
    return (
        f'{start}{runner.experiment_name}: {images}; {length}; {precision_of(runner.cfg)}\n'
        f'log, with the whole config: {runner.logger.log_file}'
    )


def _join_on_cpu(cfg: Config, launcher: str) -> None:
    """Join the process group over gloo: mmengine's own way sets a CUDA device first."""
    if launcher != 'pytorch':
        raise InputError(
            f'--launcher {launcher} needs a GPU; without one use torchrun with --launcher pytorch'
        )
    if 'RANK' not in os.environ:
        raise InputError('--launcher pytorch runs under torchrun: see tools/dist_train.sh')
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group('gloo')
        atexit.register(_leave)  # gloo's threads abort a process that ends while they run
    cfg.model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)


def _leave() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
