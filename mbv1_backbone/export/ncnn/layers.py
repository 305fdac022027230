"""A plan as layers of ncnn. Formats: https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mbv1_backbone.export.ncnn.detections import DETECTION_OUTPUT
from mbv1_backbone.export.plans.plan import CONVOLUTIONS, Operator, Plan, in_half
from mbv1_backbone.models.layers import same_padding

__all__ = ['Layer', 'layers_of']

_HALF = 0x01306B47  # before weights in 16 bits; 0 before those in 32
_CLIP, _RELU = 3, 1  # kinds of activation
_ACTIVATIONS: dict[int, dict[int, Any]] = {
    0: {},
    1: {9: _RELU},
    3: {9: _CLIP, -23310: '2,0.000000e+00,6.000000e+00'},
}
_ROUND = 18  # of UnaryOp
_TO_HWC = 3  # of Permute


class Layer(NamedTuple):
    """One layer.

    Attributes:
        kind: ncnn's name.
        name: Of the layer.
        inputs: Names of blobs.
        outputs: Names of blobs.
        options: By their numbers.
        weights: As they are stored.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    options: Mapping[int, Any] = {}
    weights: bytes = b''

    def as_line(self) -> str:
        """As the ``.param`` file has it."""
        options = [f'{number}={_text(option)}' for number, option in self.options.items()]
        counts = [str(len(self.inputs)), str(len(self.outputs))]
        return ' '.join([self.kind, self.name, *counts, *self.inputs, *self.outputs, *options])


def layers_of(plan: Plan, halves: bool, names: Mapping[str, str]) -> list[Layer]:
    """The layers of a plan, in the order in which they run; each blob is read by one of them.

    Args:
        plan: In float32.
        halves: Store the weights of convolutions and linear layers in float16.
        names: Of the outputs, by the plan's.
    """
    layers = [
        layer._replace(
            inputs=tuple(names.get(name, name) for name in layer.inputs),
            outputs=tuple(names.get(name, name) for name in layer.outputs),
        )
        for layer in _Writer(plan, halves).run()
    ]
    return _split(layers, tuple(names.values()))


def _text(option: Any) -> str:
    return f'{option:.9e}' if isinstance(option, float) else str(option)


