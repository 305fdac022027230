"""Programs of ``torch.export`` and AOTInductor: what they say of themselves, and how they are run."""

from __future__ import annotations

import importlib
import os
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import InputError, NotInstalledError, one_line
from mbv1_backbone.runtime.spec import KEY, ModelSpec

__all__ = ['open_program', 'program_spec']

_COMPILED = '/data/aotinductor/'  # where AOTInductor keeps what it has compiled
Run = Callable[[np.ndarray], tuple[np.ndarray, ...]]


def program_spec(path: Path) -> tuple[ModelSpec, bool]:
    """What a ``.pt2`` file says of itself, read without PyTorch, and whether AOTInductor has compiled it.

    Raises:
        InputError: If the file is damaged, or not of ``mbv1 export``.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # PyTorch reads whatever it is given
            names = archive.namelist()
            said = [name for name in names if name.endswith(f'/extra/{KEY}')]
            text = archive.read(said[0]).decode() if len(said) == 1 else None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as error:
        raise InputError(f'{path}: not a file of mbv1 export') from error
    if damaged is not None:
        raise InputError(f'{path}: damaged: {damaged} in it is not what was written')
    return ModelSpec.from_text(text, path), any(_COMPILED in name for name in names)


def open_program(path: Path, threads: int | None, mode: str) -> tuple[ModelSpec, str, Run, int]:
    """A program of ``mbv1 export``, ready to run: its spec, the runtime, a function, how many run at once.

    Args:
        path: ``.pt2``; what AOTInductor has compiled is machine code, which runs as it is.
        threads: Of PyTorch, in the whole process; None leaves them as they are.
        mode: As of the other runtimes; PyTorch works on one batch at a time in both.

    Raises:
        InputError: If the file is damaged, not of ``mbv1 export``, or compiled for another processor.
        NotInstalledError: If PyTorch is not installed.
    """
    del mode
    spec, compiled = program_spec(path)
    try:
        torch = importlib.import_module('torch')
        if spec.kind == 'detector':
            importlib.import_module('torchvision')  # has the operator that suppresses
    except ImportError as error:
        raise NotInstalledError(f'{path}: needs PyTorch and torchvision: pip install torchvision') from error
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of what PyTorch does inside itself
            program = _compiled(torch, path) if compiled else torch.export.load(path).module()
    except InputError:
        raise
    except Exception as error:  # of many kinds, by what is amiss
        raise InputError(
            f'{path}: PyTorch {torch.__version__} cannot read it: {one_line(error)[:200]}'
        ) from error
    process = os.getpid()

    def run(images: np.ndarray) -> tuple[np.ndarray, ...]:
        nonlocal process
        if process != os.getpid():  # a fork has none of the threads of the process that it came from
            torch.set_num_threads(1)
            process = os.getpid()
        with torch.inference_mode():
            outputs = program(torch.from_numpy(np.ascontiguousarray(images)))
        return tuple(output.numpy() for output in outputs)

    return spec, f'{"aoti" if compiled else "torch.export"} {torch.__version__}', run, 1


def _compiled(torch: Any, path: Path) -> Any:
    """What AOTInductor has compiled, once it is known that this processor has the instructions."""
    package = importlib.import_module('torch._inductor.package')
    load = importlib.import_module('torch._C._aoti').AOTIModelPackageLoader
    wanted = load.load_metadata_from_package(str(path), 'model')
    here = str(importlib.import_module('torch._inductor.cpu_vec_isa').pick_vec_isa()).upper().split()
    missing = [word for word in wanted.get('AOTI_CPU_ISA', '').split() if word not in here]
    if wanted.get('AOTI_MACHINE', '') != os.uname().machine or missing:
        of = f'{wanted.get("AOTI_MACHINE")} {wanted.get("AOTI_CPU_ISA")}'
        raise InputError(f'{path}: compiled for {of}; this is {os.uname().machine} {" ".join(here)}')
    return package.load_package(str(path))
