"""A network as tensors, and operators in the order in which they run.

Tensors are laid out and operators are named as in LiteRT (TensorFlow Lite); other formats are written from
the same plan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from mbv1_backbone.common.errors import InputError

__all__ = [
    'CONVOLUTIONS',
    'POST_PROCESS',
    'Candidates',
    'Operator',
    'Plan',
    'Quantisation',
    'Target',
    'Value',
    'in_half',
]

CONVOLUTIONS = ('CONV_2D', 'DEPTHWISE_CONV_2D')
POST_PROCESS = 'TFLite_Detection_PostProcess'  # the one operator that is not built in


class Quantisation(NamedTuple):
    """``scale * (stored - zero_point)`` is what a tensor means.

    Attributes:
        scale: float32 (1,), or one for each place along ``axis``.
        zero_point: int64, as many.
        axis: Of the tensor.
    """

    scale: np.ndarray
    zero_point: np.ndarray
    axis: int = 0

    @classmethod
    def of(cls, scale: float, zero_point: int) -> Quantisation:
        """Of a whole tensor."""
        return cls(np.array([scale], np.float32), np.array([zero_point], np.int64))


@dataclass(frozen=True)
class Value:
    """A tensor.

    Attributes:
        name: Different from all others.
        shape: With the batch, which is 1.
        dtype: ``float32``, ``float16``, ``int8``, ``uint8`` or ``int32``.
        data: Of a constant; None of what is computed.
        quantisation: Of bytes and of biases.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = 'float32'
    data: np.ndarray | None = None
    quantisation: Quantisation | None = None


class Operator(NamedTuple):
    """One step.

    Attributes:
        kind: A name of ``BuiltinOperator``, or of the target's own operator for detections.
        inputs: Names of tensors.
        outputs: Names of tensors.
        options: As the schema names them.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    options: dict[str, Any]


@dataclass
class Plan:
    """A network, in the order in which it runs.

    Attributes:
        format: That it is made for, as messages name it.
        values: Tensors by name.
        operators: In order.
        outputs: Names of its predictions.
        mean: Of R, G, B in 0..255, which the network wants subtracted from ``normalised``.
        std: Of R, G, B in 0..255, which it wants divided by.
        norms: Epsilon of each batch norm that is folded into a convolution, by the norm's name: its bias is
            the tensor ``NAME.bias``.
    """

    format: str
    values: dict[str, Value] = field(default_factory=dict)
    operators: list[Operator] = field(default_factory=list)
    outputs: tuple[str, ...] = ()
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    norms: dict[str, float] = field(default_factory=dict)

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str = 'float32',
        quantisation: Quantisation | None = None,
    ) -> str:
        """Add a tensor that is computed, and give its name.

        Args:
            name: Different from all others.
            shape: With the batch.
            dtype: As ``Value`` has it.
            quantisation: Of bytes.
        """
        self.values[name] = Value(name, tuple(map(int, shape)), dtype, None, quantisation)
        return name

    def constant(self, name: str, data: np.ndarray, quantisation: Quantisation | None = None) -> str:
        """Add a constant, and give its name.

        Args:
            name: Different from all others.
            data: Its values, as they are stored.
            quantisation: Of bytes and of biases.

        Raises:
            InputError: If a value is not finite.
        """
        stored = np.ascontiguousarray(data)
        if stored.dtype.kind == 'f' and not np.isfinite(stored).all():
            raise InputError(f'{name}: {self.format} files hold finite numbers, and some of these are not')
        self.values[name] = Value(name, stored.shape, str(stored.dtype), stored, quantisation)
        return name

    def add(
        self, kind: str, inputs: Sequence[str], name: str, shape: Sequence[int] | None = None, **options: Any
    ) -> str:
        """Add an operator with one output in float32, and give the output's name.

        Args:
            kind: Of the operator.
            inputs: Names of tensors.
            name: Of the output.
            shape: Of the output; by default the first input's.
            options: Of the operator.
        """
        self.operators.append(Operator(kind, tuple(inputs), (name,), options))
        return self.tensor(name, self.values[inputs[0]].shape if shape is None else shape)

    def producer(self, name: str) -> Operator:
        """The operator that computes a tensor."""
        return next(operator for operator in self.operators if name in operator.outputs)


@dataclass(frozen=True)
class Candidates:
    """What an SSD says of every place where it has anchors.

    Attributes:
        encoded: Name of the boxes, (1, A, 4), relative to the anchors, in the target's ``box_order``.
        scores: Name of the scores, (1, A, classes), or (1, A, 1 + classes) with the background's first.
        anchors: Centre x, y, width and height as shares of the image, float64 (A, 4).
        stds: By which the network divides shifts and zooms: x, y, w, h.
        classes: How many, without the background.
        min_score: Of a detection.
        iou_threshold: Above which the lower score of two boxes of a class goes.
        count: Detections of an image, at most.
    """

    encoded: str
    scores: str
    anchors: np.ndarray
    stds: tuple[float, ...]
    classes: int
    min_score: float
    iou_threshold: float
    count: int


def in_half(name: str, values: np.ndarray) -> np.ndarray:
    """Values in float16.

    Args:
        name: Of the tensor, for the message.
        values: In float32.

    Raises:
        InputError: If one is too large.
    """
    greatest, most = float(np.abs(values).max(initial=0)), float(np.finfo(np.float16).max)
    if greatest > most:
        raise InputError(f'{name}: fp16 holds values up to {most:g}, got {greatest:g}; export in fp32')
    return values.astype(np.float16)


class Target(NamedTuple):
    """A format that plans are made for.

    Attributes:
        name: In messages.
        box_order: Places of the values of an encoded box in x, y, w, h.
        background: Whether the background's scores stay, where a network has them.
        add_detections: Adds what makes detections of candidates, and gives the names of the outputs.
    """

    name: str
    box_order: tuple[int, int, int, int]
    background: bool
    add_detections: Callable[[Plan, Candidates], tuple[str, ...]]
