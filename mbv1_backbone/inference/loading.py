"""One way to a network that is ready to use, on the fastest backend there is.

Nothing here imports torch until a network is exported, or run, by it: what is kept of an earlier start, and
exported files, need a runtime alone.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict, overload

from typing_extensions import Unpack

from mbv1_backbone.common.choices import BACKENDS
from mbv1_backbone.common.errors import InputError, NotInstalledError
from mbv1_backbone.inference import cache as exports
from mbv1_backbone.inference.classifier import Classifier, FeatureExtractor
from mbv1_backbone.inference.detector import Detector
from mbv1_backbone.inference.embedder import FaceEmbedder
from mbv1_backbone.inference.face_detectors import named_finder
from mbv1_backbone.inference.fastest import open_fastest
from mbv1_backbone.runtime.sessions import Network, Session, check_options, is_exported, open_session
from mbv1_backbone.runtime.spec import KINDS, with_article

if TYPE_CHECKING:
    from mbv1_backbone.face.finder import FaceFinder
    from mbv1_backbone.inference.detector import DetectionNetwork
    from mbv1_backbone.inference.exportable import Exportable

__all__ = ['AnyNetwork', 'DetectorInPyTorch', 'Kind', 'PathLike', 'load']

_FILES_OF = {
    'litert': '.tflite',
    'ncnn': '.param',
    'coreml': '.mlpackage',
    'pt2': '.pt2',
    'executorch': '.pte',
}  # backends that nothing is exported for on the way
_WRITTEN_BY = {'pt2': 'torch-export'}  # of those that have another name than what is written for them

PathLike = str | os.PathLike[str]
Kind = Literal['embedder', 'detector', 'classifier', 'backbone']
AnyNetwork = Detector | FaceEmbedder | Classifier | FeatureExtractor


class Options(TypedDict, total=False):
    """What ``load`` takes whatever the network's kind."""

    threads: int | None
    mode: str
    precision: str
    cache: bool


@overload
def load(
    source: PathLike,
    checkpoint: PathLike | None = ...,
    backend: str = ...,
    *,
    kind: Literal['detector'],
    finder: str | None = ...,
    **options: Unpack[Options],
) -> Detector: ...


@overload
def load(
    source: PathLike,
    checkpoint: PathLike | None = ...,
    backend: str = ...,
    *,
    kind: Literal['embedder'],
    finder: FaceFinder | str | None = ...,
    **options: Unpack[Options],
) -> FaceEmbedder: ...


@overload
def load(
    source: PathLike,
    checkpoint: PathLike | None = ...,
    backend: str = ...,
    *,
    kind: Literal['classifier'],
    finder: str | None = ...,
    **options: Unpack[Options],
) -> Classifier: ...


@overload
def load(
    source: PathLike,
    checkpoint: PathLike | None = ...,
    backend: str = ...,
    *,
    kind: Literal['backbone'],
    finder: str | None = ...,
    **options: Unpack[Options],
) -> FeatureExtractor: ...


@overload
def load(
    source: PathLike,
    checkpoint: PathLike | None = ...,
    backend: str = ...,
    *,
    kind: None = ...,
    finder: FaceFinder,
    **options: Unpack[Options],
) -> FaceEmbedder: ...


@overload
def load(
    source: PathLike,
    checkpoint: PathLike | None = ...,
    backend: str = ...,
    *,
    kind: Kind | None = ...,
    finder: FaceFinder | str | None = ...,
    **options: Unpack[Options],
) -> AnyNetwork: ...


