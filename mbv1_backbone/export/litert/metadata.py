"""What other programs read of a ``.tflite`` file: TensorFlow Lite's own metadata, and the classes' names.

Schema, of which the numbers of the fields are:
https://github.com/tensorflow/tflite-support/blob/master/tensorflow_lite_support/metadata/metadata_schema.fbs.
The package that comes with it is for Python 3.9 at most; files are the few tables below.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flatbuffers
import numpy as np

from mbv1_backbone.export.about import AUTHOR, description_of
from mbv1_backbone.export.plans.plan import Plan
from mbv1_backbone.runtime.spec import ModelSpec

__all__ = ['standard_metadata', 'with_labels']

_LABELS = 'labels.txt'
_MARK = b'M001'
_PARSER = '1.0.0'  # the least version of a reader that knows all of it
_OF_AXIS, _OF_VALUES = 2, 3  # AssociatedFileType
_FEATURES, _IMAGE, _BOXES = 1, 2, 3  # ContentProperties
_RGB, _BOUNDARIES, _NORMALISATION = 1, 1, 1  # ColorSpaceType, BoundingBoxType, ProcessUnitOptions
_LAST_AXIS = 2  # of detections: that of one of them


class _Scalar(NamedTuple):
    """A number in a table, as the builder names its kind."""

    kind: str
    value: int


Table = Mapping[int, Any]  # fields by their numbers


def standard_metadata(plan: Plan, spec: ModelSpec, names: Sequence[str]) -> bytes:
    """The bytes that a file keeps under ``TFLITE_METADATA``.

    Args:
        plan: Of the file, as it is written.
        spec: Of the file.
        names: Of its outputs: a backbone's maps, and others'.
    """
    outputs = _detections(spec) if spec.kind == 'detector' else [_output(spec, name) for name in names]
    graph = {2: [_image(plan, spec)], 3: outputs}
    model: dict[int, Any] = {
        0: 'MobileNetV1',
        1: description_of(spec),
        3: [graph],
        4: AUTHOR,
        7: _PARSER,
    }
    if spec.licence:
        model[5] = spec.licence
    builder = flatbuffers.Builder(1024)
    builder.Finish(_packed(builder, model), _MARK)
    return bytes(builder.Output())


def with_labels(content: bytes, classes: Sequence[str]) -> bytes:
    """A file with the names of the classes behind it, a line each, in a ZIP archive, as others look for them.

    Args:
        content: Of the file.
        classes: Names; without any the file stays as it is.
    """
    if not classes:
        return content
    whole = io.BytesIO(content)
    with zipfile.ZipFile(whole, 'a') as archive:  # always of one date: the same network is the same file
        archive.writestr(zipfile.ZipInfo(_LABELS), ''.join(f'{_in_line(name)}\n' for name in classes))
    return whole.getvalue()


def _in_line(name: str) -> str:
    return ' '.join(name.split())


def _image(plan: Plan, spec: ModelSpec) -> Table:
    """The input; images of bytes are not normalised outside, whatever mean and deviation are said."""
    least = -128.0 if plan.values['images'].dtype == 'int8' else 0.0
    height, width = spec.size
    size = {0: _Scalar('Uint32', width), 1: _Scalar('Uint32', height)}
    content = {0: _Scalar('Uint8', _IMAGE), 1: {0: _Scalar('Int8', _RGB), 1: size}}
    scaled = {0: _floats(plan.mean), 1: _floats(plan.std)}
    return {
        0: 'image',
        1: 'RGB image, bytes; normalising is in the network',
        3: content,
        4: [{0: _Scalar('Uint8', _NORMALISATION), 1: scaled}],
        5: {0: _floats([least + 255]), 1: _floats([least])},
    }


def _output(spec: ModelSpec, name: str) -> Table:
    """Of a network that is no detector."""
    made: dict[int, Any] = {0: name, 3: {0: _Scalar('Uint8', _FEATURES), 1: {}}}
    if spec.kind == 'classifier':
        made |= {0: 'probability', 1: 'Probability of each class', 5: {0: _floats([1]), 1: _floats([0])}}
        made |= _named(spec, _OF_AXIS)
    return made


def _detections(spec: ModelSpec) -> list[Table]:
    """The four outputs of a detector, by the names that readers look for."""
    order = np.array([1, 0, 3, 2], np.uint32)  # of left, top, right and bottom in y1, x1, y2, x2
    boxes = {0: order, 1: _Scalar('Int8', _BOUNDARIES)}  # as shares of the image
    along = {0: _Scalar('Int32', _LAST_AXIS), 1: _Scalar('Int32', _LAST_AXIS)}

    def of_each(kind: int, properties: Table) -> Table:
        return {0: _Scalar('Uint8', kind), 1: properties, 2: along}

    return [
        {0: 'location', 1: 'Boxes', 3: of_each(_BOXES, boxes)},
        {0: 'category', 1: 'Classes of the boxes', 3: of_each(_FEATURES, {}), **_named(spec, _OF_VALUES)},
        {0: 'score', 1: 'Scores of the boxes', 3: of_each(_FEATURES, {})},
        {0: 'number of detections', 3: {0: _Scalar('Uint8', _FEATURES), 1: {}}},
    ]


def _named(spec: ModelSpec, kind: int) -> Table:
    """The file that names the classes, where they have names."""
    if not spec.classes:
        return {}
    return {6: [{0: _LABELS, 1: 'Names of the classes', 2: _Scalar('Int8', kind)}]}


def _floats(values: Sequence[float]) -> np.ndarray:
    """One where all are the same: it is then of all channels."""
    same = len(set(values)) == 1
    return np.array(values[:1] if same else values, np.float32)


def _packed(builder: Any, table: Table) -> int:
    """The place of a table that is written, after what it holds."""
    places = {
        number: _place(builder, value) for number, value in table.items() if not isinstance(value, _Scalar)
    }
    builder.StartObject(max(table, default=-1) + 1)
    for number, value in table.items():
        if isinstance(value, _Scalar):
            getattr(builder, f'Prepend{value.kind}Slot')(number, value.value, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(number, places[number], 0)
    return int(builder.EndObject())


def _place(builder: Any, value: Any) -> int:
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, np.ndarray):
        return int(builder.CreateNumpyVector(value))
    if isinstance(value, Mapping):
        return _packed(builder, value)
    places = [_packed(builder, table) for table in value]
    builder.StartVector(4, len(places), 4)
    for place in reversed(places):
        builder.PrependUOffsetTRelative(place)
    return int(builder.EndVector())
