"""Checkpoints, read without unpickling code."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mbv1_backbone.common.archive import check_archive
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.models.recipe import (
    Recipe,
    input_differences,
    layer_differences,
    recipe_of,
    second_stage_differences,
)
from mbv1_backbone.weights.pytorch import is_pth, read_pth
from mbv1_backbone.weights.sources import local_file
from mbv1_backbone.weights.store import described, fingerprint, read_safetensors

__all__ = [
    'Checkpoint',
    'check_values',
    'fill',
    'first_not_finite',
    'latest_checkpoint',
    'load_weights',
    'read_checkpoint',
    'weights_fingerprint',
]

_PYTORCH = ('.pth', '.pt', '.bin', '.ckpt', '.tar', '')  # what its files end in
_COUNTER = 'num_batches_tracked'  # of batch norm; imported weights have none
_NAME = re.compile(r'(epoch|iter)_(\d+)\.pth')
_LOG = logging.getLogger('mbv1_backbone')


@dataclass(frozen=True)
class Checkpoint:
    """What a file of weights holds.

    Attributes:
        path: The file.
        state: Its tensors.
        meta: What a run, or ``write_weights``, says of them: ``recipe``, ``dataset_meta``, ``kind``, others.
    """

    path: Path
    state: dict[str, torch.Tensor]
    meta: dict[str, Any]

    @cached_property
    def recipe(self) -> Recipe | None:
        """What the weights ask of network and input, where the file says it.

        Raises:
            InputError: If what it says is no recipe.
        """
        if (values := self.meta.get('recipe')) is None:
            return None
        try:
            return Recipe.from_dict(values)
        except InputError as error:
            raise InputError(f'{self.path}: its recipe is damaged: {error}') from error


def weights_fingerprint(model: nn.Module) -> str:
    """SHA-256 of a model's weights, without counters and what only training needs."""
    spare = tuple(getattr(model, 'training_only', ()))
    state = model.state_dict()
    kept = {n: w for n, w in state.items() if not n.endswith(_COUNTER) and not n.startswith(spare)}
    return fingerprint(kept)


def latest_checkpoint(work_dir: str | os.PathLike[str]) -> Path | None:
    """The newest whole ``epoch_N.pth`` or ``iter_N.pth`` of a run, None where there is none.

    The newest is that of the greatest number, and of one of each kind that of more iterations: times of files
    change where a folder is copied. A damaged file is skipped, which the log says.
    """
    kinds: dict[str, list[tuple[int, Path]]] = {}
    for path in Path(work_dir).glob('*.pth'):
        if match := _NAME.fullmatch(path.name):
            kinds.setdefault(match[1], []).append((int(match[2]), path))
    newest = [found for files in kinds.values() if (found := _first_whole(sorted(files, reverse=True)))]
    return max(newest, key=_iteration) if len(newest) > 1 else next(iter(newest), None)


def _first_whole(files: list[tuple[int, Path]]) -> Path | None:
    for _, path in files:
        try:
            check_archive(path)
        except InputError as error:
            _LOG.warning('skipped: %s', error)
        else:
            return path
    return None


def _iteration(path: Path) -> int:
    """Of a run's checkpoint, how far it has got; -1 where it does not say."""
    meta = read_checkpoint(path).meta
    return meta['iter'] if isinstance(meta.get('iter'), int) else -1


def load_weights(model: nn.Module, path: str | os.PathLike[str]) -> dict[str, Any]:
    """Fill a model from a checkpoint, without unpickling code; every tensor must have its place.

    What a model names in ``training_only`` (prefixes: a softmax over the people of the training set) may be
    missing on either side.

    Args:
        model: Filled in place.
        path: ``.pth`` of a run, a bare state dict, ``.safetensors``, or a name in the model zoo.

    Returns:
        The checkpoint's ``meta``, or an empty dict.

    Raises:
        InputError: If the file cannot be read safely, its tensors are not the model's, or the model is built
            or fed in another way than the one they were trained in.
    """
    checkpoint = read_checkpoint(local_file(path))
    fill(model, checkpoint)
    return checkpoint.meta


