"""What lies between two convolutions of a frozen graph: batch norm, activation, and before logits a mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.weights.rules import NORM
from mbv1_backbone.weights.tf_graph import TfGraph, TfNode

__all__ = ['ACTIVATIONS', 'ADDITIONS', 'layer_behind', 'norm_epsilon', 'pooled']

ACTIVATIONS = ('Relu', 'Relu6')
ADDITIONS = ('Add', 'AddV2')
_FUSED = 'FusedBatchNorm'
_DEFAULT_EPSILON = 1e-4  # TensorFlow's of a fused batch norm, which a file may leave out
_LARGEST_EPSILON = 1.0


def norm_epsilon(node: TfNode, subject: str) -> float | None:
    """The epsilon of a batch norm, which is one operation or several; None of another node.

    Args:
        node: Of the graph.
        subject: The source, for errors.

    Raises:
        InputError: If it is not one number above 0, up to 1.
    """
    if node.op.startswith(_FUSED):
        found = np.asarray(node.attributes.get('epsilon', _DEFAULT_EPSILON))
    elif node.name.endswith('/BatchNorm/batchnorm/add/y') and node.value is not None:
        found = node.value
    else:
        return None
    if found.size != 1 or not 0 < float(found.reshape(())) <= _LARGEST_EPSILON:
        values = np.array2string(found.reshape(-1)[:4])
        raise InputError(
            f'{subject}: {node.name}: epsilon must be one number above 0, got {values} {found.shape}'
        )
    return float(found.reshape(()))


def layer_behind(graph: TfGraph, activation: TfNode, places: Mapping[str, str], subject: str) -> str:
    """The weights of the layer that ends in an activation: convolution, its own batch norm, activation.

    Args:
        graph: The graph.
        activation: A node of ``ACTIVATIONS``.
        places: Names of convolutions -> names of their weights.
        subject: The source, for errors.

    Raises:
        InputError: If there is something else before it, or a batch norm's parts have changed places.
    """
    norm = graph.taken(activation, 0, subject)
    if norm.op.startswith(_FUSED):
        convolution, *parts = (graph.taken(norm, place, subject) for place in range(5))
        if norm.attributes.get('is_training') or norm.attributes.get('data_format', 'NHWC') != 'NHWC':
            raise InputError(f'{subject}: {norm.name} must have is_training=false and data_format NHWC')
    elif norm.op in ADDITIONS:
        convolution, *parts = _Norm(graph, subject).operands(norm)
    else:
        raise InputError(f'{subject}: {activation.name} takes {norm.op} {norm.name}, must take a batch norm')
    weights = places.get(convolution.name)
    if weights is None:
        raise InputError(
            f'{subject}: the batch norm {norm.name} takes {convolution.op} {convolution.name}, must take a '
            'convolution of MobileNetV1'
        )
    layer = weights.rpartition('/')[0]
    for part, found in zip(NORM, parts, strict=True):
        if found.name != (wanted := f'{layer}/BatchNorm/{part}'):
            raise InputError(f'{subject}: {norm.name} takes {found.name} as {part}, must take {wanted}')
    return weights


class _Norm:
    """Batch norm in several operations: x * f + (beta - mean * f), f = rsqrt(variance + epsilon) * gamma."""

    def __init__(self, graph: TfGraph, subject: str) -> None:
        self.graph = graph
        self.subject = subject

    def operands(self, last: TfNode) -> tuple[TfNode, ...]:
        """x, gamma, beta, mean and variance, by the addition that ends it."""
        scaled, shift = self._pair(last, ADDITIONS, lambda node: node.op == 'Sub')
        beta, moved = (self.graph.taken(shift, place, self.subject) for place in (0, 1))
        mean, factor = self._pair(moved, ('Mul',), lambda node: node.op == 'Mul')
        x, _ = self._pair(scaled, ('Mul',), lambda node: node is factor)
        gamma, root = self._pair(factor, ('Mul',), lambda node: node.op == 'Rsqrt')
        total = self.graph.taken(root, 0, self.subject)
        variance, _ = self._pair(total, ADDITIONS, lambda node: norm_epsilon(node, self.subject) is not None)
        return x, gamma, beta, mean, variance

    def _pair(
        self, node: TfNode, ops: tuple[str, ...], second: Callable[[TfNode], bool]
    ) -> tuple[TfNode, TfNode]:
        """Both operands, in whichever order, the one that is known by ``second`` last."""
        if node.op in ops and len(node.inputs) == 2:
            one, other = (self.graph.taken(node, place, self.subject) for place in (0, 1))
            if second(other):
                return one, other
            if second(one):
                return other, one
        raise InputError(
            f'{self.subject}: {node.op} {node.name} is not where batch norm has it: x * f + (beta - '
            'moving_mean * f) with f = rsqrt(moving_variance + epsilon) * gamma'
        )


def pooled(graph: TfGraph, node: TfNode, subject: str) -> tuple[TfNode, int | None]:
    """The mean over the map that the convolution of logits takes, and the side of that map.

    Args:
        graph: The graph.
        node: The convolution.
        subject: The source, for errors.

    Returns:
        The operation, and the side of its square; None where it is the whole map of any size.

    Raises:
        InputError: If there is another operation, or a mean of something else.
    """
    found = graph.taken(node, 0, subject)
    for _ in range(2):  # shapes alone
        if found.op in ('Reshape', 'Squeeze'):
            found = graph.taken(found, 0, subject)
    if found.op == 'Mean':
        axes = graph.taken(found, 1, subject).value
        if axes is not None and sorted(axes.reshape(-1).tolist()) == [1, 2]:
            return found, None
        raise InputError(f'{subject}: Mean {found.name} must be over height and width, axes 1 and 2')
    if found.op != 'AvgPool':
        raise InputError(
            f'{subject}: {node.name} takes {found.op} {found.name}, must take a mean over the map'
        )
    sides = tuple(found.attributes.get('ksize') or ())
    layout = (found.attributes.get('padding', 'VALID'), found.attributes.get('data_format', 'NHWC'))
    if len(sides) != 4 or sides != (1, sides[1], sides[1], 1) or layout != ('VALID', 'NHWC'):
        raise InputError(
            f'{subject}: {found.name} has ksize, padding and data_format {(sides, *layout)}, must average '
            'the map without padding'
        )
    return found, int(sides[1])
