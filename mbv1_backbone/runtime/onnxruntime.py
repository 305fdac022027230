"""ONNX files in ONNX Runtime, and what they say of themselves. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.runtime import engines
from mbv1_backbone.runtime.spec import KEY, ModelSpec

__all__ = ['onnx_spec', 'open_onnxruntime']

_METADATA = 14  # the field of a model that holds names (1) and values (2)
_FIXED = {1: 8, 5: 4}  # bytes of fields of these kinds
Run = Callable[[np.ndarray], tuple[np.ndarray, ...]]


def open_onnxruntime(path: Path, threads: int | None, mode: str) -> tuple[ModelSpec, str, Run, int]:
    """A file of ``mbv1 export``, ready to run: its spec, the runtime, a function, how many run at once.

    Args:
        path: ``.onnx``.
        threads: Cores to use; None for all.
        mode: As of the other runtimes; ONNX Runtime works on one batch at a time in both.

    Raises:
        InputError: If the file is damaged or not of ``mbv1 export``.
    """
    del mode
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

    def run(images: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(session.run(None, {'images': images}))

    return spec, f'onnxruntime {runtime.__version__}', run, 1


def onnx_spec(path: Path) -> ModelSpec | None:
    """What a file says of itself, read without a runtime; None where a runtime must say what is amiss.

    Args:
        path: ``.onnx``.
    """
    try:
        for number, entry in _fields(memoryview(path.read_bytes())):
            about = dict(_fields(entry)) if number == _METADATA else {}
            if about.get(1) == KEY.encode():
                return ModelSpec.from_text(bytes(about[2]).decode(), path)
    except (OSError, ValueError, IndexError, KeyError):
        return None
    return None


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Numbers and bytes of a message's fields that have a length: https://protobuf.dev/programming-guides/encoding.

    Raises:
        ValueError: If it is no message.
        IndexError: If it is cut short.
    """
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        if key & 7 == 2:
            length, place = _varint(message, place)
            yield key >> 3, message[place : place + length]
            place += length
        elif key & 7 == 0:
            _, place = _varint(message, place)
        elif key & 7 in _FIXED:
            place += _FIXED[key & 7]
        else:
            raise ValueError('not a message')


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """A number, and where what follows it begins."""
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
