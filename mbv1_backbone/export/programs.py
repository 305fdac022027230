"""Graphs to programs of ``torch.export``, and by way of it to what AOTInductor compiles."""

from __future__ import annotations

import contextlib
import io
import shutil
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.nn.utils import convert_conv2d_weight_memory_format

from mbv1_backbone.common.errors import InputError, NotInstalledError, one_line
from mbv1_backbone.export.about import of_one_size
from mbv1_backbone.export.graphs import Graph
from mbv1_backbone.models.layers import folded
from mbv1_backbone.runtime.spec import KEY, ModelSpec

__all__ = ['exported_program', 'quiet', 'save_compiled', 'save_program']


def exported_program(graph: Graph, spec: ModelSpec, one_image: bool = False) -> torch.export.ExportedProgram:
    """A graph, with batch norms folded, as a program for any number of images of its size.

    Args:
        graph: Copied.
        spec: Of the graph.
        one_image: The program is for one image at a time, and its weights have their channels first.

    Raises:
        InputError: If ``torch.export`` does not take the graph.
    """
    images = torch.zeros((1 if one_image else 2, *spec.size, 3), dtype=torch.uint8)
    shapes = None if one_image else ({0: torch.export.Dim('batch', min=1)},)
    try:
        network = folded(graph.eval())
        if one_image:
            network = convert_conv2d_weight_memory_format(network, torch.contiguous_format)
        with torch.no_grad(), quiet():
            return torch.export.export(network, (images,), dynamic_shapes=shapes, strict=False)
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
    with quiet():
        torch.export.save(program, path, extra_files={KEY: of_one_size(spec).as_text()})


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
        with torch.no_grad(), quiet():
            aoti_compile_and_package(program, package_path=str(path), inductor_configs=options)
    except Exception as error:  # of many kinds, by what is amiss
        raise InputError(f'AOTInductor does not compile this {spec.kind}: {one_line(error)[:200]}') from error
    with zipfile.ZipFile(path, 'a') as archive:
        folder = archive.namelist()[0].split('/')[0]
        archive.writestr(f'{folder}/extra/{KEY}', of_one_size(spec).as_text())


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


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without PyTorch's warnings of what it will rename in itself."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter('ignore')
        yield
