"""One way to a network that is ready to answer, on the fastest backend there is."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mbv1_backbone.common.choices import BACKENDS
from mbv1_backbone.common.cpu import bf16_is_fast
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.export import writers
from mbv1_backbone.export.graphs import Graph
from mbv1_backbone.face.finder import FaceFinder
from mbv1_backbone.inference.classifier import Classifier, FeatureExtractor
from mbv1_backbone.inference.embedder import ExportedEmbedder
from mbv1_backbone.inference.resolve import NotExportable, PathLike, find_source
from mbv1_backbone.models.layers import folded
from mbv1_backbone.runtime.sessions import (
    SUFFIXES,
    Outputs,
    Session,
    check_images,
    check_options,
    open_session,
)
from mbv1_backbone.runtime.spec import ModelSpec

if TYPE_CHECKING:  # faces do without mmdet
    pass

Network = Any  # Detector, FaceEmbedder, Classifier or FeatureExtractor


def load(
    source: PathLike,
    checkpoint: PathLike | None = None,
    backend: str = 'auto',
    *,
    threads: int | None = None,
    mode: str = 'latency',
    precision: str = 'auto',
    kind: str | None = None,
    finder: FaceFinder | None = None,
) -> Network:
    """A network, ready to answer.

    A file of ``tools/export.py`` is run as it is. Anything else is exported on the way, which takes a second
    or three, where a runtime is installed and the network can be exported; else PyTorch runs it, with batch
    norms folded, in channels_last, and in bfloat16 where the processor multiplies in it.

    Args:
        source: A file of ``tools/export.py``; weights of an embedder, a classifier or a backbone; a name in
            the model zoo; or a config, with ``checkpoint``.
        checkpoint: Of the config; a file of ``tools/export.py`` here needs none.
        backend: ``'auto'``: the fastest that is there, OpenVINO before ONNX Runtime before PyTorch; or one of
            ``'openvino'``, ``'onnxruntime'``, ``'torch'``. The object's ``backend`` says which it is.
        threads: Cores to use; None for all. Of PyTorch they are the whole process's.
        mode: ``'latency'`` or ``'throughput'``, as in ``open_session``.
        precision: ``'fp32'``, ``'bf16'``, or ``'auto'``: bfloat16 where the processor multiplies in it. ONNX
            Runtime has float32 only.
        kind: What it must be, one of ``KINDS``; None for any of them.
        finder: Of an embedder: finds faces in whole photographs.

    Returns:
        ``Detector``, ``FaceEmbedder``, ``Classifier`` or ``FeatureExtractor``.

    Raises:
        InputError: If something is missing or wrong, the network is of another kind, or the backend cannot
            run it.

    Example:
        >>> load('facenet_mbv1_1.0-160_distill').embed(['a.jpg']).vectors.shape  # doctest: +SKIP
        (1, 128)
    """
    if backend not in BACKENDS:
        raise InputError(f'backend must be one of {", ".join(BACKENDS)}, got {backend!r}')
    check_options(threads, mode, precision)
    if kind is None and finder is not None:
        kind = 'embedder'
    exported = next((p for p in (source, checkpoint) if p and Path(p).suffix in SUFFIXES), None)
    if exported is not None:
        if backend == 'torch':
            raise InputError(f'{exported}: torch runs checkpoints, not exported files')
        return _object(open_session(exported, backend, threads, mode, precision), kind, finder)
    runtimes = [name for name in ('openvino', 'onnxruntime') if find_spec(name) and find_spec('onnx')]
    if backend not in ('auto', *runtimes, 'torch'):
        raise InputError(f"{backend}: not installed; pip install 'mbv1-backbone[deploy]'")
    try:
        found = find_source(source, checkpoint)
    except NotExportable as error:
        if backend not in ('auto', 'torch') or kind not in (None, 'detector'):
            raise
        error.detector.bf16 = _in_bf16(precision)
        _use_threads(threads)
        return error.detector
    if backend == 'auto':
        backend = runtimes[0] if runtimes else 'torch'
    if backend == 'torch':
        return _object(in_torch(found.graph, found.spec, threads, precision), kind, finder)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'model.onnx'
        writers.write(found.graph, found.spec, path)
        session = open_session(path, backend, threads, mode, precision)
        return _object(replace(session, path=Path(source)), kind, finder)


def in_torch(graph: Graph, spec: ModelSpec, threads: int | None = None, precision: str = 'auto') -> Session:
    """A graph that PyTorch runs, on the CPU.

    Args:
        graph: Copied, with batch norms folded.
        spec: What it is.
        threads: Of the whole process; None leaves them as they are.
        precision: ``'fp32'``, ``'bf16'``, or ``'auto'``: bfloat16 where the processor multiplies in it.
    """
    network, halves = folded(graph), _in_bf16(precision)
    _use_threads(threads)

    @torch.inference_mode()
    def run(images: np.ndarray) -> Outputs:
        check_images(images, spec)
        with torch.autocast('cpu', torch.bfloat16, halves):
            outputs = network(torch.from_numpy(np.ascontiguousarray(images)))
        return tuple((o.float() if o.is_floating_point() else o).numpy() for o in outputs)

    name, computed_in = f'torch {torch.__version__}', 'bf16' if halves else 'fp32'
    return Session(Path(spec.recipe['source']), spec, name, computed_in, run)


def _object(session: Session, wanted: str | None, finder: FaceFinder | None) -> Network:
    kind = session.spec.kind
    if wanted not in (None, kind):
        raise InputError(f'{session.path}: not {_a(wanted)}, but {_a(kind)}')
    if kind == 'embedder':
        return ExportedEmbedder(session, finder)
    if kind == 'detector':
        from mbv1_backbone.inference.detector import ExportedDetector

        return ExportedDetector(session)
    return Classifier(session) if kind == 'classifier' else FeatureExtractor(session)


def _use_threads(threads: int | None) -> None:
    if threads is not None:
        torch.set_num_threads(threads)


def _in_bf16(precision: str) -> bool:
    return precision == 'bf16' or (precision == 'auto' and bf16_is_fast())


def _a(kind: str) -> str:
    return f'{"an" if kind[0] in "aeiou" else "a"} {kind}'
