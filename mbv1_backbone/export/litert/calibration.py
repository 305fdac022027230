"""What a network's tensors hold on images, by the runtime itself on its float32 file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from mbv1_backbone.export.litert.flatbuffer import as_bytes
from mbv1_backbone.export.litert.int8 import Statistics, measured
from mbv1_backbone.export.litert.plan import Plan

__all__ = ['statistics_on']

_SAMPLES = 1024  # values of a tensor and an image that the range is chosen by
_SHARES = np.linspace(0.3, 1.0, 29)  # of the range that was seen, which are tried


def statistics_on(plan: Plan, images: Sequence[np.ndarray]) -> Statistics:
    """Measure a network on images.

    Args:
        plan: In float32.
        images: uint8 (H, W, 3) of the input's size, as the network will see them.

    Returns:
        Of each tensor that is stored with a scale of its own, the range whose rounding to 256 steps loses
        least, by the mean squared error of what is made of it; and the mean of each channel.
    """
    interpreter = Interpreter(
        model_content=as_bytes(plan, '', {}),
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
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
    slopes = {o.inputs[0]: o.options['alpha'] for o in plan.operators if o.kind == 'LEAKY_RELU'}
    return Statistics(
        ranges={name: values.best_range(slopes.get(name, 1.0)) for name, values in seen.items()},
        means={name: values.total / len(images) for name, values in seen.items()},
    )


class _Seen:
    """What was seen of a tensor."""

    def __init__(self) -> None:
        self.low = self.high = 0.0  # 0 is always among the values
        self.samples: list[np.ndarray] = []
        self.total: np.ndarray = np.zeros(1)
        self._generator = np.random.default_rng(0)

    def add(self, values: np.ndarray) -> None:
        """Of one image, (1, ..., channels)."""
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        self.total = self.total + values.reshape(-1, values.shape[-1]).mean(0, dtype=np.float64)
        flat = values.ravel()
        self.samples.append(flat[self._generator.integers(0, len(flat), min(_SAMPLES, len(flat)))])

    def best_range(self, slope: float) -> tuple[float, float]:
        """The one that loses least within what was seen; errors below 0 count ``slope`` times as much."""
        values = np.concatenate(self.samples).astype(np.float64)
        weights = np.where(values < 0, slope, 1.0)

        def error(low: float, high: float) -> float:
            step = max(high - low, 1e-9) / 255
            rounded = np.round((np.clip(values, low, high) - low) / step) * step + low
            return float(np.square((rounded - values) * weights).mean())

        high = min(self.high * _SHARES[::-1], key=lambda high: error(self.low, high))
        lows = self.low * (_SHARES if slope == 1 else np.linspace(0.05, 1, 40))[::-1]
        low = min(lows, key=lambda low: error(low, high)) if self.low < 0 else 0.0
        return float(low), float(high)
