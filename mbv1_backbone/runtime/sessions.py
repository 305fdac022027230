"""Exported files, ready to run, by whichever runtime reads them."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mbv1_backbone.common import choices
from mbv1_backbone.common.choices import COMPUTED_IN, MODES
from mbv1_backbone.common.errors import InputError, NotInstalledError
from mbv1_backbone.runtime.coreml import check_coreml, coreml_files_of, open_coreml
from mbv1_backbone.runtime.executorch import open_executorch
from mbv1_backbone.runtime.litert import is_exported_litert, open_litert
from mbv1_backbone.runtime.ncnn import ncnn_files_of, open_ncnn
from mbv1_backbone.runtime.onnxruntime import open_onnxruntime
from mbv1_backbone.runtime.openvino import Int8Error, open_openvino
from mbv1_backbone.runtime.programs import open_program
from mbv1_backbone.runtime.spec import ModelSpec

__all__ = [
    'BACKENDS',
    'SUFFIXES',
    'Network',
    'Outputs',
    'Reopen',
    'Session',
    'check_images',
    'check_options',
    'files_of',
    'is_exported',
    'open_session',
    'top_left',
]

SUFFIXES = ('.onnx', '.xml', '.tflite', '.param', '.mlpackage', '.pt2', '.pte')
BACKENDS = tuple(name for name in choices.BACKENDS if name != 'torch')
_READERS = {
    '.onnx': ('openvino', 'onnxruntime'),
    '.xml': ('openvino',),
    '.tflite': ('litert',),
    '.param': ('ncnn',),
    '.mlpackage': ('coreml',),
    '.pt2': ('pt2',),
    '.pte': ('executorch',),
}
_OPENED = {
    'litert': open_litert,
    'ncnn': open_ncnn,
    'coreml': open_coreml,
    'pt2': open_program,
    'executorch': open_executorch,
    'onnxruntime': open_onnxruntime,
}
_PACKAGES = {
    'litert': ('ai_edge_litert', 'ai-edge-litert'),
    'coreml': ('coremltools', 'coremltools'),
    'pt2': ('torch', 'torchvision'),
    'executorch': ('executorch', "'mbv1-backbone[executorch]'"),
}  # to import, and to install
Outputs = tuple[np.ndarray, ...]
Reopen = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]  # function, arguments, named arguments


class Network(Protocol):
    """What runs a network, whichever library does: a ``Session``, or PyTorch."""

    @property
    def spec(self) -> ModelSpec:
        """What the network is."""

    @property
    def precision(self) -> str:
        """What it computes in: ``fp32``, ``fp16``, ``bf16`` or ``int8``."""

    @property
    def parallel(self) -> int:
        """How many threads should run it to keep the processor busy."""

    def run(self, images: np.ndarray, /) -> Outputs:
        """Outputs of images uint8 (N, H, W, 3) in RGB."""


@dataclass(frozen=True)
class Session:
    """An exported network. Unpickled, it is opened again from the same source.

    Attributes:
        path: Its file, or what it was exported from.
        spec: What it says of itself.
        backend: What runs it, and which version.
        precision: What it computes in: ``fp32``, ``fp16`` (Core ML), ``bf16`` or ``int8``.
        run: From images uint8 (N, H, W, 3) in RGB to its outputs; from several threads at once.
        parallel: How many threads should run it to keep the processor busy.
        reopen: A function and its arguments that open it again.
    """

    path: Path
    spec: ModelSpec
    backend: str
    precision: str
    run: Callable[[np.ndarray], Outputs]
    parallel: int = 1
    reopen: Reopen | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        halves = self.spec.precision in ('fp16', 'bf16') and self.precision == 'fp32'
        return f'{self.backend}, {"weights in fp16, computed in fp32" if halves else self.precision}'

    def __reduce__(self) -> tuple[Any, ...]:
        if self.reopen is None:
            raise TypeError(f'{self.path}: cannot be pickled: nothing says how to open it again')
        return _opened_again, (*self.reopen, self.spec.fingerprint)


def _opened_again(
    function: Callable[..., Session], args: tuple[Any, ...], options: dict[str, Any], fingerprint: str
) -> Session:
    session = function(*args, **options)
    if session.spec.fingerprint != fingerprint:
        raise InputError(f'{session.path}: has changed since the network was pickled')
    return session


def open_session(
    path: str | os.PathLike[str],
    backend: str = 'auto',
    threads: int | None = None,
    mode: str = 'latency',
    precision: str = 'auto',
) -> Session:
    """Open a file of ``mbv1 export``.

    Args:
        path: ``.onnx``, OpenVINO's ``.xml`` with its ``.bin`` beside it, ``.tflite``, ncnn's ``.param``
            with its ``.bin`` and ``.json``, Core ML's ``.mlpackage``, ``.pt2``, or ``.pte``.
        backend: ``'openvino'``, ``'onnxruntime'``, ``'litert'``, ``'ncnn'``, ``'coreml'`` (on macOS),
            ``'pt2'`` (PyTorch), ``'executorch'``, or ``'auto'``: LiteRT for ``.tflite``, ncnn for ``.param``,
            Core ML for ``.mlpackage``, PyTorch for ``.pt2``, ExecuTorch for ``.pte``, else OpenVINO where it
            is installed, else ONNX Runtime, and ONNX Runtime for ``.onnx`` in int8.
        threads: Cores to use; None for all. For ``.pt2`` they are PyTorch's, the whole process's; for
            ``.pte`` those that the first such file of the process was opened with.
        mode: ``'latency'``: all cores work on one batch. ``'throughput'``: OpenVINO, LiteRT and ncnn work on
            several at once, a core on each, which takes longer for each of them, but less for all.
        precision: That OpenVINO computes in: ``'fp32'``, ``'bf16'`` or ``'auto'``: bfloat16 where the
            processor multiplies in it and the file is ``.onnx`` or was exported for it. ONNX Runtime computes
            in the file's.

    Raises:
        InputError: If a value is out of its range, the file is missing, damaged or not of this project, or
            the backend cannot read it.
        NotInstalledError: If the backend is not installed.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise InputError(f'{path}: an exported model ends in {", ".join(SUFFIXES)}')
    if not (path.is_dir() if path.suffix == '.mlpackage' else path.is_file()):
        raise InputError(f'{path}: no such file')
    if backend not in BACKENDS:
        raise InputError(f'backend must be one of {", ".join(BACKENDS)}, got {backend!r}')
    check_options(threads, mode, precision)
    usable = _READERS[path.suffix]
    if backend not in ('auto', *usable):
        of = [suffix for suffix, readers in _READERS.items() if backend in readers]
        raise InputError(f'{path}: {backend} reads {" and ".join(of)} files only')
    wanted = usable if backend == 'auto' else (backend,)
    if wanted == ('coreml',):
        check_coreml(path)
    there = [name for name in wanted if _installed(name)]
    if not there:
        package = _PACKAGES.get(wanted[-1], ('', wanted[-1]))[1]
        raise NotInstalledError(f'{path}: {" or ".join(wanted)} is not installed; pip install {package}')
    session = _open(path, there, threads, mode, precision)
    options = dict(backend=backend, threads=threads, mode=mode, precision=precision)
    return replace(session, reopen=(open_session, (path.absolute(),), options))


