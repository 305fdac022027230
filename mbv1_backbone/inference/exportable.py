"""What is exported of a trained network: a graph, and what its file says of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from mbv1_backbone.classification.place_head import PlacesHead, partition_of
from mbv1_backbone.common.choices import PARTS
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.images import middle_square
from mbv1_backbone.export.graphs import (
    BackboneGraph,
    ClassifierGraph,
    EmbedderGraph,
    Graph,
    Logits,
    Normalise,
    check_rgb,
    multiple_of,
)
from mbv1_backbone.export.litert.trained import trained_ranges
from mbv1_backbone.face.geometry import fit_square
from mbv1_backbone.face.model import FaceEmbeddingModel
from mbv1_backbone.inference.inputs import fit
from mbv1_backbone.inference.resolve import Trained
from mbv1_backbone.models.imagenet import imagenet_classes
from mbv1_backbone.models.mobilenet_v1 import MobileNetV1
from mbv1_backbone.models.recipe import Recipe
from mbv1_backbone.runtime.spec import ModelSpec
from mbv1_backbone.training.checkpoint import weights_fingerprint
from mbv1_backbone.training.classifier_input import classifier_crop, classifier_size
from mbv1_backbone.training.network_input import resize_of, size_of_resize
from mbv1_backbone.weights.zoo import licence_of

__all__ = [
    'Exportable',
    'NotExportable',
    'embedder_spec',
    'exportable',
    'exportable_backbone',
    'input_of',
    'settings_of',
]


class NotExportable(InputError):
    """A detector of a kind that cannot be exported; PyTorch runs it."""


class Exportable(NamedTuple):
    """A network as it is exported.

    Attributes:
        graph: From bytes of images to predictions.
        spec: What its file says.
    """

    graph: Graph
    spec: ModelSpec


def exportable(found: Trained, precision: str = 'fp32', part: str = 'whole') -> Exportable:
    """What is exported of a network.

    Args:
        found: The network.
        precision: Of the file that is to be.
        part: ``'whole'``, or ``'backbone'``: the maps at its taps.

    Raises:
        InputError: If there is no such part, or something is wrong with the network.
        NotExportable: If it is a detector of a kind that cannot be exported.
    """
    made = _exportable(found, precision, part)
    made.graph.ranges = trained_ranges(found.checkpoint.meta, found.name)
    return made._replace(spec=replace(made.spec, licence=licence_of(found.checkpoint.path)))


def _exportable(found: Trained, precision: str, part: str) -> Exportable:
    if part not in PARTS:
        raise InputError(f'part must be one of {", ".join(PARTS)}, got {part!r}')
    if part == 'backbone' or found.kind == 'backbone':
        return exportable_backbone(_backbone(found), found.recipe, _size(found), precision)
    if found.kind == 'embedder':
        model: FaceEmbeddingModel = found.model
        return Exportable(EmbedderGraph(model), embedder_spec(model, found.recipe, precision))
    if found.kind == 'detector':
        return _detector(found, precision)
    network, normalise = found.model, Normalise(found.recipe.mean, found.recipe.std, found.recipe.gray)
    if found.config is not None:
        network, normalise = Logits(network), Normalise.of(network)
    spec = _of_any_size(found.kind, network, found.recipe, _size(found), precision)
    spec = replace(spec, **{'classes': _names(found), **_cells(found)}, crop=_crop(found))
    return Exportable(ClassifierGraph(network, normalise, found.recipe.background), spec)


def exportable_backbone(
    backbone: MobileNetV1, recipe: Recipe, size: tuple[int, ...], precision: str = 'fp32'
) -> Exportable:
    """Of a backbone, for images of ``size`` (height and width) and others.

    Args:
        backbone: The network.
        recipe: Of its weights.
        size: Height and width of the images that it is traced with, in pixels.
        precision: Of the file.

    Raises:
        InputError: If its images are not of three channels.
    """
    check_rgb(backbone)
    spec = _of_any_size('backbone', backbone, recipe, size, precision)
    return Exportable(BackboneGraph(backbone, Normalise(recipe.mean, recipe.std, recipe.gray)), spec)


def embedder_spec(model: FaceEmbeddingModel, recipe: Recipe, precision: str = 'fp32') -> ModelSpec:
    """What an embedding model is.

    Args:
        model: The network.
        recipe: Of its weights.
        precision: Of the file.
    """
    return ModelSpec(
        kind='embedder',
        size=(recipe.input_size,) * 2,
        precision=precision,
        fingerprint=weights_fingerprint(model),
        recipe=asdict(recipe),
        dims=int(model.head.embedding_dims),
    )


def input_of(image: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """An RGB image, uint8 (H, W, 3), as a network is fed it: cut or resized to its input's size."""
    if spec.kind == 'embedder':
        return fit_square(image, spec.size[0])
    return fit(image, spec)[0] if spec.kind == 'detector' else middle_square(image, spec.size[0], spec.crop)


