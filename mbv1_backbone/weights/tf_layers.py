"""Whether the operations of a frozen graph are MobileNetV1's: each weight and each layer in its place."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import groupby

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.models.mobilenet_v1 import TABLE
from mbv1_backbone.weights.rules import NORM
from mbv1_backbone.weights.tf_graph import TfGraph, TfNode

__all__ = ['check_layers', 'norm_epsilon']

_OURS = re.compile(r'(?:FeatureExtractor/)?MobilenetV1/.*|BoxPredictor_\d+/.*')
_ROW = re.compile(r'(?:FeatureExtractor/)?MobilenetV1/Conv2d_(\d+)(?:_(depthwise|pointwise))?/[a-z_]*weights')
_EXTRA = re.compile(r'FeatureExtractor/MobilenetV1/Conv2d_13_pointwise_([12])_Conv2d_([2-5])_[^/]*/weights')
_PREDICTOR = re.compile(r'BoxPredictor_(\d)/(?:BoxEncoding|Class)Predictor/weights')
_LOGITS = re.compile(r'MobilenetV1/Logits/Conv2d_1c_1x1/weights')
_CONVOLUTIONS = ('Conv2D', 'DepthwiseConv2dNative')
# What may lie between two convolutions, batch norm in one operation or in several; before logits a mean.
_ACTIVATIONS = ('Relu', 'Relu6')
_NORMS = ('Rsqrt', 'FusedBatchNorm', 'FusedBatchNormV2', 'FusedBatchNormV3')
_BETWEEN = {'Identity', 'Add', 'AddV2', 'Sub', 'Mul', 'StopGradient', *_ACTIVATIONS, *_NORMS}
_POOLING = {'AvgPool', 'Mean', 'Reshape', 'Squeeze'}
_DEFAULT_EPSILON = 1e-4  # TensorFlow's of a fused batch norm, which a file may leave out
_LARGEST_EPSILON = 1.0


def check_layers(graph: TfGraph, tensors: Mapping[str, np.ndarray], subject: str) -> None:
    """Check that every weight is used once, by its own layer, and that layers are in their order.

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
    for name, user in layers.items():
        _check_before(graph, name, user, places, subject)


def norm_epsilon(node: TfNode, subject: str) -> float | None:
    """The epsilon of a batch norm, which is one operation or several; None of another node.

    Args:
        node: Of the graph.
        subject: The source, for errors.

    Raises:
        InputError: If it is not one number above 0, up to 1.
    """
    if node.op.startswith('FusedBatchNorm'):
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
    """Refuse a weight that another layer uses, or a batch norm whose parts have changed places."""
    layer = re.sub(r'/(?:BatchNorm/)?[^/]+$', '', name)
    operation = '/'.join(part for part, _ in groupby(user.name.split('/')))  # slim repeats a scope
    if not operation.startswith(f'{layer}/'):
        raise InputError(f'{subject}: {name} is used by {user.name}, an operation of another layer')
    if user.op.startswith('FusedBatchNorm'):
        parts = [graph.source(part).rpartition('/')[2] for part in user.inputs[1:]]
        if parts != [*NORM]:
            raise InputError(f'{subject}: {user.name} takes {", ".join(parts)}, must be {", ".join(NORM)}')


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


def _check_before(graph: TfGraph, name: str, node: TfNode, places: Mapping[str, str], subject: str) -> None:
    """Check what a convolution is fed: the one before it, normalised and activated, and nothing else."""
    wanted = _before(name)
    if wanted is None:
        return
    allowed = _BETWEEN | _POOLING if _LOGITS.fullmatch(name) else _BETWEEN
    sources, between = set[str](), list[str]()
    for found in _upstream(graph, node.inputs[0]):
        if found.op in _CONVOLUTIONS:
            sources.add(places.get(found.name, found.name))
        elif found.op not in allowed:
            raise InputError(
                f'{subject}: {found.op} {found.name} before {node.name}, MobileNetV1 has none there'
            )
        else:
            between.append(found.op)
    if len(sources) != 1 or not wanted.fullmatch(next(iter(sources))):
        names = ', '.join(sorted(sources)) or 'no convolution'
        raise InputError(f'{subject}: {node.name} follows {names}, which is not the layer before it')
    for what, ops in (('activation', _ACTIVATIONS), ('batch norm', _NORMS)):
        if (count := sum(op in ops for op in between)) != 1:
            raise InputError(f'{subject}: before {node.name} is not one {what}, but {count}')
    last = next(op for op in between if op not in {'Identity', 'StopGradient', *_POOLING})
    if last not in _ACTIVATIONS:
        raise InputError(f'{subject}: {node.name} follows {last}, not an activation')


def _upstream(graph: TfGraph, name: str) -> Iterator[TfNode]:
    """Operations that a value comes from, each once, up to convolutions; without constants."""
    pending, known = [name], set[str]()
    while pending:
        name = pending.pop()
        node = graph.nodes.get(name)
        if node is None or name in known or node.op == 'Const':
            continue
        known.add(name)
        yield node
        if node.op not in _CONVOLUTIONS:
            pending += node.inputs


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
