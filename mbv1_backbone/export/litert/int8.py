"""A plan in 8 bits, as TensorFlow Lite specifies it: weights by channel, activations by tensor.

https://ai.google.dev/edge/litert/models/quantization_spec. Weights are symmetric, int8 in -127..127, a scale
for each output channel; biases int32 with the scale of input times weight; activations int8 with one scale
and zero point. Softmax, the sigmoid of scores, unit length and the decoding of boxes are computed in float32,
and predictions are float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from mbv1_backbone.export.plans.plan import CONVOLUTIONS, POST_PROCESS, Operator, Plan, Quantisation

__all__ = ['INPUTS', 'LOGIT_RANGE', 'Statistics', 'in_int8', 'measured', 'scale_of', 'sources_of']

INPUTS = ('uint8', 'int8')  # what images may be given as; int8 is the bytes less 128
# Of an SSD's scores those are told apart that lie between the least that a detection may have, and .9999: of
# two sure detections the better one must come first.
LOGIT_RANGE = (-6.5, 9.0)
# A sigmoid in bytes has steps of 1/256, and the surest detections would all score the same.
_IN_FLOAT = ('SOFTMAX', 'LOGISTIC', 'L2_NORMALIZATION', POST_PROCESS)
_SAME_SCALE = ('RESHAPE', 'PAD', 'SLICE', 'CONCATENATION')
_MIN_STEP = 2.0**-24  # of a product, in steps of the output: dead channels would have none
_MAX_BIAS = 2.0**30


class Statistics(NamedTuple):
    """What tensors hold on images.

    Attributes:
        ranges: Least and greatest value that a tensor is stored with, by its name.
        means: Of each channel, by the tensor's name.
    """

    ranges: Mapping[str, tuple[float, float]]
    means: Mapping[str, np.ndarray]


def measured(plan: Plan) -> list[str]:
    """Names of the tensors whose range decides how they are stored."""
    started = _start_of(plan)
    return [
        operator.outputs[0]
        for operator in plan.operators[started:]
        if operator.kind not in (*_IN_FLOAT, *_SAME_SCALE, 'SUB')
    ]


def in_int8(plan: Plan, statistics: Statistics, input_type: str = 'uint8') -> Plan:
    """Quantise a plan.

    Args:
        plan: In float32.
        statistics: Of each tensor that ``measured`` names.
        input_type: Of the images, one of ``INPUTS``.
    """
    return _Quantiser(plan, statistics).run(input_type)


def sources_of(plan: Plan, name: str) -> list[str]:
    """The tensors that another one is put together of, without a change of their values.

    Args:
        plan: With the tensor.
        name: Of what is reshaped or concatenated.
    """
    operator = plan.producer(name)
    if operator.kind == 'RESHAPE':
        return sources_of(plan, operator.inputs[0])
    if operator.kind == 'CONCATENATION':
        return [source for part in operator.inputs for source in sources_of(plan, part)]
    return [name]


def _start_of(plan: Plan) -> int:
    """The number of operators before the network's own: those that prepare images."""
    return 1 + max(i for i, operator in enumerate(plan.operators) if 'normalised' in operator.outputs)


