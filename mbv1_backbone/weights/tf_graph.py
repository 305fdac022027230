"""Reading a frozen TensorFlow 1 graph, without TensorFlow: nodes, their attributes and their constants.

Format: https://github.com/tensorflow/tensorflow/blob/v2.15.0/tensorflow/core/framework/graph.proto and the
messages beside it, of which the parts that hold weights and layers are described here.
"""

from __future__ import annotations

import os
import tarfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import DamagedFileError, InputError, NotInstalledError

__all__ = ['TfGraph', 'TfNode', 'is_tf_graph', 'message_class', 'read_tf_graph']

_MAX_BYTES = 400_000_000  # of a graph; the largest of MobileNetV1's, with full convolutions, has 120 MB
_SAME = {'Identity', 'StopGradient'}  # which give what they take
_TYPES = {1: '<f4', 2: '<f8', 3: '<i4', 9: '<i8', 10: '?', 19: '<f2'}  # TensorFlow's DataType
# Message: fields by name, number and type; a star marks a repeated one.
_MESSAGES = {
    'GraphDef': 'node:1:*NodeDef',
    'NodeDef': 'name:1:string op:2:string input:3:*string attr:5:*AttrEntry',
    'AttrEntry': 'key:1:string value:2:AttrValue',
    'AttrValue': 'list:1:ListValue s:2:bytes i:3:int64 f:4:float b:5:bool shape:7:Shape tensor:8:Tensor',
    'ListValue': 'i:3:*int64',
    'Tensor': 'dtype:1:int32 tensor_shape:2:Shape tensor_content:4:bytes float_val:5:*float '
    'double_val:6:*double int_val:7:*int32 int64_val:10:*int64 bool_val:11:*bool half_val:13:*int32',
    'Shape': 'dim:2:*Dim unknown_rank:3:bool',
    'Dim': 'size:1:int64',
}


@dataclass(frozen=True)
class TfNode:
    """An operation of the graph.

    Attributes:
        name: Of it, with its scopes.
        op: Its kind, such as ``Conv2D``.
        inputs: Names of the nodes whose outputs it takes.
        attributes: Of layers and placeholders: numbers, text, lists of numbers; shapes as tuples, -1 where a
            side is not known.
        value: Of a constant, where its type is known.
        ports: Which of their outputs it takes, one an input.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    value: np.ndarray | None = None
    ports: tuple[int, ...] = ()


@dataclass(frozen=True)
class TfGraph:
    """Nodes by name, in the file's order."""

    nodes: Mapping[str, TfNode]

    def variables(self) -> dict[str, np.ndarray]:
        """Weights: constants that freezing made of variables, which are read through ``NAME/read``."""
        return {
            name: node.value
            for name, node in self.nodes.items()
            if node.value is not None and f'{name}/read' in self.nodes
        }

    def source(self, name: str) -> str:
        """The node behind ``Identity`` and its like."""
        seen = set()
        while (node := self.nodes.get(name)) is not None and node.op == 'Identity' and name not in seen:
            seen.add(name)
            name = node.inputs[0]
        return name

    def taken(self, node: TfNode, place: int, subject: str) -> TfNode:
        """The operation whose output another takes, behind ``Identity`` and its like.

        Args:
            node: That takes it.
            place: Among its inputs.
            subject: The source, for errors.

        Raises:
            InputError: If there is none, or it is another output than the first.
        """
        known = set[str]()
        while True:
            if place >= len(node.inputs):
                raise InputError(f'{subject}: {node.op} {node.name} has {len(node.inputs)} inputs')
            name, port = node.inputs[place], node.ports[place]
            if port:
                raise InputError(f'{subject}: {node.name} takes output {port} of {name}, must take 0')
            if name not in self.nodes or name in known:
                raise InputError(f'{subject}: {node.name} takes {name}, which is not in the graph before it')
            known.add(name)
            found = self.nodes[name]
            if found.op not in _SAME:
                return found
            node, place = found, 0


@cache
def message_class(name: str = 'GraphDef') -> Any:
    """The class of a message, with the fields that are read here; it can be filled and written, too.

    Args:
        name: TensorFlow's name of it, or ours of a nested one.

    Raises:
        NotInstalledError: If protobuf is missing.
    """
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError as error:
        raise NotInstalledError(
            "reading TensorFlow graphs needs protobuf: pip install 'mbv1-backbone[weights]'"
        ) from error
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name='mbv1_graph.proto', package='mbv1', syntax='proto3')
    for message, fields in _MESSAGES.items():
        made = file.message_type.add(name=message)
        for text in fields.split():
            label, number, kind = text.split(':')
            repeated, kind = kind.startswith('*'), kind.removeprefix('*')
            entry = made.field.add(name=label, number=int(number))
            entry.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            if kind in _MESSAGES:
                entry.type, entry.type_name = kinds.TYPE_MESSAGE, f'.mbv1.{kind}'
            else:
                entry.type = getattr(kinds, f'TYPE_{kind.upper()}')
    pool = descriptor_pool.DescriptorPool()  # of our own: TensorFlow's may be loaded, too
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f'mbv1.{name}'))


