"""A graph to the bytes of a ``.tflite`` file, with what it says of itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mbv1_backbone.common.errors import InputError, NotInstalledError
from mbv1_backbone.export.about import names_of, of_one_size
from mbv1_backbone.export.graphs import Graph
from mbv1_backbone.export.litert.detections import LITERT
from mbv1_backbone.export.litert.halves import in_halves
from mbv1_backbone.export.litert.int8 import in_int8, measured
from mbv1_backbone.export.plans.networks import plan_of
from mbv1_backbone.runtime.spec import KEY, ModelSpec
from mbv1_backbone.weights.tflite_exported import WEIGHTS_KEY, described_weights
from mbv1_backbone.weights.tflite_labels import METADATA

__all__ = ['litert_bytes']


def litert_bytes(
    graph: Graph, spec: ModelSpec, calibration: Sequence[np.ndarray] = (), input_type: str = 'uint8'
) -> bytes:
    """A graph as a ``.tflite`` file: operators of TensorFlow Lite alone, an image at a time.

    Args:
        graph: Of a classifier, an embedder, a backbone, or an SSD.
        spec: Goes into the file, beside TensorFlow Lite's own metadata and the classes' names; precision is
            ``fp32``, ``fp16`` (weights) or ``int8``.
        calibration: For int8: images uint8 (H, W, 3) of the input's size, from which ranges are measured,
            unless the network was trained with some.
        input_type: Of an int8 file's images: ``uint8``, or ``int8``, which is the bytes less 128.

    Raises:
        InputError: If something in the graph has no operator there.
        NotInstalledError: If the runtime is not installed, whose schema files are written by.
    """
    try:
        from mbv1_backbone.export.litert.calibration import statistics_on
        from mbv1_backbone.export.litert.flatbuffer import as_bytes
        from mbv1_backbone.export.litert.metadata import standard_metadata, with_labels
    except ImportError as error:
        raise NotInstalledError(
            "writing .tflite needs LiteRT: pip install 'mbv1-backbone[litert]'"
        ) from error
    plan = plan_of(graph, spec.size, LITERT)
    if spec.precision == 'fp16':
        plan = in_halves(plan)
    elif spec.precision == 'int8':
        ranges = statistics_on(plan, calibration) if graph.ranges is None else graph.ranges
        if missing := sorted(set(measured(plan)) - set(ranges.ranges)):
            raise InputError(f'its quantisation is of another network: it has no range of {missing[0]}')
        plan = in_int8(plan, ranges, input_type)
    spec = of_one_size(spec)
    about = described_weights(spec.recipe, spec.kind, plan.norms, spec.classes, spec.category_ids)
    names = spec.classes
    if spec.kind == 'classifier':
        names = names_of(spec, plan.values[plan.outputs[0]].shape[-1])
    metadata: dict[str, str | bytes] = {
        KEY: spec.as_text(),
        WEIGHTS_KEY: about,
        METADATA: standard_metadata(plan, replace(spec, classes=names), graph.outputs),
    }
    return with_labels(as_bytes(plan, 'MobileNetV1 by mbv1-backbone', metadata), names)
