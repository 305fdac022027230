"""Reading a TFLite file: its convolutions in order, dequantised, and how they hang together.

Format: https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mbv1_backbone.common.errors import DamagedFileError, InputError, NotInstalledError
from mbv1_backbone.weights.tflite_labels import METADATA

__all__ = ['TfliteGraph', 'TfliteLayer', 'TfliteTensor', 'is_tflite', 'read_graph']

_TYPES = {0: np.float32, 1: np.float16, 2: np.int32, 3: np.uint8, 4: np.int64, 9: np.int8}
_ACTIVATIONS = {0: None, 1: 'ReLU', 3: 'ReLU6'}  # ActivationFunctionType
_SAME = 0  # Padding
_CONVOLUTIONS = ('CONV_2D', 'DEPTHWISE_CONV_2D', 'FULLY_CONNECTED')


class TfliteTensor(NamedTuple):
    """A tensor of a file: a constant's real values, or None for what is computed."""

    name: str
    shape: tuple[int, ...]
    values: np.ndarray | None
    scale: np.ndarray | None
    zero_point: np.ndarray | None
    dtype: type | None = None


class TfliteLayer(NamedTuple):
    """A convolution or a linear layer of a file, dequantised.

    Attributes:
        kind: ``CONV_2D``, ``DEPTHWISE_CONV_2D`` or ``FULLY_CONNECTED``.
        weight: As the file has it: (out, h, w, in), depthwise (1, h, w, channels), linear (out, in).
        bias: (out,).
        activation: ``ReLU``, ``ReLU6`` or None.
        padding: ``'same'``, ``'symmetric'`` or ``'valid'``, a padding layer just before it included.
        source: Index of the input tensor; ``result``: of the output.
    """

    kind: str
    weight: TfliteTensor
    bias: TfliteTensor
    activation: str | None
    padding: str
    source: int
    result: int


class TfliteGraph(NamedTuple):
    """What a file holds, in the order it runs.

    Attributes:
        layers: Its convolutions and linear layers.
        operators: All operators: kind, inputs and outputs.
        tensors: All tensors.
        image: The input.
        texts: What the file keeps beside the network, by name, where it is text.
        metadata: What it says of itself in TensorFlow Lite's own form, in bytes; None if it does not.
    """

    layers: list[TfliteLayer]
    operators: list[tuple[str, list[int], list[int]]]
    tensors: list[TfliteTensor]
    image: TfliteTensor
    texts: dict[str, str]
    metadata: bytes | None = None


def is_tflite(path: str | os.PathLike[str]) -> bool:
    """Whether a file says that it is TFLite's."""
    with open(path, 'rb') as file:
        return file.read(8)[4:] == b'TFL3'


