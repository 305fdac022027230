"""What a name stands for: one read of a source, one decision of what it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS
from torch import Tensor, nn

from mbv1_backbone.classification.place_head import without_cells_file
from mbv1_backbone.common.coco import COCO_CLASSES, category_ids
from mbv1_backbone.common.errors import InputError, user_errors
from mbv1_backbone.compat.registry import use_scope
from mbv1_backbone.models.recipe import Recipe, recipe_of
from mbv1_backbone.runtime.sessions import SUFFIXES
from mbv1_backbone.runtime.spec import with_article
from mbv1_backbone.training.checkpoint import Checkpoint, fill, read_checkpoint, weights_fingerprint
from mbv1_backbone.training.config import kind_of, load_config
from mbv1_backbone.weights.pytorch import from_state_dict, is_pth
from mbv1_backbone.weights.recalibrate import build_network
from mbv1_backbone.weights.sources import import_weights, local_file
from mbv1_backbone.weights.store import Weights
from mbv1_backbone.weights.zoo import config_of

__all__ = ['PathLike', 'Trained', 'resolve']

PathLike = str | os.PathLike[str]
_CHECKPOINT = 'backbone.rows.0.conv.weight'  # is there where weights have more than a backbone
_EMBEDDER = 'FaceEmbeddingModel'
# exported files that nothing is read back from
_WITHOUT_WEIGHTS = frozenset(SUFFIXES) - {'.tflite'}


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network: weights that have been read, and how the network around them is built.

    Attributes:
        name: As the user gave it.
        kind: One of ``KINDS``.
        checkpoint: The weights, in memory.
        config: Where one builds the network.
    """

    name: str
    kind: str
    checkpoint: Checkpoint
    config: Config | None = None

    def expect(self, *kinds: str) -> Trained:
        """The same, if it is of one of these kinds.

        Raises:
            InputError: If it is of another.
        """
        if self.kind not in kinds:
            wanted = ' or '.join(map(with_article, kinds))
            raise InputError(f'{self.name}: not {wanted}, but {with_article(self.kind)}')
        return self

    @cached_property
    def model(self) -> Any:
        """The network with its weights, in evaluation mode, built at the first use.

        Raises:
            InputError: If the config is wrong, or the weights are not the network's.
        """
        if self.config is not None:
            model = _build(self.config, self.kind, self.checkpoint.state)
        elif self.kind == 'embedder':
            model = _build_embedder(_embedder_config(self.checkpoint), self.name)
        else:
            assert self.checkpoint.recipe is not None  # resolve() gives one
            return build_network(Weights(self.checkpoint.state, self.checkpoint.recipe)).eval()
        fill(model, self.checkpoint)
        return model.eval()

    @cached_property
    def recipe(self) -> Recipe:
        """How the backbone is built and fed.

        Raises:
            InputError: If the backbone is not MobileNetV1.
        """
        if self.config is None and self.kind != 'embedder':
            assert self.checkpoint.recipe is not None
            return self.checkpoint.recipe
        source = self.name if self.config is None else f'config {Path(self.config.filename).stem}'
        recipe = recipe_of(self.model, source)
        if recipe is None:
            raise InputError(f'{source}: its backbone is not MobileNetV1')
        return recipe

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the weights as the network holds them."""
        return weights_fingerprint(self.model)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of a detector's classes: those it was trained on, else the config's, else COCO's."""
        return self.class_names or COCO_CLASSES

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes: those it was trained on, else the config's; empty where neither says."""
        trained = (self.checkpoint.meta.get('dataset_meta') or {}).get('classes')
        config = self.config or Config()
        dataset = (config.get('test_dataloader') or {}).get('dataset', {})
        return tuple(trained or (dataset.get('metainfo') or {}).get('classes') or ())

    @property
    def category_ids(self) -> tuple[int | str, ...]:
        """Ids of a detector's classes in results: those of the data set, where the checkpoint has them."""
        return category_ids(self.classes, self.checkpoint.meta.get('category_ids'))


