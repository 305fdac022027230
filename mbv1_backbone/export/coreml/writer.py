"""A graph to a Core ML package, with what it says of itself."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mbv1_backbone.common.errors import NoSpaceError
from mbv1_backbone.export.about import AUTHOR, description_of, labels_of, of_one_size
from mbv1_backbone.export.coreml.detections import COREML
from mbv1_backbone.export.coreml.program import add_program
from mbv1_backbone.export.graphs import Graph
from mbv1_backbone.export.plans.networks import plan_of
from mbv1_backbone.export.plans.plan import Plan
from mbv1_backbone.runtime.coreml import COUNT, IMAGE, LABELS, coremltools
from mbv1_backbone.runtime.spec import KEY, ModelSpec

__all__ = ['coreml_plan', 'save_coreml']

_RAW = ('raw_confidence', 'raw_coordinates')  # between the network and the suppression
_WRITES = '[MIL FileWriter]'  # with which coremltools complains of a file that it cannot write to
_SUPPRESSED = ('confidence', 'coordinates')  # as Vision takes them
_SAID = {
    IMAGE: 'RGB image; normalising is in the network',
    'classLabel': 'The most probable class',
    'classLabel_probs': 'Probability of each class',
    'embeddings': 'Embedding of length 1, (1, dimensions)',
    'confidence': 'Scores of each box, (boxes, classes)',
    'coordinates': 'Centre x, y, width and height of each box as shares of the image, (boxes, 4)',
    'iouThreshold': 'Of two boxes of a class that overlap by more the better stays',
    'confidenceThreshold': 'Least score of a box',
}


def coreml_plan(graph: Graph, size: tuple[int, int]) -> Plan:
    """The plan that a package is written from.

    Args:
        graph: Of a classifier, an embedder, a backbone, or an SSD.
        size: Height and width of its images, in pixels.

    Raises:
        InputError: If something in the graph has no operator there.
    """
    return plan_of(graph, size, COREML)


def save_coreml(graph: Graph, spec: ModelSpec, path: Path) -> None:
    """Write a graph as a Core ML package (iOS 15, macOS 12, and later), an image at a time.

    Takes ``image``, an RGB image. A classifier gives ``classLabel`` and ``classLabel_probs``; a detector,
    whose suppression is a model of its own after the network's, gives ``confidence`` and ``coordinates`` as
    Vision takes them; outputs of others have the graph's names.

    Args:
        graph: Of a classifier, an embedder, a backbone, or an SSD.
        spec: Goes into the package; precision is ``fp32`` or ``fp16`` (weights and computation).
        path: ``.mlpackage``, a folder: whatever is there goes.

    Raises:
        InputError: If something in the graph has no operator there.
        NoSpaceError: If the disk is full.
        NotInstalledError: If coremltools is not installed.
    """
    plan = coreml_plan(graph, spec.size)
    spec = of_one_size(spec)
    names = _RAW if spec.kind == 'detector' else graph.outputs
    with _quiet(), _disk_errors(path):
        tools = coremltools()
        model = _converted(tools, plan, spec, dict(zip(plan.outputs, names, strict=True)))
        if spec.kind == 'detector':
            options = plan.producer('boxes').options
            model = _followed(tools, model, _suppression(tools, plan, spec, options))
            model.user_defined_metadata[COUNT] = str(options['count'])
        elif spec.kind == 'classifier':
            model.user_defined_metadata[LABELS] = json.dumps(_labels(plan, spec))
        _describe(model, spec)
        model.save(str(path))


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """A full disk as such: the tools write to the folder for temporary files, and copy from there."""
    try:
        yield
    except shutil.Error as error:  # with a list of what could not be copied, and of why as text
        reason = error.args[0][0][-1] if isinstance(error.args[0], list) else str(error)
        numbers = [f'[Errno {number}]' for number in (errno.ENOSPC, errno.EDQUOT)]
        if any(number in reason for number in numbers):
            raise NoSpaceError(f'{path.name}: no space left on the disk to write it to') from error
        raise OSError(errno.EIO, reason, str(path)) from error
    except RuntimeError as error:
        if _WRITES not in str(error):
            raise
        raise NoSpaceError(
            f'{path.name}: coremltools cannot write weights to {tempfile.gettempdir()}: no space left there'
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The tools show a bar for each group of passes, and leave a folder to Python to remove."""
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter('ignore', ResourceWarning)
        yield