def read_graph(path: str | os.PathLike[str]) -> TfliteGraph:
    """Parse a file and dequantise its constants.

    Raises:
        InputError: If it is damaged, or holds an activation or a padding that MobileNetV1 has not.
    """
    try:
        import tflite
    except ImportError as error:
        raise NotInstalledError(
            "reading TFLite needs the package tflite: pip install 'mbv1-backbone[weights]'"
        ) from error
    try:
        model = tflite.Model.GetRootAsModel(Path(path).read_bytes(), 0)
        graph = model.Subgraphs(0)
        tensors = [_tensor(model, graph.Tensors(i)) for i in range(graph.TensorsLength())]
        kinds = {code: name for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)}
        operators = []
        for operator in (graph.Operators(i) for i in range(graph.OperatorsLength())):
            code = model.OperatorCodes(operator.OpcodeIndex())
            kind = kinds[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
            operators.append((kind, operator, operator.InputsAsNumpy().tolist()))
        image = tensors[int(graph.Inputs(0))]
        layers = list(_layers(path, operators, tensors))
        kept = dict(_kept(model))
    except (IndexError, TypeError, ValueError, AttributeError, KeyError, struct.error) as error:
        if isinstance(error, InputError):
            raise
        raise DamagedFileError(f'{path}: damaged TFLite file: {error}') from error
    plain = [(kind, inputs, operator.OutputsAsNumpy().tolist()) for kind, operator, inputs in operators]
    return TfliteGraph(layers, plain, tensors, image, dict(_texts(kept)), kept.get(METADATA))


def _kept(model: Any) -> Iterator[tuple[str, bytes]]:
    for entry in (model.Metadata(i) for i in range(model.MetadataLength())):
        data = model.Buffers(entry.Buffer())
        yield entry.Name().decode(), data.DataAsNumpy().tobytes() if data.DataLength() else b''


def _texts(kept: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
    for name, content in kept.items():
        with contextlib.suppress(UnicodeDecodeError):
            yield name, content.decode()


def _tensor(model: Any, tensor: Any) -> TfliteTensor:
    shape = tuple(int(n) for n in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()
    name = tensor.Name().decode()
    about = tensor.Quantization()
    scale = zero_point = values = None
    if about is not None and about.ScaleLength():
        scale, zero_point = about.ScaleAsNumpy(), about.ZeroPointAsNumpy()
    data = model.Buffers(tensor.Buffer())
    if data.DataLength() and tensor.Type() in _TYPES:
        stored = np.frombuffer(data.DataAsNumpy().tobytes(), _TYPES[tensor.Type()]).reshape(shape)
        values = _dequantised(stored, scale, zero_point, about.QuantizedDimension() if about else 0)
    return TfliteTensor(name, shape, values, scale, zero_point, _TYPES.get(tensor.Type()))


def _dequantised(
    stored: np.ndarray, scale: np.ndarray | None, zero_point: np.ndarray | None, axis: int
) -> np.ndarray:
    """``scale * (stored - zero_point)``, of one scale for all or one for each place along ``axis``."""
    if scale is None or zero_point is None:
        return stored
    along = [1] * stored.ndim
    if len(scale) > 1:
        along[axis] = len(scale)
    return (stored.astype(np.float64) - zero_point.reshape(along)) * scale.astype(np.float64).reshape(along)


def _layers(
    path: str | os.PathLike[str], operators: Sequence[tuple[str, Any, list[int]]], tensors: list[TfliteTensor]
) -> Iterator[TfliteLayer]:
    padded: dict[int, str] = {}  # padding by outputs of PAD
    copies: dict[int, int] = {}  # what DEQUANTIZE makes of float16 constants
    for kind, operator, inputs in operators:
        if kind == 'PAD':
            padded[operator.Outputs(0)] = _padding(tensors[inputs[1]])
        elif kind == 'DEQUANTIZE' and tensors[inputs[0]].values is not None:
            copies[operator.Outputs(0)] = inputs[0]
        if kind not in _CONVOLUTIONS:
            continue
        weight, bias = (tensors[copies.get(index, index)] for index in inputs[1:3])
        if weight.values is None or bias.values is None:
            raise InputError(f'{path}: {weight.name} or its bias is computed, not stored')
        activation, padding = _options(kind, operator)
        if activation not in _ACTIVATIONS:
            raise InputError(f'{path}: {weight.name} has activation {activation}, not ReLU, ReLU6 or none')
        yield TfliteLayer(
            kind=kind,
            weight=weight,
            bias=bias,
            activation=_ACTIVATIONS[activation] or _clamped(tensors[operator.Outputs(0)]),
            padding='same' if padding == _SAME else padded.get(inputs[0], 'valid'),
            source=inputs[0],
            result=operator.Outputs(0),
        )


def _clamped(output: TfliteTensor) -> str | None:
    """The activation that a quantised output's range amounts to: early files leave ReLU6 to it."""
    if output.scale is None or output.zero_point is None or output.zero_point[0] != 0:
        return None
    return 'ReLU6' if abs(255 * output.scale[0] - 6) < 0.1 else None


def _padding(amounts: TfliteTensor) -> str:
    """What a padding layer does to height and width: an equal border, or one at the end only."""
    if amounts.values is None:
        return 'valid'
    borders = amounts.values[1:3].astype(int).tolist()
    return 'same' if borders == [[0, 1]] * 2 else 'symmetric' if borders == [[1, 1]] * 2 else 'valid'


def _options(kind: str, operator: Any) -> tuple[int, int]:
    """Activation and padding of a convolution."""
    import tflite

    options = {
        'CONV_2D': tflite.Conv2DOptions,
        'DEPTHWISE_CONV_2D': tflite.DepthwiseConv2DOptions,
        'FULLY_CONNECTED': tflite.FullyConnectedOptions,
    }[kind]()
    table = operator.BuiltinOptions()
    options.Init(table.Bytes, table.Pos)
    return options.FusedActivationFunction(), _SAME if kind == 'FULLY_CONNECTED' else options.Padding()
