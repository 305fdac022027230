"""A network as LiteRT runs it: tensors, and operators in the order in which they run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

__all__ = ['CONVOLUTIONS', 'POST_PROCESS', 'Operator', 'Plan', 'Quantisation', 'Value']

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
        kind: A name of ``BuiltinOperator``, or ``POST_PROCESS``.
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
        values: Tensors by name.
        operators: In order.
        outputs: Names of its predictions.
        mean: Of R, G, B in 0..255, which the network wants subtracted from ``normalised``.
        std: Of R, G, B in 0..255, which it wants divided by.
        norms: Epsilon of each batch norm that is folded into a convolution, by the norm's name: its bias is
            the tensor ``NAME.bias``.
    """

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
        """
        stored = np.ascontiguousarray(data)
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
