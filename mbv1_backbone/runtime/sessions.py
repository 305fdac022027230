"""Exported files, ready to run: ONNX Runtime, OpenVINO, LiteRT, ncnn, Core ML and, by torch, ``.pt2``."""

from __future__ import annotations

import importlib
import importlib.util
import os
import queue
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mbv1_backbone.common import choices
from mbv1_backbone.common.choices import COMPUTED_IN, MODES
from mbv1_backbone.common.cpu import bf16_is_fast
from mbv1_backbone.common.errors import InputError, NotInstalledError
from mbv1_backbone.runtime import engines
from mbv1_backbone.runtime.coreml import check_coreml, coreml_files_of, open_coreml
from mbv1_backbone.runtime.litert import is_exported_litert, open_litert
from mbv1_backbone.runtime.ncnn import ncnn_files_of, open_ncnn
from mbv1_backbone.runtime.programs import open_program
from mbv1_backbone.runtime.spec import KEY, ModelSpec

__all__ = [
    'BACKENDS',
    'DIGEST',
    'SUFFIXES',
    'Int8Error',
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

SUFFIXES = ('.onnx', '.xml', '.tflite', '.param', '.mlpackage', '.pt2')
DIGEST = 'mbv1_bin_sha256'  # under which an .xml file says what its .bin is
BACKENDS = tuple(name for name in choices.BACKENDS if name != 'torch')
_READERS = {
    '.onnx': ('openvino', 'onnxruntime'),
    '.xml': ('openvino',),
    '.tflite': ('litert',),
    '.param': ('ncnn',),
    '.mlpackage': ('coreml',),
    '.pt2': ('pt2',),
}
_OPENED = {'litert': open_litert, 'ncnn': open_ncnn, 'coreml': open_coreml, 'pt2': open_program}
_PACKAGES = {
    'litert': ('ai_edge_litert', 'ai-edge-litert'),
    'coreml': ('coremltools', 'coremltools'),
    'pt2': ('torch', 'torchvision'),
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
            with its ``.bin`` and ``.json``, Core ML's ``.mlpackage``, or ``.pt2``.
        backend: ``'openvino'``, ``'onnxruntime'``, ``'litert'``, ``'ncnn'``, ``'coreml'`` (on macOS),
            ``'pt2'`` (PyTorch), or ``'auto'``: LiteRT for ``.tflite``, ncnn for ``.param``, Core ML for
            ``.mlpackage``, PyTorch for ``.pt2``, else OpenVINO where it is installed, else ONNX Runtime, and
            ONNX Runtime for ``.onnx`` in int8.
        threads: Cores to use; None for all. For ``.pt2`` they are PyTorch's, the whole process's.
        mode: ``'latency'``: all cores work on one batch. ``'throughput'``: all but ONNX Runtime and
            PyTorch work on several at once, a core on each, which takes longer for each of them, but less for
            all.
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
    if backends[0] in _OPENED:
        spec, version, run, parallel = _OPENED[backends[0]](path, threads, mode)

        def checked(images: np.ndarray) -> Outputs:
            check_images(images, spec)
            if len(images):
                return run(images)
            return tuple(output[:0] for output in run(np.zeros((1, *spec.size, 3), np.uint8)))

        halves = backends[0] == 'coreml' and spec.precision == 'fp16'
        return Session(path, spec, version, 'fp16' if halves else _computes(spec, False), checked, parallel)
    if backends[0] == 'openvino':
        try:
            return _openvino(path, threads, mode, precision)
        except Int8Error:
            if 'onnxruntime' not in backends:
                raise
    return _onnxruntime(path, threads)


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


class Int8Error(InputError):
    """OpenVINO 2026.4 computes ONNX Runtime's int8 graphs wrongly: an SSD's finds nothing there."""


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


def _onnxruntime(path: Path, threads: int | None) -> Session:
    runtime = engines.onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        session = runtime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
    except Exception as error:  # onnxruntime's own kinds have no common base
        raise InputError(f'{path}: not a readable ONNX file: {str(error)[:200]}') from error
    spec = ModelSpec.from_text(session.get_modelmeta().custom_metadata_map.get(KEY), path)

    def run(images: np.ndarray) -> Outputs:
        check_images(images, spec)
        return tuple(session.run(None, {'images': images}))

    return Session(path, spec, f'onnxruntime {runtime.__version__}', _computes(spec, False), run)


def _openvino(path: Path, threads: int | None, mode: str, precision: str) -> Session:
    core = engines.openvino_core()
    try:
        model = core.read_model(path)
    except RuntimeError as error:
        raise InputError(f'{path}: OpenVINO cannot read it: {_reason(error)}') from error
    spec = ModelSpec.from_text(_said(model), path)
    _check_weights(model, path)
    if spec.precision == 'int8' and path.suffix == '.onnx':
        raise Int8Error(
            f'{path}: OpenVINO computes .onnx in int8 wrongly: run it by onnxruntime, or export to openvino'
        )
    halves = spec.precision == 'bf16' or (spec.precision == 'fp32' and path.suffix == '.onnx')
    bf16 = precision == 'bf16' or (precision == 'auto' and halves and bf16_is_fast())
    options: dict[str, Any] = dict(
        INFERENCE_PRECISION_HINT='bf16' if bf16 else 'f32',
        PERFORMANCE_HINT=mode.upper(),
    )
    if threads is not None:
        options['INFERENCE_NUM_THREADS'] = threads
    compiled = core.compile_model(model, 'CPU', options)
    parallel = int(compiled.get_property('OPTIMAL_NUMBER_OF_INFER_REQUESTS'))
    free: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for _ in range(parallel):
        free.put(compiled.create_infer_request())

    def run(images: np.ndarray) -> Outputs:
        check_images(images, spec)
        request = free.get()
        try:
            found = request.infer({'images': images}, share_inputs=True)
            return tuple(np.array(found[port]) for port in compiled.outputs)
        finally:
            free.put(request)

    # Two threads that are the first to hand over arrays wait for each other for ever in OpenVINO 2026.4.
    run(np.zeros((1, *spec.size, 3), np.uint8))
    version = f'openvino {engines.openvino().__version__.split("-")[0]}'
    return Session(path, spec, version, _computes(spec, bf16), run, parallel)


def _check_weights(model: Any, path: Path) -> None:
    """Refuse an ``.xml`` with another's ``.bin``: OpenVINO takes any that is long enough."""
    beside = path.with_suffix('.bin')
    if not model.has_rt_info([DIGEST]):  # of an .onnx file, or of a version that did not say it
        return
    if sha256(beside.read_bytes()).hexdigest() != str(model.get_rt_info([DIGEST]).value):
        raise InputError(f'{beside}: damaged, or not the weights of {path.name}')


def _reason(error: RuntimeError) -> str:
    """The last of OpenVINO's lines that says something: the first ones name its source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__


def _computes(spec: ModelSpec, bf16: bool) -> str:
    return 'int8' if spec.precision == 'int8' else 'bf16' if bf16 else 'fp32'


def _said(model: Any) -> str | None:
    """What an OpenVINO model says of itself; one read from ONNX keeps it with its framework's data."""
    for where in ([KEY], ['framework', KEY]):
        if model.has_rt_info(where):
            return str(model.get_rt_info(where).value)
    return None


def _installed(name: str) -> bool:
    return importlib.util.find_spec(_PACKAGES.get(name, (name, ''))[0]) is not None
