"""Inference runtimes as they may be used: without telemetry, and OpenVINO with one engine a process."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

__all__ = ['import_onnxruntime', 'import_openvino', 'openvino_core']

_REPORTER = 'openvino_telemetry'
_CORES: dict[int, Any] = {}  # by process: a fork has its own, and never ends the one it came from


def import_onnxruntime(part: str = '') -> Any:
    """Import ONNX Runtime, or a part of it, without its telemetry.

    From 1.29 on it sends a lasting number of the machine and what was run
    (https://github.com/microsoft/onnxruntime/blob/main/docs/Privacy.md), from a thread that tries for ever
    where there is no network. ``ORT_DISABLE_TELEMETRY=0`` in the environment leaves it on; a process that
    imported it before has decided for itself.

    Args:
        part: Module below it, such as ``'quantization'``.

    Raises:
        ModuleNotFoundError: If it is not installed.
    """
    os.environ.setdefault('ORT_DISABLE_TELEMETRY', '1')
    return importlib.import_module(f'onnxruntime.{part}' if part else 'onnxruntime')


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry, as where its package ``openvino-telemetry`` is not installed.

    That one forks the process from a thread at every message, the first one at the import.

    Raises:
        ModuleNotFoundError: If it is not installed.
    """
    hidden = 'openvino' not in sys.modules and _REPORTER not in sys.modules
    if hidden:
        sys.modules[_REPORTER] = None  # type: ignore[assignment]  # importing it then fails, which OpenVINO takes
    try:
        return importlib.import_module('openvino')
    finally:
        if hidden:
            del sys.modules[_REPORTER]


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
        _CORES[process] = import_openvino().Core()
    return _CORES[process]
