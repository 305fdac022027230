"""ONNX files and OpenVINO's own in OpenVINO, and what they say of themselves. Needs no torch."""

from __future__ import annotations

import queue
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from mbv1_backbone.common.cpu import bf16_is_fast
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.runtime import engines
from mbv1_backbone.runtime.spec import KEY, ModelSpec

__all__ = ['DIGEST', 'Int8Error', 'open_openvino']

DIGEST = 'mbv1_bin_sha256'  # under which an .xml file says what its .bin is
Run = Callable[[np.ndarray], tuple[np.ndarray, ...]]


class Int8Error(InputError):
    """OpenVINO 2026.4 computes ONNX Runtime's int8 graphs wrongly: an SSD's finds nothing there."""


def open_openvino(
    path: Path, threads: int | None, mode: str, precision: str
) -> tuple[ModelSpec, str, Run, int, bool]:
    """A file of ``mbv1 export``, ready to run.

    Args:
        path: ``.onnx``, or ``.xml`` with its ``.bin`` beside it.
        threads: Cores to use; None for all.
        mode: ``'latency'``: all cores work on one batch; ``'throughput'``: a core on each of several.
        precision: ``'fp32'``, ``'bf16'`` or ``'auto'``: bfloat16 where the processor multiplies in it and the
            file is ``.onnx`` or was exported for it.

    Returns:
        Its spec, the runtime, a function, how many run at once, and whether it computes in bfloat16.

    Raises:
        InputError: If a file is damaged, or not of ``mbv1 export``.
        Int8Error: If it is ``.onnx`` in int8.
    """
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

    def run(images: np.ndarray) -> tuple[np.ndarray, ...]:
        request = free.get()
        try:
            found = request.infer({'images': images}, share_inputs=True)
            return tuple(np.array(found[port]) for port in compiled.outputs)
        finally:
            free.put(request)

    # Two threads that are the first to hand over arrays wait for each other for ever in OpenVINO 2026.4.
    run(np.zeros((1, *spec.size, 3), np.uint8))
    return spec, f'openvino {engines.openvino().__version__.split("-")[0]}', run, parallel, bf16


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


def _said(model: Any) -> str | None:
    """What an OpenVINO model says of itself; one read from ONNX keeps it with its framework's data."""
    for where in ([KEY], ['framework', KEY]):
        if model.has_rt_info(where):
            return str(model.get_rt_info(where).value)
    return None
