"""The same backbone in every runtime and precision that is installed, on one thread and on two."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.backbones import SIDE, export
from benchmarks.timing import best_precision, times
from mbv1_backbone.runtime.sessions import Session, files_of, open_session

BASE = 'OpenVINO fp32'  # what the others are compared with
_RUNS = 4  # in a job


class Runtime(NamedTuple):
    """A runtime and a precision.

    Attributes:
        name: For tables.
        file: What it runs.
        backend: As ``open_session`` names it.
        package: That must be there to run and to write it.
        precision: That is computed in, where the file leaves it open.
    """

    name: str
    file: str
    backend: str
    package: str
    precision: str = 'auto'


RUNTIMES = (
    Runtime(BASE, 'fp32.onnx', 'openvino', 'openvino', 'fp32'),
    Runtime('OpenVINO bf16', 'fp32.onnx', 'openvino', 'openvino', 'bf16'),
    Runtime('OpenVINO int8', 'int8.xml', 'openvino', 'nncf'),
    Runtime('ONNX Runtime fp32', 'fp32.onnx', 'onnxruntime', 'onnxruntime'),
    Runtime('ONNX Runtime int8', 'int8.onnx', 'onnxruntime', 'onnxruntime'),
    Runtime('LiteRT fp32', 'fp32.tflite', 'litert', 'ai_edge_litert'),
    Runtime('LiteRT int8', 'int8.tflite', 'litert', 'ai_edge_litert'),
    Runtime('ncnn fp32', 'fp32.ncnn.param', 'ncnn', 'ncnn'),
    Runtime('ncnn fp16', 'fp16.ncnn.param', 'ncnn', 'ncnn'),
    Runtime('torch.export fp32', 'fp32.pt2', 'pt2', 'torch'),
    Runtime('ExecuTorch fp32', 'fp32.pte', 'executorch', 'executorch'),
    Runtime('ExecuTorch int8', 'int8.pte', 'executorch', 'executorch'),
)


def installed() -> list[Runtime]:
    """Those that this machine can run; bfloat16 where the processor multiplies in it."""
    return [
        runtime
        for runtime in RUNTIMES
        if find_spec(runtime.package) and (runtime.precision != 'bf16' or best_precision() == 'bf16')
    ]


def measure(rounds: int, threads: Sequence[int] = (1, 2), width: float = 1.0) -> dict[str, dict[str, float]]:
    """Milliseconds an image, one image at a time, all in turn for each number of threads.

    Args:
        rounds: That count.
        threads: How many each may use.
        width: Of the backbone.

    Returns:
        Name -> ``mb`` of its files, and for each number of threads ``cpu_1``, milliseconds of the processor
        of all threads together, and ``wall_1``, by the clock.
    """
    image = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        found = {runtime.name: dict(mb=_written(Path(folder), runtime, width)) for runtime in installed()}
        for count in threads:
            jobs: dict[str, Callable[[], Any]] = {}
            for runtime in installed():
                jobs[runtime.name] = _job(Path(folder), runtime, count, image)
            for name, taken in times(jobs, rounds, f'{count} thread{"s" * (count > 1)}').items():
                found[name][f'cpu_{count}'] = 1000 * taken.cpu / _RUNS
                found[name][f'wall_{count}'] = 1000 * taken.wall / _RUNS
    return found


def table(found: dict[str, dict[str, float]], threads: Sequence[int] = (1, 2)) -> str:
    """The figures, the fastest first, beside the time that ``BASE`` takes."""
    first = f'cpu_{threads[0]}'
    heads = ''.join(f'{f"{n} thr. cpu ms":>15}{"wall ms":>9}{"of base":>9}' for n in threads)
    lines = [f'{"":20}{heads}{"MB":>7}']
    for name, row in sorted(found.items(), key=lambda entry: entry[1][first]):
        cells = ''.join(
            f'{row[f"cpu_{n}"]:15.2f}{row[f"wall_{n}"]:9.2f}{row[f"cpu_{n}"] / found[BASE][f"cpu_{n}"]:9.2f}'
            for n in threads
        )
        lines.append(f'{name:20}{cells}{row["mb"]:7.1f}')
    return '\n'.join(lines)


def _written(folder: Path, runtime: Runtime, width: float) -> float:
    """Write a runtime's file where it is not there yet; its size in MB."""
    file = folder / runtime.file
    if not file.is_file():
        export(file, width, runtime.file.partition('.')[0])
    return sum(path.stat().st_size for path in files_of(file)) / 1e6


def _job(folder: Path, runtime: Runtime, threads: int, image: np.ndarray) -> Callable[[], None]:
    """A run of a runtime's file; no other variable holds the session, which ends with the job."""
    session = open_session(folder / runtime.file, runtime.backend, threads, precision=runtime.precision)
    return partial(_run, session, image)


def _run(session: Session, image: np.ndarray) -> None:
    for _ in range(_RUNS):
        session.run(image)
