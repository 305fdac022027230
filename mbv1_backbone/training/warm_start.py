"""Training that starts from a trained network of another number of classes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.names import listed
from mbv1_backbone.training.checkpoint import Checkpoint, check_values, read_checkpoint
from mbv1_backbone.training.config import datasets_of, follow_recipe
from mbv1_backbone.weights.zoo import find_checkpoint

__all__ = ['WarmStartHook', 'start_of', 'use_warm_start']

_COUNTER = 'num_batches_tracked'
_HEADS = ('bbox_head.', 'roi_head.', 'mask_head.', 'head.')  # what may have another number of classes


@HOOKS.register_module()
class WarmStartHook(Hook):
    """Fills a network before its first step, and says which tensors start anew.

    Args:
        checkpoint: File of the network to start from.
        anew: Names of tensors that are of other classes, where their shapes do not say so.
    """

    priority = 'VERY_HIGH'

    def __init__(self, checkpoint: str, anew: Sequence[str] = ()) -> None:
        self.checkpoint, self.anew = checkpoint, anew

    def before_train(self, runner: Runner) -> None:
        """Fill the network; a run that is resumed has its weights.

        Raises:
            InputError: If the checkpoint is not of this network, but for its classes.
        """
        if runner.iter:
            return
        model: nn.Module = getattr(runner.model, 'module', runner.model)
        state = read_checkpoint(self.checkpoint).state
        kept, new = start_of(model.state_dict(), state, self.checkpoint, self.anew)
        model.load_state_dict(kept, strict=False)
        if runner.rank == 0:
            parts = listed([*dict.fromkeys(name.rpartition('.')[0] for name in new)])
            why = 'are of other classes' if self.anew else 'have other rows (classes, anchors)'
            anew = f'; anew, as they {why}: {parts}' if new else ''
            print(f'starts from {self.checkpoint}: {len(kept)} tensors{anew}', flush=True)


def start_of(
    target: Mapping[str, Tensor], state: Mapping[str, Tensor], name: str, anew: Collection[str] = ()
) -> tuple[dict[str, Tensor], list[str]]:
    """What a network takes of a trained one.

    Args:
        target: The network's own state.
        state: Of the trained one.
        name: Of its file, for messages.
        anew: Tensors that the network does not take.

    Returns:
        The tensors that it takes, and the names of those of its head's that start anew.

    Raises:
        InputError: If the two differ in more than the rows of the head.
    """
    kept, new, wrong = {}, [], []
    for key, tensor in target.items():
        other = state.get(key)
        if other is None:
            wrong += [] if key.endswith(_COUNTER) else [f'{key} missing']
        elif other.shape == tensor.shape and key not in anew:
            kept[key] = other
        elif key.startswith(_HEADS) and other.ndim and other.shape[1:] == tensor.shape[1:]:
            new.append(key)
        else:
            wrong.append(f'{key} {tuple(other.shape)} instead of {tuple(tensor.shape)}')
    wrong += [f'{key} unknown' for key in state if key not in target]
    if wrong:
        more = f' and {len(wrong) - 3} more' if len(wrong) > 3 else ''
        raise InputError(
            f'--warm-start {name} is of another network than the config, not only of other classes: '
            f'{"; ".join(wrong[:3])}{more}'
        )
    return kept, new


def use_warm_start(cfg: Config, name: str) -> None:
    """Start a run from a trained detector; what its weights were trained with goes into the config.

    Args:
        cfg: Changed in place: padding, activation, epsilon and preprocessing follow the weights. Where the
            classes of its data are others, even as many, what the head has of them starts anew.
        name: A checkpoint, or a name in the model zoo.

    Raises:
        InputError: If there is no such file, or it is of another network than the config's.
    """
    path = find_checkpoint(name)
    checkpoint = read_checkpoint(path)
    check_values(checkpoint.state, path)
    if checkpoint.recipe is not None:
        follow_recipe(cfg, checkpoint.recipe)
    target = _state_of(cfg, cfg.model)
    start_of(target, checkpoint.state, str(name))  # before data is read
    hook: dict[str, Any] = dict(type='WarmStartHook', checkpoint=str(path))
    if _has_other_classes(cfg, checkpoint):
        more = _state_of(cfg, _with_more_classes(cfg.model))
        hook['anew'] = [key for key, tensor in target.items() if more[key].shape != tensor.shape]
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or ()), hook]


def _has_other_classes(cfg: Config, checkpoint: Checkpoint) -> bool:
    """Whether the classes of a config's data have other names or another order than a checkpoint's."""
    there = (checkpoint.meta.get('dataset_meta') or {}).get('classes')
    datasets = datasets_of(cfg.get('train_dataloader'))
    here = next(
        (classes for one in datasets if (classes := (one.get('metainfo') or {}).get('classes'))), None
    )
    return bool(there and here) and tuple(there or ()) != tuple(here or ())


def _with_more_classes(model: Any) -> Any:
    """A model's config with one more class everywhere: what has another shape then is of classes."""
    if isinstance(model, dict):
        return {
            key: value + 1 if key == 'num_classes' and isinstance(value, int) else _with_more_classes(value)
            for key, value in model.items()
        }
    return [_with_more_classes(part) for part in model] if isinstance(model, list) else model


def _state_of(cfg: Config, model: Any) -> dict[str, Any]:
    """Names and shapes of a network of a config's kind."""
    from mmengine.registry import MODELS

    from mbv1_backbone.common.errors import user_errors
    from mbv1_backbone.compat.registry import use_scope

    use_scope(scope := cfg.get('default_scope', 'mmengine'))
    with user_errors(f'config {cfg.filename}'), torch.random.fork_rng():
        built: nn.Module = MODELS.build({**model, '_scope_': scope})
    return dict(built.state_dict())
