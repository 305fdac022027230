"""Graphs to ExecuTorch's programs (https://docs.pytorch.org/executorch), computed by XNNPACK."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mbv1_backbone.common.errors import InputError, Mbv1Error, NotInstalledError, one_line
from mbv1_backbone.export.about import of_one_size
from mbv1_backbone.export.executorch_int8 import quantised_program
from mbv1_backbone.export.graphs import Graph
from mbv1_backbone.export.programs import exported_program, quiet
from mbv1_backbone.runtime.executorch import Suppression, about_text, sealed
from mbv1_backbone.runtime.spec import KEY, ModelSpec

__all__ = ['executorch_bytes']

_FLATC = 'FLATC_EXECUTABLE'


def executorch_bytes(graph: Graph, spec: ModelSpec, calibration: Sequence[np.ndarray]) -> bytes:
    """A graph as an ExecuTorch program for XNNPACK, an image at a time.

    Takes ``images``, uint8 (1, H, W, 3) in RGB. Outputs are the graph's; a detector's are the boxes (1, A, 4)
    of all anchors, x1, y1, x2, y2 in pixels, and their scores (1, A, classes): ExecuTorch has no operator for
    their suppression, which the file describes. A method ``mbv1`` gives as JSON what the file says of itself.

    Args:
        graph: Of a classifier, an embedder, a backbone, or a detector of one stage.
        spec: Goes into the file; precision is ``fp32`` or ``int8``.
        calibration: For int8: images uint8 (H, W, 3) of the input's size.

    Raises:
        InputError: If something in the graph has no operator there.
        NotInstalledError: If ExecuTorch is not installed.
    """
    exir, partition = (
        _tool('executorch.exir'),
        _tool('executorch.backends.xnnpack.partition.xnnpack_partitioner'),
    )
    suppression = None
    if spec.kind == 'detector':
        graph, suppression = _without_suppression(graph)
    about = about_text(of_one_size(spec), graph.outputs, suppression)
    program = exported_program(graph, spec, one_image=True)
    try:
        with torch.no_grad(), quiet(), _logging_errors(), _flatc():
            if spec.precision == 'int8':
                program = quantised_program(program, calibration)
            lowered = exir.to_edge_transform_and_lower(
                program, partitioner=[partition.XnnpackPartitioner()], constant_methods={KEY: about}
            )
            return sealed(lowered.to_executorch().buffer)
    except (OSError, Mbv1Error):
        raise
    except Exception as error:  # of many kinds, by what is amiss
        raise InputError(
            f'ExecuTorch does not take this {spec.kind}: {one_line(error)[:200]}; onnx and openvino do'
        ) from error


class _Candidates(Graph):
    """A detector's boxes (N, A, 4) in pixels and scores (N, A, classes), before suppression."""

    outputs = ('boxes', 'scores')

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.whole = graph  # a GraphModule's `graph` is another thing

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        found: tuple[Tensor, Tensor] = self.whole.candidates(images)  # type: ignore[operator]
        return found


def _without_suppression(graph: Graph) -> tuple[Graph, Suppression]:
    from mbv1_backbone.export.detectors import OneStage, TwoStage, limits_of  # faces do without mmdet

    if not isinstance(graph, OneStage):
        missing = 'RoIAlign' if isinstance(graph, TwoStage) else 'the suppression of landmarks'
        raise InputError(
            f'ExecuTorch files of this project have no operator for {missing}; export it to onnx or openvino'
        )
    return _Candidates(graph), Suppression(*limits_of(graph.cfg))


def _tool(name: str) -> Any:
    """A module of ExecuTorch, or of torchao, which it quantises by."""
    try:
        with quiet(), _logging_errors():
            return importlib.import_module(name)
    except ImportError as error:
        raise NotInstalledError("needs ExecuTorch: pip install 'mbv1-backbone[executorch]'") from error


@contextlib.contextmanager
def _flatc() -> Iterator[None]:
    """With ExecuTorch's own ``flatc``: it looks in PATH, which has it only in an active environment."""
    found = importlib.util.find_spec('executorch.data.bin')
    folders = (found.submodule_search_locations or []) if found else []
    own = next((path for folder in folders if (path := Path(folder) / 'flatc').is_file()), None)
    if own is None or _FLATC in os.environ:
        yield
        return
    os.environ[_FLATC] = str(own)
    try:
        yield
    finally:
        del os.environ[_FLATC]


@contextlib.contextmanager
def _logging_errors() -> Iterator[None]:
    """Without what ExecuTorch and torchao log below errors."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
