"""What there is to export or to run: the graphs of checkpoints, configs and names in the model zoo."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn

from mbv1_backbone.common.choices import PARTS
from mbv1_backbone.common.errors import InputError, user_errors
from mbv1_backbone.common.images import middle_square
from mbv1_backbone.export.graphs import (
    BackboneGraph,
    ClassifierGraph,
    EmbedderGraph,
    Graph,
    Normalise,
    multiple_of,
)
from mbv1_backbone.face.geometry import fit_square
from mbv1_backbone.inference.embedder import FaceEmbedder, is_embedder
from mbv1_backbone.models.mobilenet_v1 import MobileNetV1
from mbv1_backbone.models.recipe import Recipe, recipe_of
from mbv1_backbone.runtime.spec import ModelSpec
from mbv1_backbone.training.checkpoint import load_weights
from mbv1_backbone.training.config import load_config
from mbv1_backbone.weights import import_weights
from mbv1_backbone.weights.recalibrate import build_network
from mbv1_backbone.weights.store import fingerprint

if TYPE_CHECKING:  # faces do without mmdet
    from mbv1_backbone.inference.detector import Detector

PathLike = str | os.PathLike[str]


class Source(NamedTuple):
    """A network to export or to run.

    Attributes:
        graph: From bytes of images to answers.
        spec: What its file says.
        ours: ``Detector`` or ``FaceEmbedder``, which answers in PyTorch; of the others nothing.
    """

    graph: Graph
    spec: ModelSpec
    ours: Any = None


def input_of(image: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """An RGB image, uint8 (H, W, 3), as a network is fed it: cut or resized to its input's size."""
    if spec.kind == 'embedder':
        return fit_square(image, spec.size[0])
    if spec.kind == 'detector':
        from mbv1_backbone.inference.detector import fit

        return fit(image, spec)[0]
    return middle_square(image, spec.size[0])


class NotExportable(InputError):
    """A detector of a kind that cannot be exported; ``detector`` detects in PyTorch."""

    def __init__(self, message: str, detector: Detector) -> None:
        super().__init__(message)
        self.detector = detector


def find_source(
    source: PathLike, checkpoint: PathLike | None = None, precision: str = 'fp32', part: str = 'whole'
) -> Source:
    """What a user names.

    Args:
        source: A config, with ``checkpoint``; weights of an embedder or a classifier, or of a backbone alone;
            a name in the model zoo.
        checkpoint: Of the config.
        precision: Of the file that is to be.
        part: ``'whole'``, or ``'backbone'``: the maps at its taps.

    Raises:
        InputError: If something is missing or wrong.
        NotExportable: If a detector is of a kind that cannot be exported.
    """
    if part not in PARTS:
        raise InputError(f'part must be one of {", ".join(PARTS)}, got {part!r}')
    if Path(source).suffix != '.py':
        if checkpoint is not None:
            raise InputError(f'{source}: a second checkpoint {checkpoint} goes with a config only')
        if is_embedder(source):
            return embedder_source(FaceEmbedder.load(source), precision, part)
        return _of_weights(source, precision, part)
    if checkpoint is None:
        raise InputError(f'config {source}: needs a checkpoint')
    cfg = load_config(source)
    if cfg.model.type == 'FaceEmbeddingModel':
        return embedder_source(FaceEmbedder.load(source, checkpoint), precision, part)
    if cfg.model.type.endswith('ImageClassifier'):
        return _classifier(cfg, checkpoint, precision, part)
    from mbv1_backbone.inference.detector import Detector

    return detector_source(Detector.load(cfg, checkpoint), cfg, precision, part)


def embedder_source(embedder: FaceEmbedder, precision: str = 'fp32', part: str = 'whole') -> Source:
    """Of a face embedder."""
    if part == 'backbone':
        return backbone_source(
            embedder.model.backbone, embedder.recipe, (embedder.input_size,) * 2, precision
        )
    spec = ModelSpec(
        kind='embedder',
        size=(embedder.input_size,) * 2,
        precision=precision,
        fingerprint=embedder.fingerprint,
        recipe=asdict(embedder.recipe),
        dims=embedder.dims,
    )
    return Source(EmbedderGraph(embedder.model), spec, embedder)


