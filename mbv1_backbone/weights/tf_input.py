"""What a frozen graph does with images before its first convolution: mean, deviation and size."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.weights.tf_graph import TfGraph, TfNode

__all__ = ['STRIDE', 'TfInput', 'read_input']

STRIDE = 32  # of the network, in pixels
_FED = ('Placeholder', 'PlaceholderWithDefault')
_MOST = 32  # operations in a row before the first convolution
_ARITHMETIC = {'Mul': 0, 'Add': 1, 'AddV2': 1, 'BiasAdd': 1, 'Sub': 2, 'RealDiv': 3, 'Div': 3}
_WHITE = 255.0
_DARKEST = 2.0  # a mean or a deviation above it is one of pixels in 0..255, not in 0..1
_GATHERED = 'TensorArrayGather'  # ends the loop in which detectors resize image after image
# Operations of that loop: of its counter, and of images one that changes their size.
_LOOP = re.compile(
    'Placeholder(WithDefault)?|Const|Identity|Cast|Enter|Exit|Merge|Switch|NextIteration|LoopCond|Less|'
    r'LogicalAnd|Range|Shape|StridedSlice|Pack|ExpandDims|Squeeze|ResizeBilinear|'
    r'TensorArray(Gather|Scatter|Read|Write|Size)?(V\d)?'
)
_COUNTING = {'Add', 'AddV2'}  # with a whole number: pixels are floats there


@dataclass
class TfInput:
    """How images are fed to the network.

    Attributes:
        size: Side of the square, in pixels, where the graph says it.
        mean: Of R, G, B in 0..255, subtracted.
        std: Of R, G, B in 0..255, divided by.
    """

    size: int | None = None
    mean: tuple[float, ...] = (127.5,) * 3  # slim's, which graphs without arithmetic are fed by
    std: tuple[float, ...] = (127.5,) * 3


@dataclass
class _Line:
    """``images * factor + shift`` of what has been read, from the convolution backwards."""

    factor: np.ndarray = field(default_factory=lambda: np.ones(3))
    shift: np.ndarray = field(default_factory=lambda: np.zeros(3))
    steps: int = 0

    def follow(self, step: int, value: np.ndarray) -> None:
        """Take one operation with a constant into account, by its number in ``_ARITHMETIC``."""
        by = (value, 1.0, 1.0, 1 / value)[step]
        add = (0.0, value, -value, 0.0)[step]
        self.shift = self.shift + self.factor * add
        self.factor = self.factor * by
        self.steps += 1


def read_input(graph: TfGraph, first: TfNode, subject: str) -> TfInput:
    """Read what the first convolution is fed: images, scaled, shifted and resized, and nothing else.

    Args:
        graph: The graph.
        first: The convolution.
        subject: The source, for errors.

    Raises:
        InputError: If something else is done with images, or they are no colour images of a square.
    """
    line, size, cast, dims = _Line(), None, False, 4
    node = graph.taken(first, 0, subject)
    for _ in range(_MOST):
        if node.op in _FED:
            return _found(line, _side(node, dims, size, subject), first, subject)
        if node.op.startswith(_GATHERED):
            return _found(line, size or _resized_in_loop(graph, node, first, subject), first, subject)
        place = 0
        if node.op in _ARITHMETIC and not cast:
            place = _scale(graph, node, line, subject)
        elif node.op == 'ResizeBilinear':
            size = size or _resized_to(graph, node, subject)
        elif node.op == 'ExpandDims' and dims == 4:
            dims = 3
        elif node.op == 'Cast':
            cast = True  # before it are whole numbers
        else:
            raise _stranger(node, first, subject)
        node = graph.taken(node, place, subject)
    raise _stranger(node, first, subject)


def _stranger(node: TfNode, first: TfNode, subject: str) -> InputError:
    return InputError(
        f'{subject}: {node.op} {node.name} before {first.name}; images may be scaled and shifted by '
        'constants and resized there, nothing else'
    )


def _scale(graph: TfGraph, node: TfNode, line: _Line, subject: str) -> int:
    """Take an operation with a constant into account; the place of its other input."""
    if len(node.inputs) != 2:
        raise InputError(f'{subject}: {node.op} {node.name} has {len(node.inputs)} inputs, must have 2')
    step = _ARITHMETIC[node.op]
    for place in (1, 0) if node.op in ('Mul', 'Add', 'AddV2') else (1,):
        value = graph.taken(node, place, subject).value
        if value is None:
            continue
        if value.size not in (1, 3) or (value.size == 3 and value.shape[-1] != 3):
            raise InputError(f'{subject}: {node.name} takes a constant {value.shape}, must be one or three')
        numbers = np.broadcast_to(value.reshape(-1).astype(np.float64), 3)
        if not np.isfinite(numbers).all() or (step in (0, 3) and not (numbers > 0).all()):
            raise InputError(f'{subject}: {node.op} {node.name} with {numbers.tolist()}')
        line.follow(step, numbers)
        return 1 - place
    raise InputError(f'{subject}: {node.op} {node.name} has no constant that is taken from images')


def _found(line: _Line, size: int | None, first: TfNode, subject: str) -> TfInput:
    if not line.steps:
        return TfInput(size)
    mean, std = -line.shift / line.factor, 1 / line.factor
    if ((mean > 0) & (mean < 1) & (std < 1)).all():  # of images in 0..1
        mean, std = mean * _WHITE, std * _WHITE
    elif not ((mean >= 0) & (mean <= _WHITE) & (std >= 0.5) & (np.maximum(mean, std) > _DARKEST)).all():
        raise InputError(
            f'{subject}: {first.name} is fed (images - {_numbers(mean)}) / {_numbers(std)}, which fits '
            'neither pixels in 0..255 nor in 0..1'
        )
    return TfInput(size, tuple(_numbers(mean)), tuple(_numbers(std)))


def _numbers(values: np.ndarray) -> list[float]:
    return [round(float(value), 3) + 0.0 for value in values]


def _side(node: TfNode, dims: int, resized: int | None, subject: str) -> int | None:
    """Side of the square that a placeholder takes; None where it does not say it.

    Raises:
        InputError: If it takes no colour images, no square, or a smaller one than the network's stride.
    """
    shape: tuple[int, ...] = tuple(node.attributes.get('shape') or ())
    if not shape:  # not known, or left out
        return resized
    if len(shape) != dims or shape[-1] not in (-1, 3):
        wanted = 'images, height, width, 3' if dims == 4 else 'height, width, 3'
        raise InputError(f'{subject}: {node.name} takes {shape}, must take ({wanted})')
    height, width = shape[-3:-1]
    if resized is not None or min(height, width) < 0:
        return resized
    return _square(height, width, f'{node.name} takes images of', subject)


def _square(height: int, width: int, what: str, subject: str) -> int:
    if height != width or height < STRIDE:
        raise InputError(f'{subject}: {what} {height} x {width}, must be a square of {STRIDE} pixels or more')
    return height


def _resized_to(graph: TfGraph, node: TfNode, subject: str) -> int:
    """Side of the square that images are resized to."""
    value = graph.taken(node, 1, subject).value
    if value is None or value.size != 2 or value.dtype.kind != 'i':
        raise InputError(f'{subject}: {node.name} must resize to a constant height and width')
    height, width = value.reshape(-1).tolist()
    return _square(height, width, f'{node.name} resizes to', subject)


def _resized_in_loop(graph: TfGraph, end: TfNode, first: TfNode, subject: str) -> int | None:
    """Side that images are resized to, one after the other, by a loop which does nothing else with them."""
    pending, known, sizes = [end.name], set[str](), set[int]()
    while pending:
        node = graph.nodes.get(name := pending.pop())
        if node is None:
            raise InputError(f'{subject}: {name} is taken before {first.name}, and is not in the graph')
        constants = [graph.nodes[name].value for name in node.inputs if name in graph.nodes]
        counts = any(value is not None and value.dtype.kind == 'i' for value in constants)
        if not _LOOP.fullmatch(node.op) and not (node.op in _COUNTING and counts):
            raise _stranger(node, first, subject)
        if node.op in _FED:
            _side(node, 4, STRIDE, subject)  # that it takes colour images; of any size
        if node.op == 'ResizeBilinear':
            sizes.add(_resized_to(graph, node, subject))
        new = [name for name in node.inputs if name not in known]
        known.update(new)
        pending += new
    if len(sizes) > 1:
        raise InputError(f'{subject}: images are resized more than once before {first.name}')
    return next(iter(sizes), None)
