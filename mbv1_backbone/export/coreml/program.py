"""A plan as a program in Core ML's language, MIL.

Operators: https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mbv1_backbone.export.coreml.detections import DECODED_BOXES
from mbv1_backbone.export.plans.plan import CONVOLUTIONS, Operator, Plan
from mbv1_backbone.models.layers import same_padding

__all__ = ['add_program']

_MAX_ZOOM = float(np.log(1000 / 16))  # mmdet's; beyond it float16 would overflow
_SMALL = 1e-4  # divided by in place of less: the least that float16 has in full is 6e-5


def add_program(plan: Plan, builder: Any, image: Any, names: Mapping[str, str]) -> tuple[Any, ...]:
    """Add a plan's operators to the program that is being built.

    Args:
        plan: In float32.
        builder: ``coremltools.converters.mil.Builder``, within a program.
        image: The program's input: RGB, 0 to 255, (1, 3, height, width).
        names: Of the outputs, by the plan's.

    Returns:
        The outputs, in the order of ``names``.
    """
    return _Writer(plan, builder, names).run(image)


class _Writer:
    """One plan, operator by operator; maps have their channels before height and width."""

    def __init__(self, plan: Plan, builder: Any, names: Mapping[str, str]) -> None:
        self.plan, self.mb, self.names = plan, builder, names
        self.made: dict[str, Any] = {}
        self.borders: dict[str, Sequence[Sequence[int]]] = {}  # of padded maps, which convolutions pad

    def run(self, image: Any) -> tuple[Any, ...]:
        """Write it."""
        start = 1 + [operator.outputs[0] for operator in self.plan.operators].index('normalised')
        self._add_images(image, self.plan.operators[:start])
        for operator in self.plan.operators[start:]:
            self._add(operator)
        return tuple(self.made[name] for name in self.names)

    def _add_images(self, image: Any, operators: Sequence[Operator]) -> None:
        """From an image's pixels to what the first convolution wants."""
        x = image
        for operator in operators:
            if operator.kind == 'SLICE':
                begin, extent = (self._constant(name) for name in operator.inputs[1:])
                corner, sides = (0, 0, *begin[1:3].tolist()), (1, 3, *extent[1:3].tolist())
                x = self.mb.slice_by_size(x=x, begin=corner, size=sides, name='window')
            elif operator.kind == 'CONV_2D':
                weight, bias = (self._constant(name) for name in operator.inputs[1:])
                x = self.mb.conv(x=x, weight=weight.transpose(0, 3, 1, 2), bias=bias, name='luma')
            elif operator.kind == 'ROUND':
                x = self.mb.round(x=x, name='gray')
        mean, std = (
            np.array(each, np.float32).reshape(1, 3, 1, 1) for each in (self.plan.mean, self.plan.std)
        )
        x = self.mb.sub(x=x, y=mean, name='centred')
        self.made['normalised'] = self.mb.mul(x=x, y=1 / std, name='normalised')

    def _add(self, operator: Operator) -> None:
        kind, name = operator.kind, operator.outputs[0]
        if kind in CONVOLUTIONS:
            self.made[name] = self._convolution(operator)
        elif kind == 'PAD':
            self.made[name] = self.made[operator.inputs[0]]
            self.borders[name] = self._constant(operator.inputs[1])[1:3].tolist()
        else:
            write = {
                'CONCATENATION': self._joined,
                'L2_NORMALIZATION': self._of_length_one,
                'LEAKY_RELU': self._leaky,
                'LOGISTIC': self._sigmoid,
                'MEAN': self._pooled,
                'RESHAPE': self._reshaped,
                'SOFTMAX': self._softmax,
                DECODED_BOXES: self._decoded,
            }[kind]
            self.made[name] = write(operator, self.made[operator.inputs[0]], self._named(name))

    def _named(self, name: str) -> str:
        return self.names.get(name, name.removesuffix('/output'))

    def _constant(self, name: str) -> np.ndarray:
        data = self.plan.values[name].data
        assert data is not None  # a constant
        return data

    def _convolution(self, operator: Operator) -> Any:
        x, weight_name, bias_name = operator.inputs
        weight, bias = self._constant(weight_name), self._constant(bias_name)
        depthwise = operator.kind == 'DEPTHWISE_CONV_2D'
        down, across = operator.options['strideH'], operator.options['strideW']
        name, fused = operator.outputs[0], operator.options['fusedActivationFunction']
        made = self.mb.conv(
            x=self.made[x],
            weight=np.ascontiguousarray(weight.transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))),
            bias=bias,
            strides=(down, across),
            pad_type='custom',
            pad=self._padding(operator, weight.shape[1:3]),
            groups=len(bias) if depthwise else 1,
            name=name.removesuffix('/output') if fused else self._named(name),
        )
        if not fused:
            return made
        activation = {1: self.mb.relu, 3: self.mb.relu6}[fused]
        return activation(x=made, name=self.names.get(name, name.removesuffix('output') + 'activation'))

    def _padding(self, operator: Operator, kernel: Sequence[int]) -> list[int]:
        """Above, below, left and right."""
        x = operator.inputs[0]
        if x in self.borders:
            return [int(side) for border in self.borders[x] for side in border]
        if operator.options['padding']:  # VALID
            return [0] * 4
        sides = self.plan.values[x].shape[1:3]
        strides = (operator.options['strideH'], operator.options['strideW'])
        return [side for each in zip(sides, kernel, strides, strict=True) for side in same_padding(*each)]

    def _joined(self, operator: Operator, _: Any, name: str) -> Any:
        parts = [self.made[each] for each in operator.inputs]
        return self.mb.concat(values=parts, axis=operator.options['axis'], name=name)

    def _of_length_one(self, _: Operator, x: Any, name: str) -> Any:
        """Divided by the greatest value first: in float16 squares of features would overflow."""
        greatest = self.mb.reduce_max(x=self.mb.abs(x=x), axes=[1], keep_dims=True)
        scaled = self.mb.real_div(x=x, y=self.mb.maximum(x=greatest, y=np.float32(_SMALL)))
        length = self.mb.reduce_l2_norm(x=scaled, axes=[1], keep_dims=True)
        return self.mb.real_div(x=scaled, y=self.mb.maximum(x=length, y=np.float32(_SMALL)), name=name)

    def _leaky(self, operator: Operator, x: Any, name: str) -> Any:
        return self.mb.leaky_relu(x=x, alpha=np.float32(operator.options['alpha']), name=name)

    def _sigmoid(self, _: Operator, x: Any, name: str) -> Any:
        return self.mb.sigmoid(x=x, name=name)

    def _pooled(self, _: Operator, x: Any, name: str) -> Any:
        return self.mb.reduce_mean(x=x, axes=[2, 3], keep_dims=True, name=name)

    def _reshaped(self, operator: Operator, x: Any, name: str) -> Any:
        """Of a predictor's map, pixel by pixel."""
        shape = self.plan.values[operator.outputs[0]].shape
        if len(shape) == 3:
            x = self.mb.transpose(x=x, perm=[0, 2, 3, 1])
        return self.mb.reshape(x=x, shape=shape, name=name)

    def _softmax(self, _: Operator, x: Any, name: str) -> Any:
        return self.mb.softmax(x=x, axis=1, name=name)

    def _decoded(self, operator: Operator, x: Any, name: str) -> Any:
        """As mmdet's ``delta2bbox``: centres are shifted by shares of an anchor, sides are zoomed."""
        anchors, stds = (
            self._constant(operator.inputs[1])[None],
            np.array(operator.options['stds'], np.float32),
        )
        count = anchors.shape[1]
        shift = self.mb.slice_by_size(x=x, begin=[0, 0, 0], size=[1, count, 2], name='shift')
        zoom = self.mb.slice_by_size(x=x, begin=[0, 0, 2], size=[1, count, 2], name='zoom')
        shift = self.mb.mul(x=shift, y=stds[:2] * anchors[..., 2:])
        centres = self.mb.add(x=shift, y=anchors[..., :2], name='centres')
        zoom = self.mb.clip(x=self.mb.mul(x=zoom, y=stds[2:]), alpha=-_MAX_ZOOM, beta=_MAX_ZOOM)
        sides = self.mb.mul(x=self.mb.exp(x=zoom), y=anchors[..., 2:], name='sides')
        return self.mb.concat(values=[centres, sides], axis=2, name=name)