def fill(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Fill a model from a checkpoint that has been read; see ``load_weights``.

    Raises:
        InputError: If the tensors are not the model's, or it is built or fed in another way than in training.
    """
    path, target = checkpoint.path, model.state_dict()
    state = _of_classifier(checkpoint) if 'backbone.rows.0.conv.weight' in target else checkpoint.state
    spare = tuple(getattr(model, 'training_only', ()))
    optional = [name for name in target if name.endswith(_COUNTER) or name.startswith(spare)]
    wrong = [f'{name} missing' for name in target if name not in state and name not in optional]
    wrong += [f'{name} unknown' for name in state if name not in target and not name.startswith(spare)]
    wrong += [
        f'{name} {tuple(state[name].shape)} instead of {tuple(tensor.shape)}'
        for name, tensor in target.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if wrong:
        more = f' and {len(wrong) - 3} more' if len(wrong) > 3 else ''
        raise InputError(f'checkpoint {path} is not of this config: {"; ".join(wrong[:3])}{more}')
    check_values(state, path)
    _check_recipe(model, checkpoint.recipe, path)
    model.load_state_dict(state, strict=False)


def check_values(state: Mapping[str, torch.Tensor], path: str | os.PathLike[str]) -> None:
    """Refuse weights that no training ends with: NaN, infinities, variances below 0.

    Args:
        state: Of the checkpoint.
        path: Of the checkpoint, for the message.

    Raises:
        InputError: If there are such; the message names the tensor.
    """
    if bad := first_not_finite(state):
        raise InputError(f'checkpoint {path}: {bad} holds values that are not finite')
    for name, tensor in state.items():
        if name.endswith('running_var') and (tensor < 0).any():
            raise InputError(f'checkpoint {path}: {name} holds variances below 0')


def first_not_finite(state: Mapping[str, torch.Tensor]) -> str | None:
    """The name of the first tensor with a NaN or an infinity; None where there is none."""
    return next((name for name, t in state.items() if t.is_floating_point() and not t.isfinite().all()), None)


def _of_classifier(checkpoint: Checkpoint) -> dict[str, Any]:
    """Imported weights of a classifier by the names of a run, without a background; others as they are."""
    state, recipe = dict(checkpoint.state), checkpoint.recipe
    if 'rows.0.conv.weight' not in state or 'head.fc.weight' not in state:
        return state
    if recipe is not None and recipe.background is not None:
        for name in ('head.fc.weight', 'head.fc.bias'):
            rows = state[name]
            state[name] = torch.cat([rows[: recipe.background], rows[recipe.background + 1 :]])
    return {f'backbone.{n}' if n.startswith('rows.') else n: tensor for n, tensor in state.items()}


def _check_recipe(model: nn.Module, recipe: Recipe | None, path: str | os.PathLike[str]) -> None:
    """Raise where the tensors fit, but are used with another padding or preprocessing than in training."""
    if stage := second_stage_differences(model):
        raise InputError(f'checkpoint {path}: the config builds {", ".join(stage)}, as its backbone is built')
    here = recipe_of(model, '')
    if recipe is None or here is None:
        return
    found = dict(padding=here.padding, act_cfg=here.act_cfg, norm_eps=here.norm_eps)
    wrong = layer_differences(recipe, found) + input_differences(recipe, here.mean, here.std)
    if hasattr(getattr(model, 'data_preprocessor', None), 'input_size'):  # made for one size only
        pairs = [(name, getattr(here, name), getattr(recipe, name)) for name in ('input_size', 'gray')]
        wrong += [f'{name}={used} instead of {wanted}' for name, used, wanted in pairs if used != wanted]
    if wrong:
        raise InputError(
            f'checkpoint {path} was not trained with this config: {", ".join(wrong)}; '
            'a run leaves its whole config in its work folder'
        )


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Tensors and ``meta`` of a file, without unpickling code.

    Raises:
        InputError: If the file cannot be read safely, or is no checkpoint.
    """
    path = Path(path)
    if path.suffix != '.safetensors':
        if path.suffix not in _PYTORCH and not (path.is_file() and is_pth(path)):
            raise InputError(
                f'{path}: not a checkpoint of a config, which ends in .pth or .safetensors; '
                'mbv1 weights import makes one of weights of other kinds'
            )
        return Checkpoint(path, *read_pth(path))
    state, metadata = read_safetensors(path)
    weights = described(state, metadata, path)
    if weights is None:
        return Checkpoint(path, state, {})
    classes = dict(classes=weights.classes) if weights.classes else {}
    ids = dict(category_ids=weights.category_ids) if weights.category_ids else {}
    kind = dict(kind=weights.kind) if weights.kind else {}
    rounded = dict(quantisation=weights.quantisation) if weights.quantisation else {}
    return Checkpoint(
        path, state, dict(recipe=asdict(weights.recipe), dataset_meta=classes, **ids, **kind, **rounded)
    )