def load(
    source: PathLike,
    checkpoint: PathLike | None = None,
    backend: str = 'auto',
    *,
    threads: int | None = None,
    mode: str = 'latency',
    precision: str = 'auto',
    kind: Kind | None = None,
    finder: FaceFinder | str | None = 'auto',
    cache: bool = True,
) -> AnyNetwork:
    """A network, ready to use.

    A file of ``mbv1 export`` is run as it is. Anything else is exported on the way, which takes a second
    or three, where a runtime is installed and the network can be exported; the export is kept in the cache's
    folder (``$MBV1_CACHE``, else beside torch.hub's), and the next start is quick. Without a runtime PyTorch
    runs the network, with batch norms folded, in channels_last, and in bfloat16 where the processor
    multiplies in it.

    What is given back can be pickled: a runtime's network is loaded again, from the same source, where it is
    unpickled; PyTorch's is pickled with its tensors. It works in forked processes too, where PyTorch gets one
    thread.

    Args:
        source: A name in the model zoo; a file of ``mbv1 export``; weights of an embedder, a classifier
            or a backbone; or a config, with ``checkpoint``.
        checkpoint: Of the config; a file of ``mbv1 export`` here needs none.
        backend: ``'auto'``: the fastest that is there, see ``open_fastest``; PyTorch where there is no
            runtime; or one of ``'openvino'``, ``'onnxruntime'``, ``'torch'``; files for ``'litert'``
            (``.tflite``), ``'ncnn'`` (``.param``), ``'coreml'`` (``.mlpackage``), ``'pt2'`` (``.pt2``) and
            ``'executorch'`` (``.pte``)
            have no other. The object's ``backend`` says which it is.
        threads: Cores to use; None for all. Of PyTorch they are the whole process's.
        mode: ``'latency'`` or ``'throughput'``, as in ``open_session``.
        precision: ``'fp32'``, ``'bf16'``, or ``'auto'``: bfloat16 where the processor multiplies in it and is
            faster by it, and int8 where ``mbv1 export --keep`` has compared it with PyTorch. ONNX Runtime has
            float32 only. Files compute in their own.
        kind: What it must be, one of ``KINDS``; None for any of them.
        finder: Of an embedder: finds faces in whole photographs. ``'auto'`` is RetinaFace of the zoo, fetched
            at the first use, which takes face crops as they are; None takes every image so; other names and
            files are those of ``--detector``.
        cache: Keep what is exported and which runtime was fastest, and take what is kept.

    Returns:
        ``Detector``, ``FaceEmbedder``, ``Classifier`` or ``FeatureExtractor``.

    Raises:
        InputError: If something is missing or wrong, the network is of another kind, or the backend cannot
            run it.
        NotInstalledError: If the backend is not installed.

    Example:
        >>> load('facenet_mbv1_1.0-160_color', kind='embedder').embed('a.jpg').vectors  # doctest: +SKIP
    """
    if backend not in BACKENDS:
        raise InputError(f'backend must be one of {", ".join(BACKENDS)}, got {backend!r}')
    if kind is not None and kind not in KINDS:
        raise InputError(f'kind must be one of {", ".join(KINDS)}, got {kind!r}')
    for name, path in (('source', source), ('checkpoint', checkpoint or '')):
        if not isinstance(path, str | os.PathLike):
            raise InputError(f'{name} must be a name or a path, got {path!r:.60}')
    given = finder is not None and not isinstance(finder, str)
    if given and not callable(getattr(finder, 'find', None)):
        raise InputError(f'finder must be a name, a file, None or a FaceFinder, got {finder!r:.60}')
    if given and kind not in (None, 'embedder'):
        raise InputError(f'finder is for an embedder, not for {with_article(kind or "")}')
    check_options(threads, mode, precision)
    wanted = 'embedder' if given else kind
    options: dict[str, Any] = dict(backend=backend, threads=threads, mode=mode, precision=precision)
    exported = next((p for p in (source, checkpoint) if p and is_exported(p)), None)
    if exported is None:
        network = _trained(source, checkpoint, wanted, cache, **options)
    elif backend == 'torch':
        raise InputError(f'{exported}: torch runs checkpoints, not exported files')
    else:
        network = open_session(exported, **options)
    if isinstance(network, DetectorInPyTorch):
        return Detector(network.detection)
    return _object(network, os.fspath(exported or source), wanted, finder)


