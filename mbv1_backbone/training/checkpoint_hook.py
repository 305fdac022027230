"""Checkpoints of a run that survive a kill at any moment and hold no Python objects."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from typing_extensions import override

from mbv1_backbone.common.files import write_atomically
from mbv1_backbone.models.recipe import Recipe, recipe_of
from mbv1_backbone.training.annotations import category_ids_of

__all__ = ['SafeCheckpointHook']


class _AtomicBackend(LocalBackend):
    """Local files written atomically; removals wait until ``flush``."""

    def __init__(self) -> None:
        self._outdated: list[str] = []

    def put(self, obj: bytes, filepath: str | Path) -> None:
        write_atomically(filepath, obj)

    def remove(self, filepath: str | Path) -> None:
        self._outdated.append(os.fspath(filepath))

    def flush(self, keep: set[str | None]) -> None:
        for path in set(self._outdated) - keep:
            Path(path).unlink(missing_ok=True)
        self._outdated.clear()


register_backend('mbv1_atomic', _AtomicBackend, force=True)


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook, made safe in three ways.

    Files are written beside their place, synced and renamed, so no half-written file bears a checkpoint's
    name. Outdated ones are removed after their successor is on disk, not before. And they hold tensors and
    plain values only, so that ``torch.load`` reads them with its safe default (mmengine issue 1655).

    Arguments are those of mmengine's hook, without ``backend_args``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, backend_args=dict(backend='mbv1_atomic'), **kwargs)

    @override
    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        for leftover in Path(runner.work_dir).glob('.*.pth.*.tmp'):
            leftover.unlink(missing_ok=True)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Add the model's recipe, and leave out what a file without Python objects cannot hold.

        Of mmengine's message hub, whose log buffers are Python objects, what resuming needs is kept.
        """
        model = getattr(runner.model, 'module', runner.model)
        if recipe := recipe_of(model, f'run: {runner.experiment_name}'):
            checkpoint['meta']['recipe'] = _plain_recipe(recipe)
        if ids := category_ids_of(runner.train_dataloader.dataset):
            checkpoint['meta']['category_ids'] = ids
        runtime = checkpoint['message_hub']['runtime_info']
        plain = {key: _plain(value) for key, value in runtime.items()}
        checkpoint['message_hub'] = dict(
            log_scalars={},
            runtime_info={key: value for key, value in plain.items() if value is not None},
            resumed_keys={},
        )

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        super()._save_checkpoint_with_step(runner, step, meta)
        self._remove_outdated()

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, float]) -> None:
        super()._save_best_checkpoint(runner, metrics)
        self._remove_outdated()

    def _remove_outdated(self) -> None:
        best = getattr(self, 'best_ckpt_path_dict', {}).values()
        self.file_backend.flush(keep={self.last_ckpt, getattr(self, 'best_ckpt_path', None), *best})


def _plain_recipe(recipe: Recipe) -> dict[str, Any]:
    """A recipe of plain values, without mmengine's own kinds of dict."""
    return json.loads(json.dumps(asdict(recipe)))


def _plain(value: Any) -> Any:
    """``value`` if torch's safe loader takes it, a NumPy number as Python's, else None."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple)):
        items = [_plain(item) for item in value]
        return None if None in items else items
    return value if isinstance(value, (bool, int, float, str, torch.Tensor)) else None
