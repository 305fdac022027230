"""The backbone in each runtime against other projects' light backbones: milliseconds an image, and memory."""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.registry import MODELS
from tqdm import tqdm

from benchmarks.timing import best_precision, seconds
from mbv1_backbone.common.prefetch import map_concurrently
from mbv1_backbone.compat.registry import use_scope
from mbv1_backbone.export.writers import write
from mbv1_backbone.inference.exportable import exportable_backbone
from mbv1_backbone.inference.pytorch import in_torch
from mbv1_backbone.models.complexity import count_layers
from mbv1_backbone.models.mobilenet_v1 import MobileNetV1
from mbv1_backbone.models.recipe import Recipe
from mbv1_backbone.runtime.sessions import open_session

OURS = (
    'ours, torch eager',
    'ours, torch fp32',
    'ours, torch bf16',
    'ours, onnxruntime fp32',
    'ours, onnxruntime int8',
    'ours, openvino fp32',
    'ours, openvino bf16',
)
THEIRS = (
    'timm mobilenetv1_100',
    'torchvision mobilenet_v2',
    'torchvision mobilenet_v3_large',
    'mmdet MobileNetV2',
)
SIDE = 224
_DTYPES = dict(fp32=torch.float32, bf16=torch.bfloat16)
_BATCHES = 4  # in a job, so that runtimes that work on several at once can show it
_GEMM = 2048  # side of the matrices that measure the limit

Run = Callable[[np.ndarray], object]


def precisions() -> tuple[str, ...]:
    """That are measured: without ``bf16`` where it is emulated, which takes minutes and says nothing."""
    return ('fp32', 'bf16') if best_precision() == 'bf16' else ('fp32',)


def candidates() -> tuple[str, ...]:
    """All that are measured on this processor."""
    left_out = {'fp32', 'bf16'}.difference(precisions())
    return tuple(name for name in (*OURS, *THEIRS) if name.rpartition(' ')[2] not in left_out)


def measure(batch_sizes: tuple[int, ...], rounds: int) -> dict[str, Any]:
    """Milliseconds an image of every candidate by batch size, mebibytes, and the limit of the arithmetic.

    Ours start at bytes and normalise them; the others are given floats, and run in PyTorch as their projects
    deliver them, in inference mode.
    """
    found: dict[str, Any] = dict(mult_adds=mult_adds(1.0, SIDE), milliseconds={}, limit_ms={})
    with tempfile.TemporaryDirectory() as folder:
        for precision in ('fp32', 'int8'):
            export(Path(folder) / f'{precision}.onnx', 1.0, precision)
        found['memory_mib'] = {name: _memory(name, Path(folder)) for name in tqdm(candidates())}
        for batch in batch_sizes:
            images = np.random.default_rng(0).integers(0, 256, (batch, SIDE, SIDE, 3), dtype=np.uint8)
            mode = 'latency' if batch == 1 else 'throughput'
            jobs = {f'GEMM {kind}': gemm(kind) for kind in precisions()}
            for name in candidates():
                jobs[name] = partial(_through, *candidate(name, Path(folder), mode), [images] * _BATCHES)
            times = seconds(jobs, rounds)
            for kind in precisions():
                rate = _GEMM**3 / times.pop(f'GEMM {kind}')
                found['limit_ms'][f'{kind}, batch {batch}'] = 1000 * found['mult_adds'] / rate
            each = 1000 / (batch * _BATCHES)
            found['milliseconds'][f'batch {batch}'] = {name: time * each for name, time in times.items()}
    return found


