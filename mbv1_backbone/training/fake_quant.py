"""A network that computes as its int8 file for LiteRT: weights and activations are rounded to its steps.

Quantisation-aware training (arXiv:1712.05877, section 3): batch norms are folded into the layers before them
with their running statistics, as the export folds them; rounding lets gradients pass, and what lies beyond a
range gets none. Layers are found by the plan that the file is written from.
"""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from torch import Tensor, nn

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.export.graphs import ClassifierGraph, EmbedderGraph, Graph, Logits, Normalise
from mbv1_backbone.export.litert.detections import LITERT
from mbv1_backbone.export.litert.int8 import LOGIT_RANGE, Statistics, measured, scale_of, sources_of
from mbv1_backbone.export.plans.networks import plan_of
from mbv1_backbone.export.plans.plan import CONVOLUTIONS, Operator, Plan
from mbv1_backbone.face.model import FaceEmbeddingModel

__all__ = ['FakeQuantisation', 'Stage']

_MOMENTUM = 0.01  # of a batch's range in the moving average
_ANY = (-float('inf'), float('inf'))
_LEAST_STEP = 1e-12  # of weights that are all 0


class Stage(enum.Enum):
    """What becomes of ranges."""

    MEASURE = 'taken from what is seen, without rounding'
    LEARN = 'moving averages in training'
    FROZEN = 'kept'


class FakeQuantisation:
    """Makes a model compute as its int8 file; the names of its tensors stay.

    Args:
        model: A classifier of MMPretrain, a face embedder, or an SSD; changed in place.
        size: Height and width of its images, in pixels.

    Raises:
        InputError: If LiteRT has no operator for something in it.
    """

    def __init__(self, model: nn.Module, size: tuple[int, int]) -> None:
        self.model, self.stage = model, Stage.MEASURE
        training = model.training
        plan = plan_of(_graph_of(model, size), size, LITERT)
        model.train(training)
        self._tensors = {name: _Tensor(self) for name in measured(plan)}
        for operator in plan.operators:
            if operator.kind == 'CONCATENATION':
                logits = any(operator.outputs == o.inputs for o in plan.operators if o.kind == 'LOGISTIC')
                shared = _Tensor(self, LOGIT_RANGE if logits else _ANY)
                self._tensors |= dict.fromkeys(sources_of(plan, operator.outputs[0]), shared)
        self._layers: list[_Rounded] = []
        for operator in plan.operators:
            if operator.kind in CONVOLUTIONS and operator.outputs[0] in self._tensors:
                self._attach(plan, operator)

    def learn(self) -> None:
        """End measuring: means are put right, ranges follow moving averages, and all is rounded."""
        for layer in self._layers:
            layer.correct()
        self.stage = Stage.LEARN

    def ranges(self) -> Statistics:
        """Of every tensor the range that it is stored with, as the export takes it."""
        return Statistics({name: (t.low, t.high) for name, t in self._tensors.items()}, {})

    def restore(self, ranges: Statistics, source: str, stage: Stage) -> None:
        """Take ranges over.

        Args:
            ranges: Of every tensor.
            source: Where they come from, for the message.
            stage: What becomes of them.

        Raises:
            InputError: If they are of another network.
        """
        if missing := sorted(set(self._tensors) - set(ranges.ranges)):
            raise InputError(f'{source}: its quantisation is of another network: it has no {missing[0]}')
        for name, tensor in self._tensors.items():
            tensor.low, tensor.high = ranges.ranges[name]
        self.stage = stage

    def _attach(self, plan: Plan, operator: Operator) -> None:
        """Round a layer, and the tensors around it."""
        x, weight, bias = operator.inputs
        [name] = operator.outputs
        layer = self.model.get_submodule(weight.removesuffix('.weight'))
        norm_name = bias.removesuffix('.bias')
        norm = None if norm_name == weight.removesuffix('.weight') else self.model.get_submodule(norm_name)
        activation = _activation_of(self.model.get_submodule(weight.rpartition('.')[0].rpartition('.')[0]))
        leaky = next(
            (o.outputs[0] for o in plan.operators if (o.kind, o.inputs) == ('LEAKY_RELU', (name,))), ''
        )
        fused = bool(operator.options['fusedActivationFunction'])
        before = self._tensors.get(x) if x == 'pooled' else None
        colours = _Colours.of(plan) if _sees_images(plan, x) else None
        after = None if fused else self._tensors[name]
        rounded = _Rounded(self, layer, norm, before, after, colours)
        self._layers.append(rounded)
        layer.forward = rounded
        if norm is not None:
            norm.forward = _as_it_is
        if fused or leaky:
            activation.register_forward_hook(_After(self._tensors[leaky or name]))


class _Tensor:
    """A tensor, or several with one range, that is stored in 256 steps."""

    def __init__(self, owner: FakeQuantisation, limits: tuple[float, float] = _ANY) -> None:
        self.owner, self.limits = owner, limits
        self.low = self.high = 0.0  # 0 is always among the values

    def __call__(self, x: Tensor) -> Tensor:
        """The values, rounded."""
        stage = self.owner.stage
        if stage is Stage.MEASURE or (stage is Stage.LEARN and self.owner.model.training):
            self._observe(x.detach())
        if stage is Stage.MEASURE:
            return x
        scale, zero_point, _ = scale_of(self.low, self.high)
        return torch.fake_quantize_per_tensor_affine(x, float(scale[0]), int(zero_point[0]), -128, 127)

    def _observe(self, x: Tensor) -> None:
        bounds = torch.stack([x.amin(), x.amax()])
        all_reduce(bounds, 'mean')
        low, high = bounds.clamp(*self.limits).tolist()
        low, high = min(low, 0.0), max(high, 0.0)
        if self.owner.stage is Stage.MEASURE:
            self.low, self.high = min(self.low, low), max(self.high, high)
        else:
            self.low += _MOMENTUM * (low - self.low)
            self.high += _MOMENTUM * (high - self.high)