def _detector(found: Trained, precision: str) -> Exportable:
    from mbv1_backbone.export.detectors import detector_graph_of  # faces do without mmdet
    from mbv1_backbone.export.face_detectors import FaceDetectorGraph, has_landmarks

    try:
        recipe = found.recipe
    except InputError as error:
        raise NotExportable(str(error)) from error
    resize = _resize(found)
    spec = ModelSpec(
        kind='detector',
        size=_size(found),
        precision=precision,
        fingerprint=found.fingerprint,
        recipe={key: value for key, value in asdict(recipe).items() if key != 'input_size'},  # size says it
        classes=found.classes,
        category_ids=found.category_ids,
        keep_ratio=resize.get('keep_ratio', False),
        any_size=resize.type.endswith('BoundedResize'),
        settings=settings_of(found),
    )
    try:
        if spec.any_size and has_landmarks(found.model):
            return Exportable(FaceDetectorGraph(found.model), spec)
        if spec.any_size:
            raise ValueError(f'{resize.type} is for RetinaFaceHead; another head needs images of one size')
        return Exportable(detector_graph_of(found.model, spec.size), spec)
    except ValueError as error:
        raise NotExportable(f'{found.name}: {error}') from error


def settings_of(found: Trained) -> str:
    """SHA-256 of what a detector's config says of the network: the same weights may be in another one."""
    assert found.config is not None  # a detector has one
    return hashlib.sha256(json.dumps(found.config.model, sort_keys=True, default=str).encode()).hexdigest()


def _backbone(found: Trained) -> MobileNetV1:
    by_config = found.config is not None or found.kind == 'embedder'
    return found.model.backbone if by_config else found.model[0].backbone


def _size(found: Trained) -> tuple[int, int]:
    """Height and width of the input."""
    if found.kind == 'detector':
        return size_of_resize(_resize(found))
    side = found.recipe.input_size
    if found.kind != 'classifier' or found.config is None:
        return side, side
    return classifier_size(found.config, side)


def _names(found: Trained) -> tuple[str, ...]:
    """Of a classifier's classes: its own; of a thousand without names ImageNet's; else none."""
    outputs = len(found.checkpoint.state.get('head.fc.weight', ()))
    classes = outputs - (found.recipe.background is not None)
    return found.class_names or (imagenet_classes() if classes == len(imagenet_classes()) else ())


def _cells(found: Trained) -> dict[str, Any]:
    """Names, places and photographs of the classes, where they are cells of the earth."""
    head = getattr(found.model, 'head', None)
    if not isinstance(head, PlacesHead):
        return {}
    cells = partition_of(head.cells)
    places, photos = tuple(map(tuple, cells.places.tolist())), tuple(cells.photos.tolist())
    return dict(classes=cells.names, places=places, photos=photos)


def _crop(found: Trained) -> float:
    """Share of the shorter side that a classifier's test pipeline leaves; 1 where it does not say."""
    return 1.0 if found.config is None else classifier_crop(found.config, _size(found)[0])


def _resize(found: Trained) -> Any:
    """The step of a detector's test pipeline that says the size."""
    assert found.config is not None  # a detector has one
    resize = resize_of(found.config)
    if resize is None:
        raise NotExportable(f'{found.name}: its test pipeline has no Resize, which says the size')
    return resize


def _of_any_size(
    kind: str, network: nn.Module, recipe: Recipe, size: tuple[int, ...], precision: str
) -> ModelSpec:
    multiple = multiple_of(recipe)
    height, width = (-(-side // multiple) * multiple for side in size)
    return ModelSpec(
        kind=kind,
        size=(height, width),
        precision=precision,
        fingerprint=weights_fingerprint(network),
        recipe=asdict(recipe),
        any_size=True,
        multiple=multiple,
    )
