"""Classifiers of one's own classes from pre-trained weights: a config, linear classifier, start of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from torch import Tensor

from mbv1_backbone.classification.folders import ClassFolder, Photo
from mbv1_backbone.classification.linear import LinearClassifier, fit_linear
from mbv1_backbone.common.errors import InputError, user_errors
from mbv1_backbone.common.files import atomic_file, write_json
from mbv1_backbone.common.images import middle_square, read_image
from mbv1_backbone.common.prefetch import DECODERS, batched, prefetch
from mbv1_backbone.compat.chatter import errors_only
from mbv1_backbone.compat.registry import use_scope
from mbv1_backbone.models.layers import make_divisible
from mbv1_backbone.models.mobilenet_v1 import TABLE
from mbv1_backbone.models.recipe import Recipe, recipe_of
from mbv1_backbone.training.config import LOADERS, datasets_of, load_config, use_pretrained
from mbv1_backbone.weights import import_weights
from mbv1_backbone.weights.store import Weights

__all__ = [
    'CONFIG',
    'START',
    'Plan',
    'add_linear_head',
    'check_plan',
    'features',
    'save_start',
    'transfer_config',
    'weights_of',
]

CONFIG = 'classification/mbv1_1.0-224_folder.py'
START = 'linear.pth'  # what a run of the whole network starts from


@dataclass(frozen=True)
class Plan:
    """How a classifier is trained.

    Attributes:
        pretrained: Weights to start from: a file, a URL or a name.
        size: Side of the input in pixels; None for that of the weights.
        epochs: Of the whole network.
        batch_size: Of the whole network.
        lr: Highest learning rate of the whole network, for batches of 32; others scale it.
        seed: Of order, augmentation and folds.
    """

    pretrained: str
    size: int | None = None
    epochs: int = 8
    batch_size: int = 32
    lr: float = 0.01
    seed: int = 0


def transfer_config(folder: ClassFolder, work_dir: Path, plan: Plan) -> Config:
    """The config of a classifier of a folder's classes; the lists of its photographs are written.

    Args:
        folder: Photographs.
        work_dir: Gets ``train.json`` and ``test.json``, which the config names.
        plan: Of the training.

    Raises:
        InputError: If the weights cannot be had or are not MobileNetV1's, or the size is too small.
    """
    cfg = load_config(CONFIG, work_dir=str(work_dir))
    recipe, size = check_plan(plan)
    cfg.model.backbone.widen_factor = recipe.widen_factor
    channels = make_divisible(TABLE[-1].channels * recipe.widen_factor)
    cfg.model.head.update(num_classes=len(folder.classes), in_channels=channels)
    use_pretrained(cfg, plan.pretrained)
    for loader, photos in zip(LOADERS, (folder.train, folder.test, folder.test), strict=True):
        name = 'train.json' if loader == 'train_dataloader' else 'test.json'
        _write_list(work_dir / name, folder, photos)
        for dataset in datasets_of(cfg[loader]):
            dataset.update(
                type='BaseDataset',
                data_root=str(folder.root.resolve()),
                data_prefix='',
                ann_file=str((work_dir / name).resolve()),
                metainfo=dict(classes=list(folder.classes)),
            )
            _set_size(dataset.pipeline, size)
    cfg.train_dataloader.batch_size = min(plan.batch_size, len(folder.train))
    _set_schedule(cfg, plan, len(folder.train))
    cfg.randomness = dict(seed=plan.seed)
    return cfg


def check_plan(plan: Plan) -> tuple[Recipe, int]:
    """Check what a training starts from, before its photographs are looked at.

    Args:
        plan: Of it.

    Returns:
        What the weights say of themselves, and the side of the input in pixels.

    Raises:
        InputError: If the weights cannot be had or are not MobileNetV1's, or the size is too small.
    """
    recipe = import_weights(plan.pretrained).recipe
    size = plan.size or recipe.input_size
    if size < 32:
        raise InputError(f'the size must be at least 32 pixels, the stride of the network, got {size}')
    return recipe, size


def add_linear_head(
    cfg: Config, folder: ClassFolder, seed: int, progress: Callable[[], object] | None = None
) -> tuple[Any, LinearClassifier]:
    """The config's network with its pre-trained weights, and a linear classifier fitted on their features.

    Args:
        cfg: Of ``transfer_config``.
        folder: Photographs.
        seed: Of the folds.
        progress: Called after each photograph.

    Returns:
        The network, in evaluation mode, and the classifier that it now ends in.
    """
    with user_errors(f'config {cfg.filename}'):
        use_scope('mmpretrain')
        model = MODELS.build(dict(cfg.model, _scope_='mmpretrain'))
        with errors_only():
            model.init_weights()
    model.eval()
    size = next(step.size for step in cfg.test_dataloader.dataset.pipeline if step.type == 'MiddleSquare')
    found = np.concatenate([*features(model, folder.train, size, progress)])
    linear = fit_linear(found, np.array([photo.label for photo in folder.train]), seed)
    with torch.no_grad():
        model.head.fc.weight.copy_(torch.from_numpy(linear.weight))
        model.head.fc.bias.copy_(torch.from_numpy(linear.bias))
    return model, linear


@torch.inference_mode()
def features(
    model: Any, photos: Sequence[Photo], size: int, progress: Callable[[], object] | None = None
) -> Iterator[np.ndarray]:
    """Pooled features of photographs, float32 (up to 16, D) at a time.

    Args:
        model: MMPretrain's classifier, in evaluation mode.
        photos: To read.
        size: Side of the input, in pixels.
        progress: Called after each photograph.
    """

    def prepared(photo: Photo) -> Tensor:
        square = middle_square(read_image(photo.path), size)
        return torch.from_numpy(np.ascontiguousarray(square[..., ::-1].transpose(2, 0, 1)))

    for batch in batched(prefetch(prepared, photos, DECODERS, 32), 16):
        inputs = model.data_preprocessor(dict(inputs=batch))['inputs']
        yield model.extract_feat(inputs)[-1].numpy()
        for _ in batch if progress else ():
            assert progress is not None
            progress()


def save_start(model: Any, classes: Sequence[str], path: Path) -> None:
    """Write a network as a checkpoint that a run can start from (``load_from``).

    Args:
        model: The network.
        classes: Names.
        path: Of the file.
    """
    with atomic_file(path) as file:
        torch.save(
            dict(state_dict=model.state_dict(), meta=dict(dataset_meta=dict(classes=[*classes]))), file
        )


def weights_of(model: Any, classes: Sequence[str], source: str) -> Weights:
    """A classifier's weights, as they are published.

    Args:
        model: The network.
        classes: Names.
        source: Where they come from, for the recipe.
    """
    recipe = recipe_of(model, source)
    assert recipe is not None  # its backbone is MobileNetV1
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.endswith('_tracked')}
    return Weights(state, recipe, classes=tuple(classes), kind='classifier')


def _write_list(path: Path, folder: ClassFolder, photos: Sequence[Photo]) -> None:
    """A list of photographs in OpenMMLab's format."""
    entries = [dict(img_path=p.path.relative_to(folder.root).as_posix(), gt_label=p.label) for p in photos]
    write_json(path, dict(metainfo=dict(classes=list(folder.classes)), data_list=entries), indent=1)


def _set_size(pipeline: Sequence[Any], size: int) -> None:
    for step in pipeline:
        if step.type == 'MiddleSquare':
            step.size = size
        elif step.type == 'RandomResizedCrop':
            step.scale = size


def _set_schedule(cfg: Config, plan: Plan, photos: int) -> None:
    """Epochs, rate and warm-up; a last batch of one photograph, which has no statistics, is left out."""
    batch_size = cfg.train_dataloader.batch_size
    steps = max(photos // batch_size, 1)
    cfg.train_dataloader.drop_last = photos % batch_size == 1
    cfg.train_cfg.update(max_epochs=plan.epochs, val_interval=plan.epochs)
    warm_up, cosine = cfg.param_scheduler
    warm_up.end = min(warm_up.end, steps)
    cosine.update(T_max=plan.epochs, end=plan.epochs)
    cfg.optim_wrapper.optimizer.lr = plan.lr * batch_size / 32
    cfg.max_epochs = plan.epochs
