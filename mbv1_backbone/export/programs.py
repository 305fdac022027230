"""Graphs to programs of ``torch.export``, and by way of it to what AOTInductor compiles."""

from __future__ import annotations

import contextlib
import io
import shutil
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from mbv1_backbone.common.errors import InputError, NotInstalledError, one_line
from mbv1_backbone.export.graphs import Graph
from mbv1_backbone.models.layers import folded
from mbv1_backbone.runtime.spec import KEY, ModelSpec

__all__ = ['exported_program', 'save_compiled', 'save_program']


def exported_program(graph: Graph, spec: ModelSpec) -> torch.export.ExportedProgram:
    """A graph, with batch norms folded, as a program for any number of images of its size.

    Args:
        graph: Copied.
        spec: Of the graph.

    Raises:
        InputError: If ``torch.export`` does not take the graph.
    """
    images = torch.zeros((2, *spec.size, 3), dtype=torch.uint8)
    batch = torch.export.Dim('batch', min=1)
    try:
        with torch.no_grad(), _quiet():
            return torch.export.export(
                folded(graph.eval()), (images,), dynamic_shapes=({0: batch},), strict=False
            )
    except Exception as error:  # of many kinds, by what is amiss
        raise InputError(
            f'torch.export does not take this {spec.kind}: {one_line(error)[:200]}; onnx and openvino do'
        ) from error


def save_program(graph: Graph, spec: ModelSpec, path: Path) -> None:
    """Write a graph as ``torch.export.save`` does, with what it says of itself among the extra files.

    Args:
        graph: With ``inputs`` and ``outputs``.
        spec: Goes into the file, of one size of images.
        path: ``.pt2``.

    Raises:
        InputError: If ``torch.export`` does not take the graph.
    """
    program = exported_program(graph, spec)
    with _quiet():
        torch.export.save(program, path, extra_files={KEY: _of_one_size(spec).as_text()})


def save_compiled(graph: Graph, spec: ModelSpec, path: Path) -> None:
    """Write a graph as machine code of this processor, compiled by AOTInductor.

    Args:
        graph: With ``inputs`` and ``outputs``.
        spec: Goes into the file, of one size of images.
        path: ``.aoti.pt2``.

    Raises:
        InputError: If ``torch.export`` or AOTInductor does not take the graph.
        NotInstalledError: If there is no C++ compiler.
    """
    compiler = _compiler()
    program = exported_program(graph, spec)
    from torch._inductor import aoti_compile_and_package

    options = {'cpp.dynamic_threads': True, 'cpp.cxx': (compiler,)}
    try:
        with torch.no_grad(), _quiet():
            aoti_compile_and_package(program, package_path=str(path), inductor_configs=options)
    except Exception as error:  # of many kinds, by what is amiss
        raise InputError(f'AOTInductor does not compile this {spec.kind}: {one_line(error)[:200]}') from error
    with zipfile.ZipFile(path, 'a') as archive:
        folder = archive.namelist()[0].split('/')[0]
        archive.writestr(f'{folder}/extra/{KEY}', _of_one_size(spec).as_text())


def _compiler() -> str:
    """The C++ compiler that AOTInductor calls."""
    from torch._inductor import config

    wanted = [name for name in config.cpp.cxx if name]
    for name in wanted:
        if found := shutil.which(name):
            return found
    raise NotInstalledError(
        f'AOTInductor needs a C++ compiler, none is found ({", ".join(wanted)}): install g++, or set CXX'
    )


def _of_one_size(spec: ModelSpec) -> ModelSpec:
    return replace(spec, any_size=False, multiple=1)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without PyTorch's warnings of what it will rename in itself."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter('ignore')
        yield
