"""ncnn files: what the file beside them says of them, and how they are run. Needs no torch."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from mbv1_backbone.common.cpu import cores
from mbv1_backbone.common.errors import InputError, NotInstalledError
from mbv1_backbone.runtime.spec import KEY, ModelSpec

__all__ = ['DIGESTS', 'ncnn_files_of', 'open_ncnn']

DIGESTS = 'sha256'  # of the two other files, by their suffixes
_WAITING = 'OMP_WAIT_POLICY'
Run = Callable[[np.ndarray], tuple[np.ndarray, ...]]


def ncnn_files_of(path: Path) -> tuple[Path, Path, Path]:
    """Layers, weights and spec."""
    return path, path.with_suffix('.bin'), path.with_suffix('.json')


def open_ncnn(path: Path, threads: int | None, mode: str) -> tuple[ModelSpec, str, Run, int]:
    """A network of ``mbv1 export``, ready to run: its spec, the runtime, a function, how many run at once.

    It computes in float32, whatever its weights are stored in.

    Args:
        path: ``.param``, with its ``.bin`` and ``.json`` beside it.
        threads: Cores to use; None for all that the process may.
        mode: ``'latency'``: all cores work on one image; ``'throughput'``: a core on each of several.

    Raises:
        InputError: If one of its files is missing or damaged, or not of ``mbv1 export``.
        NotInstalledError: If the runtime is not installed.
    """
    spec, outputs = _read_spec(path)
    count = outputs.get('detections', [0])[0]
    runtime = _ncnn(path)
    used = threads or cores()
    parallel = used if mode == 'throughput' else 1
    networks: dict[int, Any] = {}  # by process: a fork has none of the threads of the one it came from

    def network() -> Any:
        process = os.getpid()
        if process not in networks:
            each = 1 if networks or parallel > 1 else used  # a fork's own threads would wait for ever
            networks[process] = _network(runtime, path, each)
        return networks[process]

    def run(images: np.ndarray) -> tuple[np.ndarray, ...]:
        found = [_run_one(runtime, network(), image, tuple(outputs)) for image in images]
        if spec.kind == 'detector':
            found = [_detections(rows, spec.size, count) for [rows] in found]
        return tuple(np.stack(parts) for parts in zip(*found, strict=True))

    network()
    return spec, f'ncnn {version("ncnn")}', run, parallel


def _ncnn(path: Path) -> Any:
    """ncnn, with threads that sleep where they wait for each other, unless the environment says otherwise.

    Its OpenMP has them spin, which it is told when it is loaded: with two threads on two cores that others
    keep busy an image took 1.06 s in place of .063, and 13 times the processor's time.
    """
    given = os.environ.get(_WAITING)
    os.environ.setdefault(_WAITING, 'passive')
    try:
        return importlib.import_module('ncnn')
    except ImportError as error:
        raise NotInstalledError(f'{path}: needs ncnn: pip install ncnn') from error
    finally:
        if given is None:
            del os.environ[_WAITING]


def _read_spec(path: Path) -> tuple[ModelSpec, dict[str, list[int]]]:
    """The spec, and names and shapes of the outputs, once the files are known to be those that were written.

    ncnn itself reads whatever it is given, and a damaged file can end the process.
    """
    beside = path.with_suffix('.json')
    for file in ncnn_files_of(path)[1:]:
        if not file.is_file():
            raise InputError(f'{path}: {file.name} is not beside it; not a file of mbv1 export')
    try:
        about = json.loads(beside.read_bytes())
        spec = ModelSpec.from_text(json.dumps(about[KEY]), beside)
        digests = dict(about[DIGESTS])
        outputs = {str(name): [int(side) for side in shape] for name, shape in about['outputs'].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f'{beside}: not a file of mbv1 export') from error
    for file in ncnn_files_of(path)[:2]:
        if sha256(file.read_bytes()).hexdigest() != digests.get(file.suffix):
            raise InputError(f'{file}: damaged, or not the file that {beside.name} describes')
    return spec, outputs


def _network(runtime: Any, path: Path, threads: int) -> Any:
    network = runtime.Net()
    network.opt.num_threads = threads
    network.opt.use_fp16_packed = network.opt.use_fp16_storage = network.opt.use_fp16_arithmetic = False
    if network.load_param(str(path)) or network.load_model(str(path.with_suffix('.bin'))):
        raise InputError(f'{path}: ncnn cannot read it')
    return network


def _run_one(runtime: Any, network: Any, image: np.ndarray, outputs: tuple[str, ...]) -> list[np.ndarray]:
    """The outputs for one image, uint8 (H, W, 3)."""
    extractor = network.create_extractor()
    height, width = image.shape[:2]
    pixels = np.ascontiguousarray(image)
    extractor.input('images', runtime.Mat.from_pixels(pixels, runtime.Mat.PixelType.PIXEL_RGB, width, height))
    found = []
    for name in outputs:
        failure, blob = extractor.extract(name)
        if failure:
            raise RuntimeError(f'ncnn: {name} could not be computed, error {failure}')
        found.append(np.zeros(0, np.float32) if blob.empty() else np.array(blob, np.float32))
    return found


def _detections(rows: np.ndarray, size: tuple[int, int], count: int) -> list[np.ndarray]:
    """Boxes (K, 4) in pixels, scores and labels (K,) of rows of label, score and box; scores 0 where none is.

    Args:
        rows: float32 (found, 6): labels from 1 on, boxes as shares of the image; of any shape without any.
        size: Height and width of the image, in pixels.
        count: K.
    """
    rows = rows if rows.ndim == 2 else np.zeros((0, 6), np.float32)
    whole = np.zeros((count, 6), np.float32)
    whole[: len(rows)] = rows
    whole[len(rows) :, 0] = 1
    limits = np.array([size[1], size[0]] * 2, np.float32)
    return [np.clip(whole[:, 2:] * limits, 0, limits), whole[:, 1], whole[:, 0].astype(np.int64) - 1]