def _open(path: Path, backends: list[str], threads: int | None, mode: str, precision: str) -> Session:
    """By the first of the backends, or the second where the first computes the file wrongly."""
    bf16 = False
    if backends[0] == 'openvino':
        try:
            spec, version, run, parallel, bf16 = open_openvino(path, threads, mode, precision)
        except Int8Error:
            if 'onnxruntime' not in backends:
                raise
            return _open(path, ['onnxruntime'], threads, mode, precision)
    else:
        spec, version, run, parallel = _OPENED[backends[0]](path, threads, mode)

    def checked(images: np.ndarray) -> Outputs:
        check_images(images, spec)
        if len(images):
            return run(images)
        return tuple(output[:0] for output in run(np.zeros((1, *spec.size, 3), np.uint8)))

    halves = backends[0] == 'coreml' and spec.precision == 'fp16'
    exact = 'bf16' if bf16 else 'fp16' if halves else 'fp32'
    return Session(path, spec, version, 'int8' if spec.precision == 'int8' else exact, checked, parallel)


def check_options(threads: int | None, mode: str, precision: str) -> None:
    """Check what ``open_session`` is asked for.

    Args:
        threads: Cores to use; None for all.
        mode: One of ``MODES``.
        precision: One of ``COMPUTED_IN``.

    Raises:
        InputError: If a value is out of its range.
    """
    if mode not in MODES:
        raise InputError(f'mode must be one of {", ".join(MODES)}, got {mode!r}')
    if precision not in COMPUTED_IN:
        raise InputError(f'precision must be one of {", ".join(COMPUTED_IN)}, got {precision!r}')
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise InputError(f'threads must be at least 1, got {threads!r}')


def is_exported(path: str | os.PathLike[str]) -> bool:
    """Whether a name is that of an exported file; a ``.tflite`` of others is weights to import."""
    suffix = Path(path).suffix
    return is_exported_litert(Path(path)) if suffix == '.tflite' else suffix in SUFFIXES


def files_of(path: Path) -> tuple[Path, ...]:
    """The files of an exported model: OpenVINO's are two, ncnn's three; Core ML's are in a folder."""
    if path.suffix == '.param':
        return ncnn_files_of(path)
    if path.suffix == '.mlpackage':
        return coreml_files_of(path)
    return (path, path.with_suffix('.bin')) if path.suffix == '.xml' else (path,)


def check_images(images: np.ndarray, spec: ModelSpec) -> None:
    """Check that a network takes these images.

    Raises:
        InputError: If they are not uint8 (N, H, W, 3), or of another size.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise InputError(f'images must be uint8 (N, H, W, 3), got {images.dtype} {images.shape}')
    height, width = images.shape[1:3]
    if spec.any_size and (height % spec.multiple or width % spec.multiple):
        raise InputError(f'sides must be multiples of {spec.multiple} pixels, got {height} x {width}')
    if not spec.any_size and (height, width) != spec.size:
        raise InputError(f'images must be {spec.size[0]} x {spec.size[1]} pixels, got {height} x {width}')


def top_left(image: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """An RGB image (h, w, 3) at the top left of the input, uint8 (H, W, 3); the rest is of the mean colour.

    Raises:
        ValueError: If it is larger.
    """
    height, width = spec.size
    if image.shape[0] > height or image.shape[1] > width:
        raise ValueError(f'images must be at most {height} x {width}, got {image.shape[:2]}')
    whole: np.ndarray = np.full((height, width, 3), np.round(spec.recipe['mean']), np.uint8)
    whole[: image.shape[0], : image.shape[1]] = image
    return whole


def _installed(name: str) -> bool:
    return importlib.util.find_spec(_PACKAGES.get(name, (name, ''))[0]) is not None