def _converted(tools: Any, plan: Plan, spec: ModelSpec, names: Mapping[str, str]) -> Any:
    """The network as a program."""
    builder = tools.converters.mil.Builder
    shape = (1, 3, *spec.size)

    def image_to_outputs(image: Any) -> tuple[Any, ...]:  # the input has the argument's name
        return add_program(plan, builder, image, names)

    wanted = builder.program(input_specs=[builder.TensorSpec(shape=shape)], opset_version=tools.target.iOS15)(
        image_to_outputs
    )
    labels = _labels(plan, spec) if spec.kind == 'classifier' else None
    precision = tools.precision.FLOAT16 if spec.precision == 'fp16' else tools.precision.FLOAT32
    return tools.convert(
        wanted,
        inputs=[tools.ImageType(name=IMAGE, shape=shape, color_layout=tools.colorlayout.RGB)],
        classifier_config=labels and tools.ClassifierConfig(labels),
        convert_to='mlprogram',
        minimum_deployment_target=tools.target.iOS15,
        compute_precision=precision,
        skip_model_load=True,
    )


def _labels(plan: Plan, spec: ModelSpec) -> list[str] | list[int]:
    """Of a classifier."""
    return labels_of(spec, plan.values[plan.outputs[0]].shape[1])


def _suppression(tools: Any, plan: Plan, spec: ModelSpec, options: Mapping[str, Any]) -> Any:
    """The stage after a detector's network: suppression among boxes of which the best class is the same.

    https://apple.github.io/coremltools/mlmodel/Format/NonMaximumSuppression.html
    """
    made = tools.proto.Model_pb2.Model()
    made.specificationVersion = tools.target.iOS15.value
    shapes = [plan.values[name].shape for name in plan.outputs]
    for name, shape in zip(_RAW, shapes, strict=True):
        given = made.description.input.add(name=name).type.multiArrayType
        given.shape.extend(shape)
        given.dataType = given.FLOAT32
    for name in ('iouThreshold', 'confidenceThreshold'):
        given = made.description.input.add(name=name).type
        given.doubleType.SetInParent()
        given.isOptional = True
    for name, (_, columns) in zip(_SUPPRESSED, shapes, strict=True):
        array = made.description.output.add(name=name).type.multiArrayType
        array.dataType = array.FLOAT32
        array.shapeRange.sizeRanges.add(lowerBound=0, upperBound=-1)
        array.shapeRange.sizeRanges.add(lowerBound=columns, upperBound=columns)
    stage = made.nonMaximumSuppression
    stage.confidenceInputFeatureName, stage.coordinatesInputFeatureName = _RAW
    stage.confidenceOutputFeatureName, stage.coordinatesOutputFeatureName = _SUPPRESSED
    stage.iouThresholdInputFeatureName = 'iouThreshold'
    stage.confidenceThresholdInputFeatureName = 'confidenceThreshold'
    stage.iouThreshold, stage.confidenceThreshold = options['iou_threshold'], options['min_score']
    stage.pickTop.perClass = True
    labels = labels_of(spec, shapes[0][1])
    if isinstance(labels[0], int):
        stage.int64ClassLabels.vector.extend(labels)
    else:
        stage.stringClassLabels.vector.extend(labels)
    return made


def _followed(tools: Any, network: Any, stage: Any) -> Any:
    """A pipeline of a network and a stage after it; coremltools' own leaves a copy among temporary files."""
    made, first = tools.proto.Model_pb2.Model(), network.get_spec()
    made.specificationVersion = stage.specificationVersion
    between = {given.name: given.type for given in stage.description.input}
    for output in first.description.output:
        output.type.CopyFrom(between[output.name])
    made.description.input.extend(first.description.input)
    made.description.input.extend(each for each in stage.description.input if each.type.isOptional)
    made.description.output.extend(stage.description.output)
    made.pipeline.models.extend([first, stage])
    return tools.models.MLModel(made, weights_dir=network.weights_dir, skip_model_load=True)


def _describe(model: Any, spec: ModelSpec) -> None:
    """What Xcode shows of a package, and what ``mbv1`` reads of it."""
    model.short_description = description_of(spec)
    model.author, model.license = AUTHOR, spec.licence
    model.user_defined_metadata[KEY] = spec.as_text()
    for features in (model.input_description, model.output_description):
        for name in features:
            features[name] = _SAID.get(name, f'Map of {name}, (1, channels, height, width)')
