"""Importing other people's packages without what they report to their makers."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ['no_telemetry']

_OPENVINO = 'openvino_telemetry'


@contextmanager
def no_telemetry() -> Iterator[None]:
    """ONNX Runtime and OpenVINO that are imported for the first time in this context report nothing.

    ONNX Runtime, from 1.29 on, sends a lasting number of the machine and what was run
    (https://github.com/microsoft/onnxruntime/blob/main/docs/Privacy.md), from a thread that tries for ever
    where there is no network. ``ORT_DISABLE_TELEMETRY=0`` in the environment leaves it on. OpenVINO's package
    ``openvino-telemetry``, without which it works as well, forks the process from a thread at every message,
    the first one at the import.
    """
    os.environ.setdefault('ORT_DISABLE_TELEMETRY', '1')
    hidden = 'openvino' not in sys.modules and _OPENVINO not in sys.modules
    if hidden:
        sys.modules[_OPENVINO] = None  # type: ignore[assignment]  # importing it fails, which OpenVINO takes
    try:
        yield
    finally:
        if hidden:
            del sys.modules[_OPENVINO]