class _After:
    """Rounds what a module gives."""

    def __init__(self, tensor: _Tensor) -> None:
        self.tensor = tensor

    def __call__(self, _module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        return self.tensor(output)


class _Colours(NamedTuple):
    """How the first layer sees R, G, B: it takes bytes, and what pads them is one byte.

    Attributes:
        scale: Its weights are rounded as divided by these.
        border: What that byte is as a normalised value.
    """

    scale: Tensor
    border: Tensor

    @classmethod
    def of(cls, plan: Plan) -> _Colours:
        """As the export has it, with one scale and zero point for all colours."""
        mean, std = torch.tensor(plan.mean), torch.tensor(plan.std)
        return cls(std / std.mean(), (mean.mean().round().clamp(0, 255) - mean) / std)


class _Rounded:
    """A layer with the batch norm after it inside, and with rounded weights, in place of its ``forward``."""

    def __init__(
        self,
        owner: FakeQuantisation,
        layer: Any,
        norm: Any,
        before: _Tensor | None,
        after: _Tensor | None,
        colours: _Colours | None,
    ) -> None:
        self.owner, self.layer, self.norm = owner, layer, norm
        self.before, self.after, self.colours = before, after, colours
        self.errors: list[Tensor] = []  # of the mean of each output, of each batch that is measured

    def __call__(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            x = x.float() if self.before is None else self.before(x.float())
            weight, bias = self._folded()
            if self.owner.stage is Stage.MEASURE:
                y = self._compute(x, weight, bias)
                self.errors.append((self._rounded(x, weight, bias) - y).transpose(0, 1).flatten(1).mean(1))
            else:
                y = self._rounded(x, weight, bias)
            return y if self.after is None else self.after(y)

    def correct(self) -> None:
        """Take out of the bias by how much rounded weights have moved the mean of each output.

        As the export does without fine-tuning: section 4.2 of arXiv:1906.04721. Gradients would take as many
        steps as the rates allow.
        """
        bias = getattr(self.layer if self.norm is None else self.norm, 'bias', None)
        if bias is not None and self.errors:
            with torch.no_grad():
                moved = torch.stack(self.errors).mean(0)
                all_reduce(moved, 'mean')
                bias -= moved
        self.errors = []

    def _rounded(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if self.colours is None:
            return self._compute(x, _rounded_weight(weight), bias)
        scale, border = (values.to(weight).view(1, -1, 1, 1) for values in self.colours)
        weight = _rounded_weight(weight / scale) * scale
        return self._compute(x - border, weight, bias + (weight * border).sum((1, 2, 3)))

    def _compute(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if isinstance(self.layer, nn.Linear):
            return F.linear(x, weight, bias)
        computed: Tensor = self.layer._conv_forward(x, weight, bias)  # noqa: SLF001  # as torch.ao does it
        return computed

    def _folded(self) -> tuple[Tensor, Tensor]:
        weight, bias, norm = self.layer.weight, self.layer.bias, self.norm
        if norm is None:
            return weight, weight.new_zeros(len(weight)) if bias is None else bias
        factor = (norm.running_var + norm.eps).rsqrt()
        if norm.affine:
            factor = factor * norm.weight
        shift = -norm.running_mean * factor
        if bias is not None:
            shift = shift + bias * factor
        if norm.affine:
            shift = shift + norm.bias
        return weight * factor.view(-1, *[1] * (weight.ndim - 1)), shift


def _rounded_weight(weight: Tensor) -> Tensor:
    """Of each output channel 255 steps about 0."""
    steps = (weight.detach().flatten(1).abs().amax(1) / 127).clamp(min=_LEAST_STEP)
    zeros = torch.zeros(len(steps), dtype=torch.int32, device=steps.device)
    return torch.fake_quantize_per_channel_affine(weight, steps, zeros, 0, -127, 127)


def _as_it_is(x: Tensor) -> Tensor:
    """The forward of a batch norm that is in the layer before it."""
    return x


def _activation_of(unit: Any) -> Any:
    """Of our units, and of mmcv's."""
    return getattr(unit, 'act', None) or getattr(unit, 'activate', None)


def _sees_images(plan: Plan, name: str) -> bool:
    """Whether a layer's input is the images, padded or not."""
    if name == 'normalised':
        return True
    operator = plan.producer(name)
    return operator.kind == 'PAD' and operator.inputs[0] == 'normalised'


def _graph_of(model: Any, size: tuple[int, int]) -> Graph:
    """As the network is exported."""
    if isinstance(model, FaceEmbeddingModel):
        return EmbedderGraph(model)
    if hasattr(model, 'bbox_head') or hasattr(model, 'roi_head'):
        from mbv1_backbone.export.detectors import detector_graph_of  # faces do without mmdet

        try:
            return detector_graph_of(model, size)
        except ValueError as error:
            raise InputError(f'{type(model).__name__}: {error}') from error
    return ClassifierGraph(Logits(model), Normalise.of(model))