def grid(widths: tuple[float, ...], sides: tuple[int, ...], batch: int, rounds: int) -> dict[str, Any]:
    """Milliseconds an image over width and resolution, the plane of the paper's Tables 6 and 7.

    On the fastest backend, with the limit of the arithmetic: mult-adds a second of a large matrix product at
    the processor's precision.
    """
    with tempfile.TemporaryDirectory() as folder:
        jobs: dict[str, Callable[[], object]] = dict(gemm=gemm(best_precision()))
        for width in widths:
            export(Path(folder) / f'{width}.onnx', width)
            session = open_session(Path(folder) / f'{width}.onnx', mode='throughput')
            for side in sides:
                images = np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), dtype=np.uint8)
                jobs[f'{width} {side}'] = partial(
                    _through, session.run, session.parallel, [images] * _BATCHES
                )
        times = seconds(jobs, rounds)
    cells = [
        dict(
            width=width,
            side=side,
            mult_adds=mult_adds(width, side),
            milliseconds=1000 * times[f'{width} {side}'] / (batch * _BATCHES),
        )
        for width in widths
        for side in sides
    ]
    return dict(backend=str(session), batch=batch, cells=cells, mult_adds_a_second=_GEMM**3 / times['gemm'])


def mult_adds(width: float, side: int) -> int:
    """Of the backbone, as the paper counts them."""
    net = MobileNetV1(width)
    return sum(layer.mult_adds for layer in count_layers(net, lambda: net(torch.zeros(1, 3, side, side))))


def gemm(precision: str) -> Callable[[], object]:
    """A large matrix product: what the processor can do at that precision."""
    a, b = (torch.randn(_GEMM, _GEMM).to(_DTYPES[precision]) for _ in range(2))
    return lambda: a @ b


def candidate(name: str, folder: Path, mode: str = 'latency') -> tuple[Run, int]:
    """What runs a batch uint8 (N, H, W, 3), and how many batches at once it should be given."""
    if name not in OURS:
        return _eager(_theirs(name)), 1
    kind = name.removeprefix('ours, ')
    if kind == 'torch eager':
        return _eager(MobileNetV1()), 1
    backend, precision = kind.split()
    if backend == 'torch':
        source = _source(1.0)
        return in_torch(source.graph, source.spec, precision=precision).run, 1
    file, computed_in = ('int8', 'auto') if precision == 'int8' else ('fp32', precision)
    session = open_session(folder / f'{file}.onnx', backend, mode=mode, precision=computed_in)
    return session.run, session.parallel


def _source(width: float, precision: str = 'fp32') -> Any:
    return exportable_backbone(MobileNetV1(width).eval(), Recipe('benchmark', width), (SIDE, SIDE), precision)


def export(path: Path, width: float, precision: str = 'fp32') -> None:
    """Write a backbone with random weights, calibrated on noise: of its times alone anything can be told."""
    source = _source(width, precision)
    images = np.random.default_rng(0).integers(0, 256, (8, *source.spec.size, 3), dtype=np.uint8)
    write(source.graph, source.spec, path, [*images] if precision == 'int8' else ())


def _theirs(name: str) -> torch.nn.Module:
    project, _, model = name.partition(' ')
    if project == 'timm':
        import timm

        return timm.create_model(model, num_classes=0, global_pool='')
    if project == 'torchvision':
        import torchvision

        return getattr(torchvision.models, model)().features
    import mmdet.models  # noqa: F401

    use_scope('mmdet')
    return MODELS.build(dict(type=f'mmdet.{model}', out_indices=(7,)))


def _eager(model: torch.nn.Module) -> Run:
    model.eval()

    @torch.inference_mode()
    def run(images: np.ndarray) -> object:
        return model(torch.from_numpy(images).permute(0, 3, 1, 2).float())

    return run


def _through(run: Run, parallel: int, batches: list[np.ndarray]) -> None:
    for _ in map_concurrently(run, batches, parallel):
        pass


def _memory(name: str, folder: Path) -> float:
    """What the candidate adds to a process that has imported all it needs, at batches of 8, in MiB."""
    with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as pool:
        return pool.submit(_added, name, folder).result()


def _added(name: str, folder: Path) -> float:
    candidate(name, folder)  # whatever is imported late
    before = _resident()
    run, _ = candidate(name, folder)
    peak = 0.0
    for _ in range(5):
        run(np.zeros((8, SIDE, SIDE, 3), np.uint8))
        peak = max(peak, _resident())
    return peak - before


def _resident() -> float:
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * resource.getpagesize() / 2**20
