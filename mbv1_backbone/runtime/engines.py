"""Inference runtimes as a process may use them: without telemetry, and OpenVINO with one engine."""

from __future__ import annotations

import importlib
import os
from typing import Any

from mbv1_backbone.common.telemetry import no_telemetry

__all__ = ['onnxruntime', 'openvino', 'openvino_core']

_CORES: dict[int, Any] = {}  # by process: a fork has its own, and never ends the one it came from


def onnxruntime() -> Any:
    """ONNX Runtime.

    Raises:
        ModuleNotFoundError: If it is not installed.
    """
    with no_telemetry():
        return importlib.import_module('onnxruntime')


def openvino() -> Any:
    """OpenVINO.

    Raises:
        ModuleNotFoundError: If it is not installed.
    """
    with no_telemetry():
        return importlib.import_module('openvino')


def openvino_core() -> Any:
    """OpenVINO's engine of this process, an ``openvino.Core`` that is never destroyed.

    Each engine gives the thread that makes it a stack for signals of its own, and puts the one before back
    when it is destroyed, although that one may be gone: after two engines that end in the order in which they
    began, the next signal, such as that of a child process that ends, kills the process without a word
    (OpenVINO 2026.4).

    Raises:
        ModuleNotFoundError: If OpenVINO is not installed.
    """
    process = os.getpid()
    if process not in _CORES:
        _CORES[process] = openvino().Core()
    return _CORES[process]