class DetectorInPyTorch(NamedTuple):
    """A detector that cannot be exported: mmdet predicts with it."""

    detection: DetectionNetwork


def _trained(
    source: PathLike, checkpoint: PathLike | None, kind: str | None, cache: bool, **options: Any
) -> Network | DetectorInPyTorch:
    """Whatever runs a trained network: a kept export, a new one, or PyTorch.

    Args:
        source: As ``load`` takes it.
        checkpoint: Of a config.
        kind: What it must be; None for any.
        cache: Take what is kept, and keep what is exported.
        options: ``backend``, ``threads``, ``mode`` and ``precision``.
    """
    backend = options['backend']
    runtime = _runtime_of(source, backend)
    key = None
    if cache and runtime != 'torch':
        key = exports.export_key(source, checkpoint)
        if key is not None and (path := exports.find(key)) is not None:
            return _reopened(open_fastest(path, **options), source, checkpoint, cache, options)
    from mbv1_backbone.inference.exportable import NotExportable, exportable
    from mbv1_backbone.inference.pytorch import MMDetDetection, in_bf16, in_torch, use_threads
    from mbv1_backbone.inference.resolve import resolve

    found = resolve(source, checkpoint)
    if kind is not None:
        found.expect(kind)
    try:
        network = exportable(found)
    except NotExportable:
        if backend not in ('auto', 'torch'):
            raise
        use_threads(options['threads'])
        return DetectorInPyTorch(MMDetDetection(found, bf16=in_bf16(options['precision'])))
    if runtime == 'torch':
        return in_torch(*network, options['threads'], options['precision'])
    if cache and key is None and found.config is None:  # of a URL; a config's key is told or not
        key = exports.key_of(found.checkpoint.path, None)
    return _reopened(_exported(network, key, options), source, checkpoint, cache, options)


def _runtime_of(source: PathLike, backend: str) -> str:
    """What runs a network that is exported on the way."""
    if backend in _FILES_OF:
        wanted = _FILES_OF[backend]
        raise InputError(
            f'{source}: {backend} runs {wanted} files of mbv1 export --to {_WRITTEN_BY.get(backend, backend)}'
        )
    runtimes = [name for name in ('openvino', 'onnxruntime') if find_spec(name) and find_spec('onnx')]
    if backend not in ('auto', *runtimes, 'torch'):
        raise NotInstalledError(f"{backend}: not installed; pip install 'mbv1-backbone[deploy]'")
    if backend == 'auto':
        return runtimes[0] if runtimes else 'torch'
    return backend


def _exported(network: Exportable, key: str | None, options: dict[str, Any]) -> Session:
    """A session of a new export: kept under ``key``, or of a file that is removed again."""
    from mbv1_backbone.export import writers

    def write(path: Path) -> None:
        writers.write(network.graph, network.spec, path)

    if key is not None and (path := exports.keep(key, write)) is not None:
        return open_fastest(path, **options)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'model.onnx'
        write(path)
        return open_session(path, **options)


def _reopened(
    session: Session, source: PathLike, checkpoint: PathLike | None, cache: bool, options: dict[str, Any]
) -> Session:
    """The session, which names its source, and is loaded from it again where it is unpickled."""
    names = tuple(name and _absolute(name) for name in (source, checkpoint))
    return replace(session, path=Path(source), reopen=(_trained, (*names, None, cache), dict(options)))


def _absolute(name: PathLike) -> str:
    return os.path.abspath(name) if Path(name).is_file() else os.fspath(name)


def _object(network: Network, name: str, wanted: str | None, finder: FaceFinder | str | None) -> AnyNetwork:
    kind = network.spec.kind
    if wanted not in (None, kind):
        raise InputError(f'{name}: not {with_article(wanted)}, but {with_article(kind)}')
    if kind == 'embedder':
        return FaceEmbedder(network, named_finder(finder) if isinstance(finder, str) else finder)
    if kind == 'detector':
        return Detector.of_network(network)
    return Classifier(network) if kind == 'classifier' else FeatureExtractor(network)
