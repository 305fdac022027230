"""ExecuTorch files: what they say of themselves, and how they are run, by XNNPACK."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mbv1_backbone.common.cpu import cores
from mbv1_backbone.common.errors import InputError, NotInstalledError, one_line
from mbv1_backbone.runtime.spec import KEY, ModelSpec
from mbv1_backbone.runtime.suppression import kept_of_image

__all__ = ['Suppression', 'about_text', 'open_executorch', 'sealed']

_BEGINS = '{"sha256": "'
_NO_DIGEST = '0' * 64
_ABOUT = re.compile(_BEGINS.encode() + b'([0-9a-f]{64})", "' + KEY.encode() + b'": ')
_THREADS: dict[int, int] = {}  # by process: of all its ExecuTorch programs
_PROGRAMS: weakref.WeakSet[_Program] = weakref.WeakSet()  # that are open
_OPENING = threading.Lock()
Run = Callable[[np.ndarray], tuple[np.ndarray, ...]]


class Suppression(NamedTuple):
    """What is done with a detector's boxes and scores: no operator of ExecuTorch does it.

    Attributes:
        score_thr: Boxes that score no more are left out.
        iou_threshold: Boxes that overlap a better one of their class by more are left out.
        max_boxes: Detections of an image.
    """

    score_thr: float
    iou_threshold: float
    max_boxes: int


class _Program:
    """A program's function, from a list of tensors to a list of tensors, for one thread at a time."""

    def __init__(self, execute: Callable[[list[Any]], list[Any]]) -> None:
        self.execute, self.lock = execute, threading.Lock()


def about_text(spec: ModelSpec, outputs: tuple[str, ...], suppression: Suppression | None) -> str:
    """What a file says of itself, as JSON, before its digest is known.

    Args:
        spec: Of the file.
        outputs: Names.
        suppression: Of a detector.
    """
    about = {'sha256': _NO_DIGEST, KEY: json.loads(spec.as_text()), 'outputs': outputs}
    return json.dumps(about | ({} if suppression is None else dict(suppression=suppression._asdict())))


def sealed(content: bytes) -> bytes:
    """A file's bytes with its digest: SHA-256 of them as they are before it is put in."""
    empty = f'{_BEGINS}{_NO_DIGEST}"'.encode()
    assert content.count(empty) == 1  # an export has put it there
    return content.replace(empty, f'{_BEGINS}{sha256(content).hexdigest()}"'.encode())


def _read_about(path: Path) -> tuple[ModelSpec, Suppression | None]:
    """The spec and the suppression, once the file is known to be the one that was written.

    ExecuTorch itself runs whatever weights it is given, and a damaged file can end the process.
    """
    content = path.read_bytes()
    found = _ABOUT.search(content)
    if found is None or found.start() < 4:
        raise InputError(f'{path}: not a file of mbv1 export')
    start, digest = found.start(), found.group(1)
    plain = content[:start] + content[start:].replace(digest, _NO_DIGEST.encode(), 1)
    if sha256(plain).hexdigest().encode() != digest:
        raise InputError(f'{path}: damaged: not what was written')
    length = int.from_bytes(content[start - 4 : start], 'little')  # of a flatbuffer's text
    try:
        about = json.loads(content[start : start + length])
        spec = ModelSpec.from_text(json.dumps(about[KEY]), path)
        suppression = Suppression(**about['suppression']) if spec.kind == 'detector' else None
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f'{path}: not a file of mbv1 export') from error
    return spec, suppression


def open_executorch(path: Path, threads: int | None, mode: str) -> tuple[ModelSpec, str, Run, int]:
    """A program of ``mbv1 export``, ready to run: its spec, the runtime, a function, how many run at once.

    Args:
        path: ``.pte``.
        threads: Of all ExecuTorch programs of the process: the first one that is open says how many, None
            for all cores that the process may use.
        mode: As of the other runtimes; ExecuTorch works on one image at a time in both.

    Raises:
        InputError: If the file is damaged or not of ``mbv1 export``, or other programs of the process have
            another number of threads.
        NotInstalledError: If ExecuTorch is not installed.
    """
    del mode
    spec, suppression = _read_about(path)
    torch, runtime = _runtime(path)
    programs: dict[int, _Program] = {}  # by process: a fork has none of the threads

    def program() -> _Program:
        process = os.getpid()
        if process not in programs:
            programs[process] = _opened(runtime, path, None if programs else threads)
        return programs[process]

    def run(images: np.ndarray) -> tuple[np.ndarray, ...]:
        here, found = program(), []
        for image in images:
            with here.lock:
                outputs = here.execute([torch.from_numpy(np.ascontiguousarray(image[None]))])
            found.append([np.array(part) for part in _predictions(torch, outputs, suppression)])
        return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))

    program()
    return spec, f'executorch {version("executorch")}', run, 1


def _runtime(path: Path) -> tuple[Any, Any]:
    """PyTorch, and ExecuTorch's runtime."""
    try:
        torch = importlib.import_module('torch')
        return torch, importlib.import_module('executorch.runtime')
    except ImportError as error:
        raise NotInstalledError(
            f"{path}: needs ExecuTorch: pip install 'mbv1-backbone[executorch]'"
        ) from error


def _opened(runtime: Any, path: Path, threads: int | None) -> _Program:
    """A program, ready to run in this process."""
    with _OPENING:
        _use_threads(path, threads)
        try:
            read = runtime.Runtime.get().load_program(path, verification=runtime.Verification.Minimal)
            program = _Program(read.load_method('forward').execute)
        except RuntimeError as error:
            raise InputError(f'{path}: ExecuTorch cannot read it: {one_line(error)[:200]}') from error
        _PROGRAMS.add(program)
        return program


def _use_threads(path: Path, threads: int | None) -> None:
    """Set the number of threads of the process, where no program is open: those hold on to the threads."""
    process = os.getpid()
    used = _THREADS.get(process)
    if used is not None and threads in (None, used):
        return
    if used is not None and _PROGRAMS:
        raise InputError(
            f'{path}: ExecuTorch has {used} threads in this process while files are open '
            f'that were opened so, and cannot have {threads}'
        )
    with _no_chatter():  # where the threads begin: of files about the processor that only phones have
        library = importlib.import_module('executorch.extension.pybindings.portable_lib')
        library._unsafe_reset_threadpool(threads or cores())  # noqa: SLF001
    _THREADS[process] = threads or cores()


def _predictions(torch: Any, outputs: list[Any], suppression: Suppression | None) -> list[Any]:
    """What one image's outputs are in the other formats."""
    if suppression is None:
        return outputs
    [boxes], [scores] = outputs
    by_class, count = scores.T, suppression.max_boxes
    labels, which = kept_of_image(boxes, by_class, *suppression)
    best, places = torch.zeros(1, count, 4), torch.arange(len(which))
    values, kinds = torch.zeros(1, count), torch.zeros(1, count, dtype=torch.int64)
    best[0, places], values[0, places], kinds[0, places] = boxes[which], by_class[labels, which], labels
    return [best, values, kinds]


@contextlib.contextmanager
def _no_chatter() -> Iterator[None]:
    """Without what C++ code writes to standard error."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