def resolve(source: PathLike | Config, checkpoint: PathLike | None = None) -> Trained:
    """Read what a user names, once, and say what it is.

    Args:
        source: A config, with ``checkpoint``; weights of an embedder or a classifier, or of a backbone alone;
            or a name in the model zoo, whose config is the zoo's.
        checkpoint: Of the config.

    Returns:
        Weights in memory, and what they are of; the network itself is built when it is asked for.

    Raises:
        InputError: If something is missing or wrong.
    """
    if isinstance(source, Config) or Path(source).suffix == '.py':
        config = source if isinstance(source, Config) else load_config(source)
        name = str(config.filename)
        if checkpoint is None:
            raise InputError(f'config {name}: needs a checkpoint')
        return Trained(name, _kind_of(config), read_checkpoint(local_file(checkpoint)), config)
    name = os.fspath(source)
    if checkpoint is not None:
        raise InputError(f'{name}: a second checkpoint {checkpoint} goes with a config only')
    if Path(name).suffix in _WITHOUT_WEIGHTS:
        raise InputError(f'{name}: an exported file has no weights to read; give what it was exported from')
    found = _read(name)
    if _CHECKPOINT not in found.state:
        kind = 'classifier' if 'head.fc.weight' in found.state else 'backbone'
        return Trained(name, kind, found)
    if _is_embedder(found, name):
        return Trained(name, 'embedder', found)
    path = config_of(name)
    if path is None:
        kind = 'classifier of a run' if 'head.fc.weight' in found.state else 'detector'
        raise InputError(f'{name}: a {kind} needs its config before it')
    config = load_config(path)
    return Trained(name, _kind_of(config), found, config)


def _read(name: str) -> Checkpoint:
    """Weights by our names, of any source."""
    path = local_file(name)
    if path.suffix == '.safetensors' or (path.is_file() and is_pth(path)):
        found = read_checkpoint(path)
        if found.recipe is not None and (_CHECKPOINT in found.state or 'rows.0.conv.weight' in found.state):
            return found
        weights = from_state_dict(found.state, str(path))
    else:
        weights = import_weights(path)
    meta = dict(recipe=asdict(weights.recipe), kind=weights.kind, dataset_meta=dict(classes=weights.classes))
    return Checkpoint(path, weights.state, meta)


def _is_embedder(found: Checkpoint, name: str) -> bool:
    """By the kind that published weights have, or the run's config; else by what only one kind has.

    Raises:
        InputError: If the weights may as well be a classifier's, whose tensors have the same names.
    """
    kind, config = found.meta.get('kind'), found.meta.get('cfg')
    if 'head.fc.weight' not in found.state or kind is not None:
        return kind == 'embedder'
    if isinstance(config, str):
        return _EMBEDDER in config
    if (found.meta.get('dataset_meta') or {}).get('classes'):
        return False
    recipe = found.recipe
    fed = recipe is not None and (recipe.gray or recipe.input_size != Recipe.input_size)  # else the default
    if 'head.norm.weight' not in found.state and not fed:
        raise InputError(
            f'{name}: does not say whether it is of an embedder or of a classifier; '
            'give its config before it, or publish it again'
        )
    return True


def _kind_of(config: Config) -> str:
    kind = kind_of(config)
    if kind is None:
        found = str((config.get('model') or {}).get('type')).rpartition('.')[2]
        raise InputError(f'config {config.filename}: not a detector, classifier or embedder, but {found}')
    return kind


def _build(config: Config, kind: str, state: dict[str, Tensor]) -> nn.Module:
    name = f'config {config.filename}'
    if kind == 'embedder':
        return _build_embedder(config.model, name)
    scope = 'mmdet' if kind == 'detector' else 'mmpretrain'
    with user_errors(name):
        use_scope(config.get('default_scope', scope))
        if kind == 'detector':
            config.model.setdefault('train_cfg', None)
        return MODELS.build(dict(without_cells_file(config.model, state), _scope_=scope))


def _embedder_config(found: Checkpoint) -> dict[str, Any]:
    """By what a checkpoint says of itself."""
    recipe, state = found.recipe, found.state
    if recipe is None:
        raise InputError(f'{found.path}: does not say how its network is built')
    dims = len(state['head.fc.weight']) if 'head.fc.weight' in state else None
    fed = dict(input_size=recipe.input_size, gray=recipe.gray, window=recipe.window)
    return dict(
        type=_EMBEDDER,
        backbone=dict(type='MobileNetV1', **recipe.backbone()),
        head=dict(embedding_dims=dims, norm='head.norm.weight' in state),
        data_preprocessor=dict(**recipe.preprocessor(), **fed),
    )


def _build_embedder(config: dict[str, Any], source: str) -> nn.Module:
    if not isinstance(config.get('backbone'), Mapping):
        raise InputError(f'{source}: model.backbone must be a dict, got {config.get("backbone")!r}')
    with user_errors(source):
        backbone = {**config['backbone'], 'type': 'MobileNetV1', 'init_cfg': None}
        return MODELS.build({**config, 'backbone': backbone, 'losses': (), '_scope_': 'mmengine'})