class _Quantiser:
    """One quantisation of one plan."""

    def __init__(self, plan: Plan, statistics: Statistics) -> None:
        self.plan, self.means = plan, statistics.means
        self.made = replace(plan, values={}, operators=[])
        self.scales = {name: scale_of(*bounds) for name, bounds in self._shared(statistics.ranges).items()}
        self.floats: dict[str, str] = {}  # dequantised copies
        self.images = {'normalised'}  # names of the images, padded ones too

    def run(self, input_type: str) -> Plan:
        """Quantise it."""
        self._add_input(input_type)
        for operator in self.plan.operators[_start_of(self.plan) :]:
            if operator.kind in CONVOLUTIONS:
                self._add_convolution(operator)
            elif operator.kind in _IN_FLOAT or self._is_float(operator.inputs[0]):
                self._add_in_float(operator)
            else:
                self._add_other(operator)
        self.made.outputs = tuple(self._as_float(name) for name in self.plan.outputs)
        return self.made

    def _shared(self, ranges: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        """Ranges of all tensors: one for what is concatenated, and what is only reshaped."""
        found = dict(ranges)
        logits = {o.inputs[0] for o in self.plan.operators if o.kind == 'LOGISTIC'}
        for operator in reversed(self.plan.operators):
            if operator.kind == 'CONCATENATION':
                parts = sources_of(self.plan, operator.outputs[0])
                bounds = np.array([found[part] for part in parts])
                low, high = float(bounds[:, 0].min()), float(bounds[:, 1].max())
                if operator.outputs[0] in logits:
                    low, high = max(low, LOGIT_RANGE[0]), min(high, LOGIT_RANGE[1])
                found |= dict.fromkeys(parts, (low, high))
        return found

    def _add_input(self, input_type: str) -> None:
        """From bytes to the first convolution's input: the zero point is the value that padding has."""
        image = self.plan.values['images']
        mean, std = np.mean(self.plan.mean), np.mean(self.plan.std)
        scale, zero_point = float(np.float32(1 / std)), int(np.clip(np.round(mean), 0, 255))
        signed = Quantisation.of(scale, zero_point - 128)
        outside = signed if input_type == 'int8' else Quantisation.of(scale, zero_point)
        x = self.made.tensor('images', image.shape, input_type, outside)
        for operator in self.plan.operators[: _start_of(self.plan)]:
            if operator.kind == 'SLICE':
                for name in operator.inputs[1:]:
                    self._keep(name)
                self.made.operators.append(operator)
                x = self.made.tensor('window', self.plan.values['window'].shape, input_type, outside)
        last = 'normalised'
        if input_type == 'uint8':
            x = self._add('QUANTIZE', (x,), 'pixels' if 'luma' in self.plan.values else last, signed)
        if 'luma' in self.plan.values:
            x = self._add_luma(x, signed)
        self.entry = x
        self.scales['normalised'] = signed

    def _add_luma(self, x: str, scale: Quantisation) -> str:
        """Colours to their luma, thrice, in steps of one byte. Its weights add up to 1."""
        luma = self.plan.values['luma/weights'].data
        assert luma is not None  # a constant
        step = 1 / np.round(luma[0] * 127 / luma.max()).sum()
        weights = np.round(luma / step).astype(np.int8)
        steps = np.full(3, step, np.float32)
        no_shift = Quantisation(steps * scale.scale[0], np.zeros(3, np.int64))
        inputs = (
            x,
            self.made.constant('luma/weights', weights, Quantisation(steps, np.zeros(3, np.int64))),
            self.made.constant('luma/bias', np.zeros(3, np.int32), no_shift),
        )
        options = self.plan.producer('luma').options
        self.made.operators.append(Operator('CONV_2D', inputs, ('normalised',), options))
        return self.made.tensor('normalised', self.plan.values['normalised'].shape, 'int8', scale)

    def _add_convolution(self, operator: Operator) -> None:
        x, weight_name, bias_name = operator.inputs
        weight, bias = (self.plan.values[name].data for name in (weight_name, bias_name))
        assert weight is not None
        assert bias is not None
        weight, bias = weight.astype(np.float64), bias.astype(np.float64)
        if x in self.images:
            weight, bias = self._for_bytes(weight, bias)
        axis = 0 if operator.kind == 'CONV_2D' else 3
        step_in, step_out = (
            float(self.scales[name].scale[0]) for name in (operator.inputs[0], operator.outputs[0])
        )
        others = tuple(i for i in range(weight.ndim) if i != axis)
        steps = np.abs(weight).max(others) / 127
        least = np.maximum(_MIN_STEP * step_out, np.abs(bias) / _MAX_BIAS) / step_in
        steps = np.maximum(steps, least).astype(np.float32)
        along = steps.astype(np.float64).reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
        stored = np.clip(np.round(weight / along), -127, 127).astype(np.int8)
        bias = bias - self._shift(operator, stored * along - weight)
        zeros = np.zeros(len(steps), np.int64)
        product = steps.astype(np.float64) * step_in
        self.made.constant(weight_name, stored, Quantisation(steps, zeros, axis))
        self.made.constant(
            bias_name,
            np.round(bias / product).astype(np.int32),
            Quantisation(product.astype(np.float32), zeros, 0),
        )
        x = self.entry if x == 'normalised' else x
        self._add(operator.kind, (x, weight_name, bias_name), operator.outputs[0], None, **operator.options)

    def _shift(self, operator: Operator, errors: np.ndarray) -> np.ndarray | float:
        """By how much rounded weights move the mean of each output: section 4.2 of arXiv:1906.04721."""
        source = operator.inputs[0]
        if (padded := self.plan.producer(source)).kind == 'PAD':
            source = padded.inputs[0]
        if source not in self.means:  # the images
            return 0.0
        means = self.means[source]
        if operator.kind == 'DEPTHWISE_CONV_2D':
            return errors.sum((0, 1, 2)) * means
        return errors.sum((1, 2)) @ means

    def _for_bytes(self, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The first convolution for an input of one scale and zero point, whatever each colour's are."""
        about = self.scales['normalised']
        scale, zero_point = float(about.scale[0]), int(about.zero_point[0]) + 128
        mean, std = np.array(self.plan.mean), np.array(self.plan.std)
        shift = ((zero_point - mean) / std * weight).sum((1, 2, 3))
        return weight / (std * scale), bias + shift

    def _add_in_float(self, operator: Operator) -> None:
        """An operator that computes in float32, and whatever it needs for it."""
        for name in operator.inputs:
            self._keep(name)
        inputs = tuple(self._as_float(name) for name in operator.inputs)
        self.made.operators.append(operator._replace(inputs=inputs))
        for name in operator.outputs:
            self.made.tensor(name, self.plan.values[name].shape)

    def _add_other(self, operator: Operator) -> None:
        for name in operator.inputs:
            self._keep(name)
        name = operator.outputs[0]
        if operator.kind in _SAME_SCALE:
            self.scales[name] = self.scales[operator.inputs[0]]
        if operator.inputs[0] in self.images:  # padded
            self.images.add(name)
        first = self.entry if operator.inputs[0] == 'normalised' else operator.inputs[0]
        self._add(operator.kind, (first, *operator.inputs[1:]), name, None, **operator.options)

    def _add(
        self, kind: str, inputs: tuple[str, ...], name: str, scale: Quantisation | None, **options: Any
    ) -> str:
        self.made.operators.append(Operator(kind, inputs, (name,), options))
        return self.made.tensor(name, self.plan.values[name].shape, 'int8', scale or self.scales[name])

    def _is_float(self, name: str) -> bool:
        return name in self.made.values and self.made.values[name].dtype == 'float32'

    def _keep(self, name: str) -> None:
        """Take a constant over as it is."""
        value = self.plan.values[name]
        if value.data is not None:
            self.made.values[name] = value

    def _as_float(self, name: str) -> str:
        value = self.made.values[name]
        if value.dtype != 'int8':
            return name
        if name not in self.floats:
            self.floats[name] = self.made.add('DEQUANTIZE', [name], f'{name}/float32')
        return self.floats[name]


def scale_of(low: float, high: float) -> Quantisation:
    """Of 256 steps from ``low`` to ``high``, 0 among them."""
    low, high = min(low, 0.0), max(high, 0.0)
    step = max(high - low, 1e-6) / 255
    return Quantisation.of(step, int(np.clip(np.round(-128 - low / step), -128, 127)))
