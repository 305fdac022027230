"""What a Core ML package holds, compared with the network where no system of Apple's can run it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mbv1_backbone.common.errors import DamagedFileError
from mbv1_backbone.export.coreml.writer import coreml_plan
from mbv1_backbone.export.graphs import Graph
from mbv1_backbone.export.plans.plan import CONVOLUTIONS, Plan
from mbv1_backbone.runtime.coreml import INSIDE, coremltools
from mbv1_backbone.runtime.spec import ModelSpec
from mbv1_backbone.weights.parity import Parity

__all__ = ['compare_stored']

_SENTINEL = 0xDEADBEEF  # before what a blob file says of an array
_HALF_STEP = 2.0**-11  # of float16, as a share of the value
_LEAST_STEP = 2.0**-25  # half of float16's least value
_TYPES = {'FLOAT16': '<f2', 'FLOAT32': '<f4'}


class _Convolution(NamedTuple):
    """A convolution of a package, or of the plan.

    Attributes:
        name: Of the operator.
        weight: (out, in, h, w).
        bias: (out,).
    """

    name: str
    weight: np.ndarray
    bias: np.ndarray


def compare_stored(graph: Graph, spec: ModelSpec, path: Path) -> Parity:
    """Compare each convolution and linear layer of a package with the network's, batch norms folded.

    Args:
        graph: That the package was written of.
        spec: Of the package.
        path: ``.mlpackage``.

    Returns:
        How many layers and weights there are, and the largest difference of one; none may differ in float32,
        and in float16 by more than one rounding.

    Raises:
        DamagedFileError: If the package is not of the form that it was written in.
        NotInstalledError: If coremltools is not installed.
    """
    theirs, ours = list(_stored(path)), list(_planned(coreml_plan(graph, spec.size)))
    parity = Parity(dict(layers=len(theirs), weights=sum(c.weight.size + c.bias.size for c in theirs)))
    names = [[convolution.name for convolution in each] for each in (theirs, ours)]
    if names[0] != names[1]:
        wrong = sorted(set(names[0]) ^ set(names[1])) or names[0]
        parity.failures.append(f'layers are not those of the network: {", ".join(wrong)[:200]}')
        return parity
    largest = 0.0
    for one, other in zip(theirs, ours, strict=True):
        for name, stored, right in (
            ('weight', one.weight, other.weight),
            ('bias', one.bias, other.bias),
        ):
            rounded = np.maximum(np.abs(right) * _HALF_STEP, _LEAST_STEP) if spec.precision == 'fp16' else 0.0
            if stored.shape != right.shape:
                parity.failures.append(f'{one.name}.{name} is {stored.shape}, not {right.shape}')
                continue
            difference = np.abs(stored.astype(np.float64) - right)
            largest = max(largest, float(difference.max()))
            if (difference > rounded).any():
                parity.failures.append(f'{one.name}.{name} differs by {difference.max():.3g}')
    parity.figures['largest_difference'] = largest
    return parity


def _planned(plan: Plan) -> Iterator[_Convolution]:
    for operator in plan.operators:
        if operator.kind in CONVOLUTIONS:
            weight, bias = (plan.values[name].data for name in operator.inputs[1:])
            assert weight is not None  # constants
            assert bias is not None
            order = (3, 0, 1, 2) if operator.kind == 'DEPTHWISE_CONV_2D' else (0, 3, 1, 2)
            name = operator.outputs[0].removesuffix('/output').replace('.', '_')
            yield _Convolution(name, weight.transpose(order), bias)


def _stored(path: Path) -> Iterator[_Convolution]:
    """The convolutions of a package, in order."""
    try:
        spec = coremltools().utils.load_spec(str(path))
        network = spec.pipeline.models[0] if spec.WhichOneof('Type') == 'pipeline' else spec
        main = network.mlProgram.functions['main']
        operations = main.block_specializations[main.opset].operations
        values = {operation.outputs[0].name: operation for operation in operations if operation.outputs}
        blobs: dict[str, bytes] = {}

        def constant(operation: Any, name: str) -> np.ndarray:
            stored = values[operation.inputs[name].arguments[0].name].attributes['val']
            return _value(stored, path, blobs)

        for operation in operations:
            if operation.type == 'conv':
                name = operation.outputs[0].name.removesuffix('_cast_fp16')
                yield _Convolution(name, constant(operation, 'weight'), constant(operation, 'bias'))
    except (KeyError, IndexError, ValueError, OSError, struct.error) as error:
        raise DamagedFileError(f'{path}: damaged Core ML package: {error}') from error


def _value(stored: Any, path: Path, blobs: dict[str, bytes]) -> np.ndarray:
    """A constant: a short one is in the model, others are in a file beside it.

    Format: StorageFormat.hpp in https://github.com/apple/coremltools/tree/main/mlmodel/src/MILBlob/Blob.
    """
    about = stored.type.tensorType
    shape = tuple(dimension.constant.size for dimension in about.dimensions)
    dtype = _TYPES[coremltools().proto.MIL_pb2.DataType.Name(about.dataType)]
    if stored.WhichOneof('value') == 'immediateValue':
        inside = stored.immediateValue.tensor
        flat = (
            np.frombuffer(inside.bytes.values, dtype)
            if dtype == '<f2'
            else np.array(inside.floats.values, dtype)
        )
        return flat.reshape(shape)
    file = stored.blobFileValue.fileName.replace('@model_path', INSIDE)
    if file not in blobs:
        blobs[file] = (path / file).read_bytes()
    sentinel, _, size, offset = struct.unpack_from('<IIQQ', blobs[file], stored.blobFileValue.offset)
    if sentinel != _SENTINEL:
        raise ValueError(f'{file} has no array at {stored.blobFileValue.offset}')
    return np.frombuffer(blobs[file][offset : offset + size], dtype).reshape(shape)