def is_tf_graph(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a frozen graph by its name, or an archive of one as Google released them."""
    path = Path(path)
    return path.suffix in ('.pb', '.tgz') or path.name.endswith('.tar.gz')


def read_tf_graph(path: str | os.PathLike[str]) -> TfGraph:
    """Read a ``.pb`` file, or the one frozen graph of a ``.tgz`` archive.

    Raises:
        NotInstalledError: If protobuf is missing.
        InputError: If the file is missing, damaged, or something else.
    """
    content = _content(Path(path))
    graph = message_class()()
    from google.protobuf.message import DecodeError

    if content[:1] == b'\x08':  # a SavedModel's first field
        raise InputError(f'{path}: a SavedModel, not a frozen graph: freeze it with freeze_graph')
    try:
        graph.ParseFromString(content)
    except DecodeError as error:
        raise DamagedFileError(f'{path}: not a TensorFlow graph, or a damaged one: {error}') from error
    names = [name for node in graph.node for name in (node.name, node.op, *node.input)]
    if not names or not all(name and name.isprintable() for name in names):
        raise DamagedFileError(f'{path}: not a TensorFlow graph: it has no nodes with names and operations')
    nodes = {node.name: _node(node, path) for node in graph.node}
    if len(nodes) < len(graph.node):
        twice, count = Counter(node.name for node in graph.node).most_common(1)[0]
        raise DamagedFileError(f'{path}: {count} nodes are named {twice}')
    return TfGraph(nodes)


def _content(path: Path) -> bytes:
    """Bytes of the graph.

    Raises:
        InputError: If there is no graph, more than one, or too large a one.
    """
    if not path.is_file():
        raise InputError(f'{path}: no such file')
    if path.suffix == '.pb':
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f'{path}: {path.stat().st_size} bytes, at most {_MAX_BYTES} are read')
        return path.read_bytes()
    try:
        with tarfile.open(path) as archive:
            found = [
                m for m in archive if m.isfile() and m.name.endswith('.pb') and 'frozen' in Path(m.name).name
            ]
            if len(found) != 1 or found[0].size > _MAX_BYTES:
                names = ', '.join(m.name for m in found) or 'none'
                raise InputError(f'{path}: must hold one frozen graph, *frozen*.pb, got {names}')
            file = archive.extractfile(found[0])
            assert file is not None  # it is a file
            return file.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DamagedFileError(f'{path}: not a readable archive: {error}') from error


def _node(node: Any, path: str | os.PathLike[str]) -> TfNode:
    attributes = {entry.key: entry.value for entry in node.attr}
    value = None
    if node.op == 'Const' and 'value' in attributes:
        value = _array(attributes['value'].tensor, f'{path}: {node.name}')
    read = {key: _plain(attribute) for key, attribute in attributes.items() if key != 'value'}
    inputs = [name.partition(':') for name in node.input if not name.startswith('^')]
    if wrong := [port for _, colon, port in inputs if colon and not (port.isdecimal() and port.isascii())]:
        raise DamagedFileError(f'{path}: {node.name}: takes output {wrong[0]!r:.40}, must be a whole number')
    names, ports = tuple(name for name, _, _ in inputs), tuple(int(port or 0) for *_, port in inputs)
    return TfNode(node.name, node.op, names, read, value, ports)


def _plain(attribute: Any) -> Any:
    if attribute.HasField('shape'):
        return tuple(dim.size for dim in attribute.shape.dim)
    if attribute.HasField('list'):
        return tuple(attribute.list.i)
    return attribute.s.decode('utf-8', 'replace') or attribute.i or attribute.f or attribute.b


def _listed(tensor: Any, stored: np.dtype[Any]) -> np.ndarray:
    """The values of a constant that are listed one by one; half precision comes as 16-bit whole numbers."""
    if stored.kind == 'f' and stored.itemsize == 2:
        return np.array(tensor.half_val, np.uint16).view(stored)
    lists = (tensor.float_val, tensor.double_val, tensor.int_val, tensor.int64_val, tensor.bool_val)
    return np.array(next(filter(None, lists), ()), stored)


def _array(tensor: Any, subject: str) -> np.ndarray | None:
    """A constant's values; None of a type that no layer has."""
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    if tensor.dtype not in _TYPES:
        return None
    stored, count = np.dtype(_TYPES[tensor.dtype]), int(np.prod(shape, dtype=np.int64))
    if min(shape, default=0) < 0 or count * stored.itemsize > _MAX_BYTES:
        raise DamagedFileError(f'{subject}: its shape {shape} is damaged')
    if tensor.tensor_content:
        if len(tensor.tensor_content) != count * stored.itemsize:
            raise DamagedFileError(f'{subject}: {len(tensor.tensor_content)} bytes for {shape} of {stored}')
        return np.frombuffer(tensor.tensor_content, stored).reshape(shape).copy()  # may be written to
    values = _listed(tensor, stored)
    if not count or not len(values):
        return np.zeros(shape, stored)
    if len(values) > count:
        raise DamagedFileError(f'{subject}: {len(values)} values for {shape}')
    return np.append(values, np.full(count - len(values), values[-1], stored)).reshape(
        shape
    )  # the last one fills
