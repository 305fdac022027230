"""Whether the operations of a frozen graph are MobileNetV1's: each weight and each layer in its place."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.models.mobilenet_v1 import TABLE
from mbv1_backbone.weights.tf_between import ACTIVATIONS, ADDITIONS, layer_behind, pooled
from mbv1_backbone.weights.tf_graph import TfGraph, TfNode

__all__ = ['Ends', 'check_layers']

_OURS = re.compile(r'(?:FeatureExtractor/)?MobilenetV1/.*|BoxPredictor_\d+/.*')
_ROW = re.compile(r'(?:FeatureExtractor/)?MobilenetV1/Conv2d_(\d+)(?:_(depthwise|pointwise))?/[a-z_]*weights')
_FIRST = re.compile(r'(?:FeatureExtractor/)?MobilenetV1/Conv2d_0/weights')
_EXTRA = re.compile(r'FeatureExtractor/MobilenetV1/Conv2d_13_pointwise_([12])_Conv2d_([2-5])_[^/]*/weights')
_PREDICTOR = re.compile(r'BoxPredictor_(\d)/(?:BoxEncoding|Class)Predictor/weights')
_LOGITS = re.compile(r'MobilenetV1/Logits/Conv2d_1c_1x1/weights')
_CONVOLUTIONS = ('Conv2D', 'DepthwiseConv2dNative')


@dataclass(frozen=True)
class Ends:
    """Where MobileNetV1 begins and ends in a graph.

    Attributes:
        first: The first convolution.
        pooled: Side of the map of which logits take the mean; None where a graph does not say it.
    """

    first: TfNode
    pooled: int | None = None


def check_layers(graph: TfGraph, tensors: Mapping[str, np.ndarray], subject: str) -> Ends:
    """Check that every weight is used once, where MobileNetV1 has it, and that layers are in their order.

    Args:
        graph: The graph.
        tensors: Its weights.
        subject: The source, for errors.

    Raises:
        InputError: If they are not; the message names the first weight or operation.
    """
    users = _users(graph)
    layers: dict[str, TfNode] = {}  # weights -> convolution
    for name, value in tensors.items():
        if not _OURS.fullmatch(name):
            continue
        if value.dtype.kind != 'f':
            raise InputError(f'{subject}: {name} holds {value.dtype}, the weights of MobileNetV1 are floats')
        user = _only_user(name, users[name], subject)
        _check_place(graph, name, user, subject)
        if name.endswith('weights'):
            layers[name] = user
            _check_convolution(name, user, subject)
    places = {user.name: name for name, user in layers.items()}
    if len(places) < len(layers):
        raise InputError(f'{subject}: a convolution takes more weights than its own')
    return Ends(layers[_first(layers)], _check_order(graph, layers, places, subject))


def _first(names: Iterable[str]) -> str:
    """The weights of the first convolution, which the recipe is made of."""
    return next(name for name in names if _FIRST.fullmatch(name))


def _check_order(
    graph: TfGraph, layers: Mapping[str, TfNode], places: Mapping[str, str], subject: str
) -> int | None:
    """Check what each layer follows, and the last ones; the side of the map that logits take the mean of."""
    pool, followed = None, set[str]()
    for name, user in layers.items():
        if (wanted := _before(name)) is not None:
            source = user
            if _LOGITS.fullmatch(name):
                source, pool = pooled(graph, user, subject)
            followed.add(_check_before(graph, source, wanted, places, subject))
    for name in layers:
        if name not in followed and (_ROW.fullmatch(name) or _EXTRA.fullmatch(name)):
            _check_end(graph, name, places, subject)
    return pool


def _users(graph: TfGraph) -> dict[str, list[TfNode]]:
    """Constants -> the operations that take them, an operation as often as it does."""
    users: dict[str, list[TfNode]] = defaultdict(list)
    for node in graph.nodes.values():
        if node.op != 'Identity':
            for name in node.inputs:
                users[graph.source(name)].append(node)
    return users


def _only_user(name: str, users: list[TfNode], subject: str) -> TfNode:
    if len(users) != 1:
        by = f'twice, by {users[0].name} and {users[1].name}' if users else 'by no operation'
        raise InputError(f'{subject}: {name} is used {by}; each weight of MobileNetV1 is used once')
    return users[0]


def _check_place(graph: TfGraph, name: str, user: TfNode, subject: str) -> None:
    """Refuse a weight that another layer uses, and biases that are not added to what it gives."""
    if not _scoped(user).startswith(f'{_layer_of(name)}/'):
        raise InputError(f'{subject}: {name} is used by {user.name}, an operation of another layer')
    if name.endswith('/biases'):
        taken = [graph.taken(user, place, subject).name for place in range(2)]
        weights = name.removesuffix('biases') + 'weights'
        of = [graph.taken(graph.nodes[one], 1, subject).name for one in taken if one != name]
        layout = user.attributes.get('data_format', 'NHWC')
        if user.op not in ('BiasAdd', *ADDITIONS) or of != [weights] or layout != 'NHWC':
            raise InputError(
                f'{subject}: {name} is used by {user.op} {user.name}, must be added to what {weights} give'
            )


def _layer_of(name: str) -> str:
    """The scope of a weight's layer."""
    return re.sub(r'/(?:BatchNorm/)?[^/]+$', '', name)