class _Writer:
    """One plan, layer by layer."""

    def __init__(self, plan: Plan, halves: bool) -> None:
        self.plan, self.halves = plan, halves
        self.layers: list[Layer] = []
        self.same: dict[str, str] = {}  # blobs of other names
        self.borders: dict[str, np.ndarray] = {}  # of convolutions, by their inputs

    def run(self) -> list[Layer]:
        """Write it."""
        start = 1 + [operator.outputs[0] for operator in self.plan.operators].index('normalised')
        self._add_images(self.plan.operators[:start])
        for operator in self.plan.operators[start:]:
            self._add(operator)
        return self.layers

    def _blob(self, name: str) -> str:
        return self.same.get(name, name)

    def _layer(
        self,
        kind: str,
        operator: Operator | str,
        inputs: Sequence[str],
        options: Mapping[int, Any] | None = None,
        weights: bytes = b'',
    ) -> None:
        name = operator if isinstance(operator, str) else operator.outputs[0]
        blobs = tuple(map(self._blob, inputs))
        self.layers.append(Layer(kind, name, blobs, (name,), options or {}, weights))

    def _add_images(self, operators: Sequence[Operator]) -> None:
        """From the bytes of an image, as floats, to what the first convolution wants."""
        height, width = self.plan.values['images'].shape[1:3]
        self._layer('Input', 'images', (), {0: width, 1: height, 2: 3})
        x = 'images'
        for operator in operators:
            name = operator.outputs[0]
            if operator.kind == 'SLICE':
                begin, extent = (self._constant(each) for each in operator.inputs[1:])
                sides = {0: int(begin[2]), 1: int(begin[1]), 2: 0, 3: int(extent[2]), 4: int(extent[1]), 5: 3}
                self._layer('Crop', name, (x,), sides)
            elif operator.kind == 'CONV_2D':
                self._add_convolution(operator._replace(inputs=(x, *operator.inputs[1:])))
            elif operator.kind == 'ROUND':
                self._layer('UnaryOp', name, (x,), {0: _ROUND})
            else:
                continue
            x = name
        factor = 1 / np.array(self.plan.std)
        shift = -np.array(self.plan.mean) * factor
        self._layer('Scale', 'normalised', (x,), {0: 3, 1: 1}, _floats(factor) + _floats(shift))

    def _add(self, operator: Operator) -> None:
        kind, first = operator.kind, operator.inputs[0]
        if kind in CONVOLUTIONS:
            self._add_convolution(operator)
        elif kind == 'PAD' and len(self.plan.values[first].shape) == 4:  # the convolution after it pads
            self.same[operator.outputs[0]] = self._blob(first)
            self.borders[operator.outputs[0]] = self._constant(operator.inputs[1])[1:3]
        elif kind == 'RESHAPE':
            self._add_reshaped(operator)
        elif kind == DETECTION_OUTPUT:
            self._add_detections(operator)
        else:
            inputs = operator.inputs if kind == 'CONCATENATION' else operator.inputs[:1]
            self._layer(*self._simple(operator, inputs))

    def _simple(self, operator: Operator, inputs: tuple[str, ...]) -> tuple[Any, ...]:
        """Kind, name, inputs, options and weights of layers that need no thought."""
        slope = float(operator.options.get('alpha', 0.0))
        kind, options, weights = {
            'CONCATENATION': ('Concat', {0: 0}, b''),  # of (A, values): the first axis
            'L2_NORMALIZATION': ('Normalize', {0: 1, 1: 1, 2: 1e-12, 3: 1, 4: 1, 9: 1}, _floats(np.ones(1))),
            'LEAKY_RELU': ('ReLU', {0: slope}, b''),
            'LOGISTIC': ('Sigmoid', {}, b''),
            'MEAN': ('Pooling', {0: 1, 4: 1}, b''),  # global, of the mean
            'PAD': ('Padding', {0: 0, 1: 0, 2: 1, 3: 0, 4: 0, 5: 0.0}, b''),  # the background
            'SOFTMAX': ('Softmax', {0: 0, 1: 1}, b''),
        }[operator.kind]
        return kind, operator, inputs, options, weights

    def _add_convolution(self, operator: Operator) -> None:
        x, weight_name, bias_name = operator.inputs
        weight, bias = self._constant(weight_name), self._constant(bias_name)
        depthwise, shape = operator.kind == 'DEPTHWISE_CONV_2D', self._shape_of(x)
        stored = np.ascontiguousarray(weight.transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2)))
        activation = _ACTIVATIONS[operator.options['fusedActivationFunction']]
        weights = self._weights(weight_name, stored) + _floats(bias)
        if x == 'pooled':  # the mean of a map, which is flat here
            self._layer('InnerProduct', operator, (x,), {0: len(bias), 1: 1, 2: stored.size}, weights)
            return
        height, width = weight.shape[1:3]
        down, across = operator.options['strideH'], operator.options['strideW']
        (top, bottom), (left, right) = self._padding(operator, shape)
        options: dict[int, Any] = {0: len(bias), 1: width, 11: height, 3: across, 13: down}
        options |= {4: left, 15: right, 14: top, 16: bottom, 5: 1, 6: stored.size}
        if depthwise:
            options[7] = len(bias)
        kind = 'ConvolutionDepthWise' if depthwise else 'Convolution'
        self._layer(kind, operator, (x,), options | activation, weights)

    def _padding(self, operator: Operator, shape: Sequence[int]) -> Sequence[tuple[int, int]]:
        x, weight = operator.inputs[:2]
        if x in self.borders:
            return [(int(first), int(last)) for first, last in self.borders[x]]
        if operator.options['padding']:
            return [(0, 0), (0, 0)]
        kernel = self.plan.values[weight].shape[1:3]
        strides = (operator.options['strideH'], operator.options['strideW'])
        return [same_padding(*each) for each in zip(shape[1:3], kernel, strides, strict=True)]

    def _add_reshaped(self, operator: Operator) -> None:
        """Of a predictor's map, pixel by pixel; what has one pixel is flat already."""
        source, name = operator.inputs[0], operator.outputs[0]
        shape = self.plan.values[name].shape
        if len(shape) == 2:
            self.same[name] = self._blob(source)
            return
        turned = f'{name}/hwc'
        self._layer('Permute', turned, (source,), {0: _TO_HWC})
        self._layer('Reshape', name, (turned,), {0: shape[2], 1: shape[1]})

    def _add_detections(self, operator: Operator) -> None:
        encoded, scores, anchors = operator.inputs
        stored = self._constant(anchors)
        self._layer('MemoryData', anchors, (), {0: stored.shape[1], 1: stored.shape[0]}, _floats(stored))
        options = operator.options
        numbers: dict[int, Any] = {
            0: options['classes'],
            1: float(options['iou_threshold']),
            2: options['candidates'],
            3: options['count'],
            4: float(options['min_score']),
        }
        self._layer(DETECTION_OUTPUT, operator, (encoded, scores, anchors), numbers)

    def _constant(self, name: str) -> np.ndarray:
        data = self.plan.values[name].data
        assert data is not None  # a constant
        return data

    def _shape_of(self, name: str) -> tuple[int, ...]:
        return self.plan.values[name].shape

    def _weights(self, name: str, weight: np.ndarray) -> bytes:
        """With the mark before them, in whole words of four bytes."""
        if not self.halves:
            return struct.pack('<I', 0) + _floats(weight)
        half = in_half(name, weight).astype('<f2').tobytes()
        return struct.pack('<I', _HALF) + half + bytes(-len(half) % 4)


def _floats(values: np.ndarray) -> bytes:
    return values.astype('<f4').tobytes()


def _split(layers: Sequence[Layer], outputs: Sequence[str]) -> list[Layer]:
    """The same with a copy for each reader of a blob, outputs of the network among them."""
    readers: dict[str, int] = dict.fromkeys(outputs, 1)
    for layer in layers:
        for name in layer.inputs:
            readers[name] = readers.get(name, 0) + 1
    given = dict.fromkeys(outputs, 1)  # the output keeps its name
    made = []
    for layer in layers:
        inputs = []
        for name in layer.inputs:
            place = given.get(name, 0)
            given[name] = place + 1
            inputs.append(f'{name}/{place}' if readers[name] > 1 else name)
        [name] = layer.outputs
        count = readers.get(name, 0)
        if count < 2:
            made.append(layer._replace(inputs=tuple(inputs)))
            continue
        made.append(layer._replace(inputs=tuple(inputs), outputs=(f'{name}/all',)))
        copies = [f'{name}/{place}' for place in range(count)]
        if name in outputs:
            copies[0] = name
        made.append(Layer('Split', f'{name}/copies', (f'{name}/all',), tuple(copies)))
    return made
