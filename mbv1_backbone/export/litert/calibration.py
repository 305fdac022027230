"""What a network's tensors hold on images, by the runtime itself on its float32 file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from mbv1_backbone.common.cpu import cores
from mbv1_backbone.export.litert.flatbuffer import as_bytes
from mbv1_backbone.export.litert.int8 import Statistics, measured
from mbv1_backbone.export.plans.plan import Plan

__all__ = ['statistics_on']


def statistics_on(plan: Plan, images: Sequence[np.ndarray]) -> Statistics:
    """Measure a network on images.

    Args:
        plan: In float32.
        images: uint8 (H, W, 3) of the input's size, as the network will see them.

    Returns:
        Of each tensor that is stored with a scale of its own the least and the greatest value, and the mean
        of each channel. Ranges of least squared error, which cut values off, were tried and lose more: ReLU6
        has cut off already, and what is cut off logits is of the surest classes.
    """
    interpreter = Interpreter(
        model_content=as_bytes(plan, '', {}),
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        num_threads=cores(),
    )
    interpreter.allocate_tensors()
    [entry] = interpreter.get_input_details()
    places = {details['name']: details['index'] for details in interpreter.get_tensor_details()}
    seen = {name: _Seen() for name in measured(plan)}
    for image in images:
        interpreter.set_tensor(entry['index'], image[None])
        interpreter.invoke()
        for name, values in seen.items():
            values.add(interpreter.get_tensor(places[name]))
    return Statistics(
        ranges={name: (values.low, values.high) for name, values in seen.items()},
        means={name: values.total / len(images) for name, values in seen.items()},
    )


class _Seen:
    """What was seen of a tensor."""

    def __init__(self) -> None:
        self.low = self.high = 0.0  # 0 is always among the values
        self.total: np.ndarray = np.zeros(1)

    def add(self, values: np.ndarray) -> None:
        """Of one image, (1, ..., channels)."""
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        self.total = self.total + values.reshape(-1, values.shape[-1]).mean(0, dtype=np.float64)
