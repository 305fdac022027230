"""A plan as the bytes of a ``.tflite`` file.

The schema is the one that comes with the runtime, whose objects pack themselves. Format:
https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from mbv1_backbone.export.plans.plan import POST_PROCESS, Operator, Plan, Value

__all__ = ['as_bytes']

_OPTIONS = {
    'CONCATENATION': 'ConcatenationOptions',
    'CONV_2D': 'Conv2DOptions',
    'DEPTHWISE_CONV_2D': 'DepthwiseConv2DOptions',
    'DEQUANTIZE': 'DequantizeOptions',
    'L2_NORMALIZATION': 'L2NormOptions',
    'LEAKY_RELU': 'LeakyReluOptions',
    'MEAN': 'ReducerOptions',
    'MUL': 'MulOptions',
    'PAD': 'PadOptions',
    'QUANTIZE': 'QuantizeOptions',
    'RESHAPE': 'ReshapeOptions',
    'SLICE': 'SliceOptions',
    'SOFTMAX': 'SoftmaxOptions',
    'SUB': 'SubOptions',
}
# Of operators, by what they are given: compilers for accelerators go by them.
_VERSIONS = {
    'int8': {'CONV_2D': 3, 'DEPTHWISE_CONV_2D': 3, 'RESHAPE': 1},
    'float16': {'DEQUANTIZE': 3},
    'uint8': {'QUANTIZE': 2},
}
_DEFAULT_VERSIONS = {'int8': 2}
_ALIGNMENT = 16  # bytes, of constants: the schema asks for it
_SCHEMA_VERSION = 3


def as_bytes(plan: Plan, description: str, metadata: Mapping[str, str | bytes]) -> bytes:
    """Pack a plan.

    Args:
        plan: Of a network.
        description: Who wrote the file.
        metadata: Texts and bytes by their names, which go into the file.
    """
    model = schema.ModelT()
    model.version, model.description = _SCHEMA_VERSION, description
    model.buffers, model.metadata, model.operatorCodes = [_Buffer()], [], []
    graph = schema.SubGraphT()
    graph.name = 'main'
    places = {name: place for place, name in enumerate(plan.values)}
    graph.tensors = [_tensor(model, value) for value in plan.values.values()]
    graph.inputs = np.array([places['images']], np.int32)
    graph.outputs = np.array([places[name] for name in plan.outputs], np.int32)
    codes: dict[tuple[str, int], int] = {}
    graph.operators = [_operator(operator, plan, places, codes) for operator in plan.operators]
    model.operatorCodes = [_code(*code) for code in codes]
    model.subgraphs = [graph]
    for name, said in metadata.items():
        entry = schema.MetadataT()
        entry.name, entry.buffer = name, _stored(model, said if isinstance(said, bytes) else said.encode())
        model.metadata.append(entry)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b'TFL3')
    return bytes(builder.Output())


class _Buffer(schema.BufferT):
    """Bytes that begin at a multiple of ``_ALIGNMENT``, which the schema's own class does not see to."""

    def Pack(self, builder: Any) -> int:
        vector = None
        if self.data is not None:
            builder.StartVector(1, len(self.data), _ALIGNMENT)
            builder.head -= len(self.data)
            builder.Bytes[builder.head : builder.head + len(self.data)] = self.data
            vector = builder.EndVector()
        schema.BufferStart(builder)
        if vector is not None:
            schema.BufferAddData(builder, vector)
        return int(schema.BufferEnd(builder))


def _stored(model: Any, data: bytes) -> int:
    """The number of a new buffer."""
    buffer = _Buffer()
    buffer.data = data
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def _tensor(model: Any, value: Value) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.hasRank = value.name, True
    tensor.shape = np.array(value.shape, np.int32)
    tensor.type = getattr(schema.TensorType, value.dtype.upper())
    tensor.buffer = 0 if value.data is None else _stored(model, value.data.tobytes())
    if value.quantisation is not None:
        about = schema.QuantizationParametersT()
        about.scale = value.quantisation.scale.astype(np.float32)
        about.zeroPoint = value.quantisation.zero_point.astype(np.int64)
        about.quantizedDimension = value.quantisation.axis
        tensor.quantization = about
    return tensor


def _operator(
    operator: Operator, plan: Plan, places: Mapping[str, int], codes: dict[tuple[str, int], int]
) -> Any:
    packed = schema.OperatorT()
    given = plan.values[operator.inputs[0]].dtype
    version = _VERSIONS.get(given, {}).get(operator.kind, _DEFAULT_VERSIONS.get(given, 1))
    packed.opcodeIndex = codes.setdefault((operator.kind, version), len(codes))
    packed.inputs = np.array([places[name] for name in operator.inputs], np.int32)
    packed.outputs = np.array([places[name] for name in operator.outputs], np.int32)
    if operator.kind == POST_PROCESS:
        packed.customOptions = np.frombuffer(bytes(flexbuffers.Dumps(operator.options)), np.uint8)
    elif operator.kind in _OPTIONS:
        name = _OPTIONS[operator.kind]
        packed.builtinOptionsType = getattr(schema.BuiltinOptions, name)
        packed.builtinOptions = getattr(schema, f'{name}T')()
        for key, option in operator.options.items():
            setattr(packed.builtinOptions, key, option)
    return packed


def _code(kind: str, version: int) -> Any:
    code = schema.OperatorCodeT()
    code.version = version
    if kind == POST_PROCESS:
        code.builtinCode, code.customCode = schema.BuiltinOperator.CUSTOM, kind
        code.deprecatedBuiltinCode, code.version = code.builtinCode, 1
        return code
    code.builtinCode = getattr(schema.BuiltinOperator, kind)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    return code
