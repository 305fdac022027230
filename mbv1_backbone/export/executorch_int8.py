"""Programs of ``torch.export`` in 8 bits, quantised by torchao as XNNPACK computes them."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

__all__ = ['quantised_program']

_IN_8_BITS = (torch.ops.aten.conv2d.default, torch.ops.aten.linear.default)
_LIMITED = (torch.ops.aten.hardtanh.default, torch.ops.aten.hardtanh_.default)  # ReLU6
_BIAS = 2  # the place of a layer's bias among its arguments
_IMAGES = 16  # that biases are corrected on, all of which are in memory, with what the network makes of them


def quantised_program(
    program: torch.export.ExportedProgram, images: Sequence[np.ndarray]
) -> torch.export.ExportedProgram:
    """A program with its convolutions and linear layers in 8 bits, the rest in float32.

    Weights are symmetric with a scale for each output channel, activations have a scale and a zero point a
    tensor, which torchao chooses by histograms of their values. Biases make up for what rounding does to the
    mean of each output channel, layer by layer: without that the mean
    cosine of the embedder 1.0-160 is .988 in place of .998.

    Args:
        program: For one image; its tensors are not changed.
        images: uint8 (H, W, 3) of its size, as the network will see them.
    """
    steps = importlib.import_module('torchao.quantization.pt2e.quantize_pt2e')
    network = steps.prepare_pt2e(program.module(), _quantizer())
    tensors = [torch.from_numpy(image[None]) for image in images]
    for tensor in tensors:
        network(tensor)
    network = steps.convert_pt2e(network)
    some = tensors[:_IMAGES]
    _correct_biases(network, some, _means(program.module(), some))
    sample = torch.zeros((1, *images[0].shape), dtype=torch.uint8)
    return torch.export.export(network, (sample,), strict=False)


def _quantizer() -> Any:
    """What says which values are rounded."""
    tools: Any = importlib.import_module('executorch.backends.xnnpack.quantizer.xnnpack_quantizer')

    class Quantizer(tools.XNNPACKQuantizer):
        """Takes ReLU6 for what it is, a part of the convolution before it, as XNNPACK does.

        ExecuTorch 1.2 knows ReLU alone, and would round what comes before ReLU6, of a far wider range, too.
        """

        def annotate(self, model: GraphModule) -> GraphModule:
            limited = [(node, node.target) for node in model.graph.nodes if node.target in _LIMITED]
            for node, _ in limited:
                node.target = torch.ops.aten.relu.default
            try:
                return super().annotate(model)
            finally:
                for node, target in limited:
                    node.target = target

    quantizer = Quantizer()
    config = tools.get_symmetric_quantization_config(is_per_channel=True)
    for operator in _IN_8_BITS:
        quantizer.set_operator_type(operator, config)
    return quantizer


def _means(network: GraphModule, images: Sequence[Tensor]) -> list[Tensor]:
    """Of every layer in turn the mean of each output channel."""
    means: list[Tensor] = []

    def note(node: Node, outputs: list[Tensor]) -> list[Tensor]:
        means.append(_mean(outputs))
        return outputs

    _run(network, images, note)
    return means


def _correct_biases(network: GraphModule, images: Sequence[Tensor], means: Sequence[Tensor]) -> None:
    """Change every layer's bias so that its channels have these means, layer by layer.

    A bias that several layers share, as those of a head on several maps do, stays as it is.

    Args:
        network: Whose biases are changed.
        images: uint8 (1, H, W, 3) each.
        means: Of each layer in turn (channels,).
    """
    left = iter(means)
    uses = Counter(_bias_of(node) for node in network.graph.nodes if _has_bias(node))

    def correct(node: Node, outputs: list[Tensor]) -> list[Tensor]:
        shift, name = next(left) - _mean(outputs), _bias_of(node)
        if uses[name] > 1:
            return outputs
        owner, _, last = name.rpartition('.')
        bias = torch.nn.Parameter(attrgetter(name)(network) + shift, requires_grad=False)
        setattr(attrgetter(owner)(network) if owner else network, last, bias)
        return [output + shift.view(-1, 1, 1) if output.ndim == 4 else output + shift for output in outputs]

    _run(network, images, correct)


def _has_bias(node: Node) -> bool:
    """Whether it is a convolution or linear layer with one."""
    return node.target in _IN_8_BITS and len(node.args) > _BIAS and node.args[_BIAS] is not None


def _bias_of(node: Node) -> str:
    """The name of a layer's bias."""
    return str(node.args[_BIAS].target)  # type: ignore[union-attr]


def _mean(outputs: Sequence[Tensor]) -> Tensor:
    """Of each channel, the second axis."""
    return torch.stack([output.transpose(0, 1).flatten(1).mean(1) for output in outputs]).mean(0)


def _run(
    network: GraphModule, images: Sequence[Tensor], at_layer: Callable[[Node, list[Tensor]], list[Tensor]]
) -> None:
    """Compute a network operator by operator, each for all images.

    Args:
        network: Of one input.
        images: uint8 (1, H, W, 3) each.
        at_layer: Is given each convolution and linear layer with a bias, and what it gives for an image, and
            says what is to be taken in place of that.
    """
    held: dict[Node, list[Any]] = {}

    def value_of(place: int) -> Callable[[Node], Any]:
        return lambda node: held[node][place]

    for node in network.graph.nodes:
        if node.op == 'placeholder':
            held[node] = list(images)
        elif node.op == 'get_attr':
            held[node] = [attrgetter(node.target)(network)] * len(images)
        elif node.op == 'call_function':
            held[node] = [
                node.target(*map_arg(node.args, value_of(place)), **map_arg(node.kwargs, value_of(place)))
                for place in range(len(images))
            ]
            if _has_bias(node):
                held[node] = at_layer(node, held[node])
        for used in node.all_input_nodes:  # what nobody else needs
            if all(user in held for user in used.users):
                held[used] = []
