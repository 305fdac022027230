"""LiteRT (TensorFlow Lite) files: what they say of themselves, and how they are run. Needs no torch."""

from __future__ import annotations

import importlib
import queue
import struct
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from mbv1_backbone.common.cpu import cores
from mbv1_backbone.common.errors import InputError, NotInstalledError
from mbv1_backbone.runtime.spec import KEY, ModelSpec

__all__ = ['is_exported_litert', 'open_litert', 'predictions_of', 'spec_text']

_MARK = b'TFL3'  # the fifth to eighth byte
_BUFFERS, _METADATA = 4, 6  # fields of the schema's table Model
Run = Callable[[np.ndarray], tuple[np.ndarray, ...]]


def is_exported_litert(path: Path) -> bool:
    """Whether a ``.tflite`` file is one of ``mbv1 export``, and not only weights to import."""
    return path.is_file() and spec_text(path) is not None


def spec_text(path: Path) -> str | None:
    """What a ``.tflite`` file says of itself; None of one that is damaged, or of somebody else's."""
    content = path.read_bytes()
    if content[4:8] != _MARK:
        return None
    try:
        return dict(_metadata(content)).get(KEY, b'').decode() or None
    except (struct.error, ValueError, IndexError, TypeError):
        return None


def _metadata(content: bytes) -> list[tuple[str, bytes]]:
    """Names and bytes of a model's metadata: https://flatbuffers.dev/internals, and the fields of the schema.

    Whether a file is exported must be known before it is known that the runtime is needed.

    Raises:
        NotInstalledError: If nothing is installed that reads such files.
    """
    try:
        table = importlib.import_module('flatbuffers.table')  # of the runtime, and of what imports weights
    except ImportError as error:
        raise NotInstalledError('a .tflite file needs LiteRT: pip install ai-edge-litert') from error

    def items(parent: Any, field: int) -> list[Any]:
        """The tables in a list that is a field of another table."""
        offset = parent.Offset(4 + 2 * field)
        count = min(parent.VectorLen(offset), len(content) // 4) if offset else 0
        start = parent.Vector(offset) if offset else 0
        return [table.Table(content, parent.Indirect(start + 4 * place)) for place in range(count)]

    def text(parent: Any, field: int) -> bytes:
        offset = parent.Offset(4 + 2 * field)
        return bytes(parent.String(offset + parent.Pos)) if offset else b''

    model = table.Table(content, struct.unpack_from('<I', content)[0])
    buffers = items(model, _BUFFERS)
    found = []
    for entry in items(model, _METADATA):
        offset = entry.Offset(6)
        place = struct.unpack_from('<I', content, entry.Pos + offset)[0] if offset else 0
        found.append((text(entry, 0).decode(), text(buffers[place], 0)))
    return found


def open_litert(path: Path, threads: int | None, mode: str) -> tuple[ModelSpec, str, Run, int]:
    """A file of ``mbv1 export``, ready to run: its spec, the runtime, a function, and how many run at once.

    Args:
        path: ``.tflite``.
        threads: Cores to use; None for all that the process may.
        mode: ``'latency'``: all cores work on one image; ``'throughput'``: a core on each of several.

    Raises:
        InputError: If the file is damaged, or not of ``mbv1 export``.
        NotInstalledError: If the runtime is not installed.
    """
    spec = ModelSpec.from_text(spec_text(path), path)
    try:
        runtime = importlib.import_module('ai_edge_litert.interpreter')
    except ImportError as error:
        raise NotInstalledError(f'{path}: needs LiteRT: pip install ai-edge-litert') from error
    used = threads or cores()
    parallel = used if mode == 'throughput' else 1
    free: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for _ in range(parallel):
        try:
            interpreter = runtime.Interpreter(str(path), num_threads=1 if parallel > 1 else used)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise InputError(f'{path}: LiteRT cannot read it: {str(error)[:200]}') from error
        free.put(interpreter)

    def run(images: np.ndarray) -> tuple[np.ndarray, ...]:
        interpreter = free.get()
        try:
            found = [_run_one(interpreter, image, spec) for image in images]
        finally:
            free.put(interpreter)
        return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))

    return spec, f'litert {version("ai-edge-litert")}', run, parallel


def _run_one(interpreter: Any, image: np.ndarray, spec: ModelSpec) -> list[np.ndarray]:
    """The predictions of one image, uint8 (H, W, 3), with a batch axis."""
    [entry] = interpreter.get_input_details()
    if entry['dtype'] == np.int8:
        image = (image ^ 0x80).view(np.int8)
    interpreter.set_tensor(entry['index'], image[None])
    interpreter.invoke()
    outputs = [interpreter.get_tensor(output['index']) for output in interpreter.get_output_details()]
    return predictions_of(outputs, spec)


def predictions_of(outputs: list[np.ndarray], spec: ModelSpec) -> list[np.ndarray]:
    """What a file's outputs are in the other formats.

    Args:
        outputs: Of one image. A detector's: boxes (1, K, 4) y1, x1, y2, x2 as shares of the image, labels and
            scores (1, K), and how many there are (1,).
        spec: Of the file.

    Returns:
        Of a detector boxes (1, K, 4) x1, y1, x2, y2 in pixels, scores (1, K), 0 where there are fewer, and
        labels int64; of a backbone maps (1, channels, h, w); else the outputs.
    """
    if spec.kind == 'backbone':
        return [np.ascontiguousarray(output.transpose(0, 3, 1, 2)) for output in outputs]
    if spec.kind != 'detector':
        return outputs
    boxes, labels, scores, count = outputs
    height, width = spec.size
    limits = np.array([width, height] * 2, np.float32)
    pixels = np.clip(boxes[..., [1, 0, 3, 2]] * limits, 0, limits)  # the operator leaves that out
    there = np.arange(scores.shape[1]) < count[0]
    return [pixels, np.where(there, scores, 0).astype(np.float32), labels.astype(np.int64)]