def _scoped(node: TfNode) -> str:
    """A node's name with each scope once: slim repeats some."""
    return '/'.join(part for part, _ in groupby(node.name.split('/')))


def _check_convolution(name: str, node: TfNode, subject: str) -> None:
    """Refuse another kind, stride, padding, dilation or layout than MobileNetV1's."""
    kind = _CONVOLUTIONS[name.endswith('/depthwise_weights')]
    if node.op != kind or len(node.inputs) != 2:
        raise InputError(f'{subject}: {name} is used by {node.name}, which is {node.op}, not {kind}')
    layout = (node.attributes.get('data_format', 'NHWC'), node.attributes.get('dilations', (1, 1, 1, 1)))
    if layout != ('NHWC', (1, 1, 1, 1)):
        raise InputError(
            f'{subject}: {node.name} has data_format and dilations {layout}, must have NHWC and no dilations'
        )
    stride = _stride(name)
    got = (node.attributes.get('strides'), node.attributes.get('padding'))
    if got != ((1, stride, stride, 1), 'SAME'):
        raise InputError(
            f'{subject}: {node.name} has strides and padding {got}, MobileNetV1 has {(1, stride, stride, 1)} '
            "and 'SAME'"
        )


def _stride(name: str) -> int:
    """Of the convolution with these weights; 0 of a row that MobileNetV1 does not have."""
    if match := _ROW.fullmatch(name):
        row = int(match[1])
        return 1 if match[2] == 'pointwise' else TABLE[row].stride if row < len(TABLE) else 0
    match = _EXTRA.fullmatch(name)
    return int(match[1]) if match else 1


def _check_before(
    graph: TfGraph, node: TfNode, wanted: re.Pattern[str], places: Mapping[str, str], subject: str
) -> str:
    """Check that an operation takes the layer before it, normalised and activated; the weights of that."""
    found = graph.taken(node, 0, subject)
    if found.op not in ACTIVATIONS:
        raise InputError(
            f'{subject}: {node.name} takes {found.op} {found.name}, must take the activation of a layer'
        )
    weights = layer_behind(graph, found, places, subject)
    if not wanted.fullmatch(weights):
        raise InputError(f'{subject}: {node.name} follows {weights}, which is not the layer before it')
    return weights


def _check_end(graph: TfGraph, name: str, places: Mapping[str, str], subject: str) -> None:
    """Check batch norm and activation of a layer that no other follows."""
    scope = f'{_layer_of(name)}/'
    ends = [
        node for node in graph.nodes.values() if node.op in ACTIVATIONS and _scoped(node).startswith(scope)
    ]
    if len(ends) != 1 or layer_behind(graph, ends[0], places, subject) != name:
        raise InputError(f'{subject}: {name} is not followed by one activation, and nor by a layer')


def _before(name: str) -> re.Pattern[str] | None:
    """Weights of the convolution before the one with these; None of the first, and of others' layers."""
    scope, row = r'(?:FeatureExtractor/)?MobilenetV1/Conv2d_', r'_pointwise/weights'
    last = f'{scope}13{row}'
    if match := _ROW.fullmatch(name):
        number, part = int(match[1]), match[2]
        if part == 'pointwise':
            return re.compile(f'{scope}{number}_depthwise/depthwise_weights')
        return {0: None, 1: re.compile(f'{scope}0/weights')}.get(
            number, re.compile(f'{scope}{number - 1}{row}')
        )
    if _LOGITS.fullmatch(name):
        return re.compile(last)
    if match := _EXTRA.fullmatch(name):
        half, number = int(match[1]), int(match[2])
        before = (1, number) if half == 2 else (2, number - 1)
        return re.compile(last if before[1] == 1 else _extra(*before))
    if match := _PREDICTOR.fullmatch(name):
        level = int(match[1])
        return re.compile({0: f'{scope}11{row}', 1: last}.get(level, _extra(2, level)))
    return None


def _extra(half: int, number: int) -> str:
    return rf'FeatureExtractor/MobilenetV1/Conv2d_13_pointwise_{half}_Conv2d_{number}_[^/]*/weights'
