"""Core ML packages: how they are run, which only Apple's systems do. Needs no torch."""

from __future__ import annotations

import importlib
import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mbv1_backbone.common.choices import EXPORT_FORMATS
from mbv1_backbone.common.errors import InputError, NotInstalledError
from mbv1_backbone.runtime.spec import KEY, ModelSpec

__all__ = [
    'COUNT',
    'IMAGE',
    'INSIDE',
    'LABELS',
    'check_coreml',
    'coreml_files_of',
    'coremltools',
    'open_coreml',
    'runs_coreml',
]

IMAGE = 'image'  # the input: RGB
LABELS = 'mbv1_labels'  # under which a classifier says what its classes are called, in order
COUNT = 'mbv1_max_per_img'  # under which a detector says how many detections an image has at most
INSIDE = 'Data/com.apple.CoreML'  # where a package has its model
_LOGGER = logging.getLogger('coremltools')
Run = Callable[[np.ndarray], tuple[np.ndarray, ...]]


def runs_coreml() -> bool:
    """Whether this system has Core ML."""
    return sys.platform == 'darwin'


def check_coreml(path: Path) -> None:
    """Check that a package can run on this system; other files pass.

    Raises:
        InputError: If not.
    """
    if path.suffix == '.mlpackage' and path.is_dir() and not runs_coreml():
        others = ', '.join(name for name in EXPORT_FORMATS if name != 'coreml')
        raise InputError(f'{path}: Core ML runs on macOS and iOS alone; here run files of --to {others}')


def coreml_files_of(path: Path) -> tuple[Path, ...]:
    """The files of a package, which is a folder: its list, the model, and the weights."""
    return path / 'Manifest.json', *sorted(p for p in (path / INSIDE).glob('**/*') if p.is_file())


def coremltools() -> Any:
    """Apple's tools, without what they log of other libraries' versions and of systems without Core ML.

    Raises:
        NotInstalledError: If they are not installed.
    """
    if _LOGGER.level == logging.NOTSET:
        _LOGGER.setLevel(logging.ERROR)
    try:
        return importlib.import_module('coremltools')
    except ImportError as error:
        raise NotInstalledError("Core ML needs coremltools: pip install 'mbv1-backbone[coreml]'") from error


def open_coreml(path: Path, threads: int | None, mode: str) -> tuple[ModelSpec, str, Run, int]:
    """A package of ``mbv1 export``, ready to run: its spec, the runtime, a function, how many run at once.

    Core ML itself chooses the processor, and how many of its cores.

    Args:
        path: ``.mlpackage``.
        threads: Not used.
        mode: Not used: Core ML computes one image after the other.

    Raises:
        InputError: If the package is damaged or not of ``mbv1 export``.
        NotInstalledError: If coremltools is not installed.
    """
    tools = coremltools()
    try:
        model = tools.models.MLModel(str(path))
    except Exception as error:  # whatever Core ML's own errors are, by way of Objective-C
        raise InputError(f'{path}: Core ML cannot read it: {str(error)[:200]}') from error
    said = dict(model.user_defined_metadata)
    spec, most = ModelSpec.from_text(said.get(KEY), path), int(said.get(COUNT, 0))
    keys = [output.name for output in model.get_spec().description.output]
    if spec.kind == 'classifier':
        keys = json.loads(said[LABELS])

    def run(images: np.ndarray) -> tuple[np.ndarray, ...]:
        found = [
            _predictions(model.predict({IMAGE: Image.fromarray(image)}), keys, spec, most) for image in images
        ]
        return tuple(np.stack(parts) for parts in zip(*found, strict=True))

    return spec, f'coreml {tools.__version__}', run, 1


def _predictions(
    found: Mapping[str, Any], keys: Sequence[Any], spec: ModelSpec, most: int
) -> list[np.ndarray]:
    """What a package answers of one image, as other formats do.

    Args:
        found: By the names of the outputs; a classifier's has its probabilities by the classes' labels.
        keys: Labels of a classifier's classes, else names of the outputs; in order.
        spec: Of the package.
        most: Detections of an image.
    """
    if spec.kind == 'detector':
        return _detections(np.asarray(found['confidence']), np.asarray(found['coordinates']), spec.size, most)
    if spec.kind == 'classifier':
        by_label = found['classLabel_probs']
        return [np.array([by_label[label] for label in keys], np.float32)]
    return [np.asarray(found[name], np.float32)[0] for name in keys]


def _detections(scores: np.ndarray, boxes: np.ndarray, size: tuple[int, int], most: int) -> list[np.ndarray]:
    """Boxes (K, 4) in pixels, scores and labels (K,) of what Core ML's suppression leaves, 0 where none is.

    Args:
        scores: (found, classes).
        boxes: (found, 4): centre x, y, width and height as shares of the image.
        size: Height and width of the image, in pixels.
        most: K.
    """
    best = scores.max(1, initial=0)
    order = np.argsort(-best, kind='stable')[:most]
    whole, kept, labels = (
        np.zeros((most, 4), np.float32),
        np.zeros(most, np.float32),
        np.zeros(most, np.int64),
    )
    limits = np.array([size[1], size[0]] * 2, np.float32)
    centres, sides = boxes[order, :2], boxes[order, 2:]
    count = len(order)
    whole[:count] = np.clip(np.hstack([centres - sides / 2, centres + sides / 2]) * limits, 0, limits)
    kept[:count], labels[:count] = best[order], scores[order].argmax(1)
    return [whole, kept, labels]
