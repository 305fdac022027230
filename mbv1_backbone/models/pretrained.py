"""Initialising from pre-trained weights: all of a module or an error, a warning where they do not suit it."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import BaseModule
from mmengine.registry import HOOKS
from mmengine.runner import CheckpointLoader, Runner
from torch import Tensor

from mbv1_backbone.common.archive import check_archive
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.models.layers import fit_channels
from mbv1_backbone.models.recipe import Recipe, input_differences, layer_differences, preprocessing_of

__all__ = ['PretrainedHook', 'check_pretrained', 'check_pretrained_file']

_SHOWN = 3  # offending tensors in an error


def check_pretrained_file(module: BaseModule) -> None:
    """Check a PyTorch file of a module's ``Pretrained`` weights for damage, which mmengine reads over.

    Raises:
        DamagedFileError: If a member is not that of its checksum.
    """
    cfg = _pretrained(module)
    if cfg is not None and zipfile.is_zipfile(cfg['checkpoint']):
        check_archive(cfg['checkpoint'])


def _pretrained(module: BaseModule) -> Mapping[str, Any] | None:
    entries = [module.init_cfg] if isinstance(module.init_cfg, Mapping) else module.init_cfg or []
    return next((entry for entry in entries if entry.get('type') == 'Pretrained'), None)


def check_pretrained(module: BaseModule) -> Recipe | None:
    """Check that a module's ``Pretrained`` weights filled all of it; warn where they do not suit its layers.

    mmengine passes in silence over tensors that are missing or of another shape, and trains the rest.

    Args:
        module: After mmengine's ``init_weights``; its ``built_with`` is compared with the weights' recipe.

    Returns:
        The weights' recipe, None where they have none or the module was not asked to be pre-trained.

    Raises:
        InputError: If a tensor of the module is not in the file, or has another shape there.
    """
    cfg = _pretrained(module)
    if cfg is None:
        return None
    checkpoint = CheckpointLoader.load_checkpoint(cfg['checkpoint'], map_location='cpu', logger='silent')
    prefix = cfg.get('prefix') or ''
    prefix += '.' if prefix and not prefix.endswith('.') else ''
    given = {n.removeprefix('module.'): t for n, t in checkpoint.get('state_dict', checkpoint).items()}
    wrong = []
    for name, tensor in module.state_dict().items():
        source = given.get(prefix + name)
        if source is None and not name.endswith('num_batches_tracked'):
            wrong.append(f'{prefix}{name} is not in it')
        elif source is not None and source.shape != tensor.shape and not _is_fitted(name, source, tensor):
            wrong.append(f'{prefix}{name} is {tuple(source.shape)} in it, {tuple(tensor.shape)} here')
    if wrong:
        more = f' and {len(wrong) - _SHOWN} more' if len(wrong) > _SHOWN else ''
        raise InputError(
            f'pre-trained weights {cfg["checkpoint"]} do not fill {type(module).__name__}: '
            f'{"; ".join(wrong[:_SHOWN])}{more}'
        )
    recipe: Any = checkpoint.get('meta', {}).get('recipe')
    if recipe is not None and (differences := layer_differences(recipe, module.built_with)):
        warnings.warn(
            f'{type(module).__name__} is not built as its pre-trained weights {cfg["checkpoint"]} ask: '
            f'{", ".join(differences)}',
            stacklevel=2,
        )
    return recipe


def _is_fitted(name: str, source: Tensor, tensor: Tensor) -> bool:
    """Whether a tensor is the backbone's first layer, which loading fits to the number of input channels."""
    if name != 'rows.0.conv.weight' or source.ndim != 4 or source.shape[1] != 3:
        return False
    return fit_channels(source, tensor.shape[1]).shape == tensor.shape


@HOOKS.register_module()
class PretrainedHook(Hook):
    """Warn at the start of training where the data preprocessor is not that of the pre-trained weights."""

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Compare a pre-trained backbone's recipe with the model's data preprocessor."""
        model = getattr(runner.model, 'module', runner.model)
        recipe = getattr(getattr(model, 'backbone', None), 'recipe', None)
        if recipe is not None and (differences := input_differences(recipe, *preprocessing_of(model))):
            warnings.warn(
                f'data_preprocessor is not that of the pre-trained weights ({recipe.source}): '
                f'{", ".join(differences)}, in R, G, B',
                stacklevel=2,
            )