def detector_source(detector: Detector, cfg: Config, precision: str = 'fp32', part: str = 'whole') -> Source:
    """Of a detector that a config built.

    Raises:
        NotExportable: If it is of a kind that cannot be exported, or the config does not say the size.
    """
    from mbv1_backbone.export.detectors import detector_graph_of

    name = f'config {cfg.filename}'
    resize = next((s for s in cfg.test_dataloader.dataset.pipeline if s.type.endswith('Resize')), None)
    recipe = recipe_of(detector.model, f'config {Path(cfg.filename).stem}')
    if resize is None:
        raise NotExportable(f'{name}: its test pipeline has no Resize, which says the size', detector)
    if recipe is None:
        raise NotExportable(f'{name}: its backbone is not MobileNetV1', detector)
    width, height = (resize.scale,) * 2 if isinstance(resize.scale, int) else resize.scale
    if part == 'backbone':
        return backbone_source(detector.model.backbone, recipe, (height, width), precision)
    spec = ModelSpec(
        kind='detector',
        size=(height, width),
        precision=precision,
        fingerprint=fingerprint(detector.model.state_dict()),
        recipe=asdict(recipe),
        classes=detector.classes,
        keep_ratio=resize.get('keep_ratio', False),
    )
    try:
        return Source(detector_graph_of(detector.model, spec.size), spec, detector)
    except ValueError as error:
        raise NotExportable(f'{name}: {error}', detector) from error


def _classifier(cfg: Config, checkpoint: PathLike, precision: str, part: str) -> Source:
    """A classifier of mmpretrain's."""
    with user_errors(f'config {cfg.filename}'):
        init_default_scope(cfg.get('default_scope', 'mmpretrain'))
        model = MODELS.build(dict(cfg.model, _scope_='mmpretrain'))
    load_weights(model, checkpoint)
    recipe = recipe_of(model, f'config {Path(cfg.filename).stem}')
    if recipe is None:
        raise InputError(f'config {cfg.filename}: its backbone is not MobileNetV1')
    steps = (cfg.get('test_dataloader') or {}).get('dataset', {}).get('pipeline', [])
    crop = next((s.crop_size for s in steps if s.type.endswith('CenterCrop')), recipe.input_size)
    size = (crop, crop) if isinstance(crop, int) else tuple(crop)
    if part == 'backbone':
        return backbone_source(model.backbone, recipe, size, precision)
    return _classifying(_Logits(model), Normalise.of(model), recipe, size, precision)


class _Logits(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images, mode='tensor')


def _of_weights(source: PathLike, precision: str, part: str) -> Source:
    """A classifier, or a backbone, that is not built by a config."""
    weights = import_weights(source)
    if 'rows.0.conv.weight' not in weights.state:
        raise InputError(f'{source}: a detector needs its config before it')
    network, recipe = build_network(weights), weights.recipe
    size = (recipe.input_size,) * 2
    if part == 'backbone' or len(network) == 1:
        return backbone_source(network[0].backbone, recipe, size, precision)
    normalise = Normalise(recipe.mean, recipe.std, recipe.gray)
    return _classifying(network, normalise, recipe, size, precision)


def _classifying(
    network: nn.Module, normalise: Normalise, recipe: Recipe, size: tuple[int, ...], precision: str
) -> Source:
    spec = _of_any_size('classifier', network, recipe, size, precision)
    return Source(ClassifierGraph(network, normalise, recipe.background), spec)


def backbone_source(
    backbone: MobileNetV1, recipe: Recipe, size: tuple[int, ...], precision: str = 'fp32'
) -> Source:
    """Of a backbone, for images of ``size`` (height and width) and others."""
    spec = _of_any_size('backbone', backbone, recipe, size, precision)
    return Source(BackboneGraph(backbone, Normalise(recipe.mean, recipe.std, recipe.gray)), spec)


def _of_any_size(
    kind: str, network: nn.Module, recipe: Recipe, size: tuple[int, ...], precision: str
) -> ModelSpec:
    multiple = multiple_of(recipe)
    height, width = (-(-side // multiple) * multiple for side in size)
    return ModelSpec(
        kind=kind,
        size=(height, width),
        precision=precision,
        fingerprint=fingerprint(network.state_dict()),
        recipe=asdict(recipe),
        any_size=True,
        multiple=multiple,
    )
