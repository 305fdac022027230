"""A graph to ncnn's two files, and what it says of itself beside them."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from mbv1_backbone.export.about import of_one_size
from mbv1_backbone.export.graphs import Graph
from mbv1_backbone.export.ncnn.detections import NCNN
from mbv1_backbone.export.ncnn.layers import layers_of
from mbv1_backbone.export.plans.networks import plan_of
from mbv1_backbone.runtime.ncnn import DIGESTS
from mbv1_backbone.runtime.spec import KEY, ModelSpec

__all__ = ['ncnn_files']

_MAGIC = 7767517


def ncnn_files(graph: Graph, spec: ModelSpec, path: Path) -> dict[Path, bytes]:
    """A graph as ncnn's files, an image at a time.

    Takes ``images``, an RGB image as floats 0..255, as ``ncnn::Mat::from_pixels`` gives it; normalising is in
    the network. Outputs have the graph's names; a detector's is ``detections``.

    Args:
        graph: Of a classifier, an embedder, a backbone, or an SSD.
        spec: Goes into the file beside; precision is ``fp32`` or ``fp16`` (weights).
        path: ``.param``.

    Returns:
        What is to be written: the weights (``.bin``), the spec (``.json``), and last the layers (``.param``).

    Raises:
        InputError: If something in the graph has no layer there.
    """
    plan = plan_of(graph, spec.size, NCNN)
    names = graph.outputs if spec.kind == 'backbone' else plan.outputs
    shapes = [plan.values[name].shape for name in plan.outputs]
    layers = layers_of(plan, spec.precision == 'fp16', dict(zip(plan.outputs, names, strict=True)))
    blobs = sum(len(layer.outputs) for layer in layers)
    lines = [str(_MAGIC), f'{len(layers)} {blobs}', *(layer.as_line() for layer in layers)]
    param, weights = ('\n'.join(lines) + '\n').encode(), b''.join(layer.weights for layer in layers)
    spec = of_one_size(spec)
    about = {
        KEY: json.loads(spec.as_text()),
        'outputs': dict(zip(names, map(_in_ncnn, shapes), strict=True)),
        DIGESTS: {'.param': sha256(param).hexdigest(), '.bin': sha256(weights).hexdigest()},
    }
    return {
        path.with_suffix('.bin'): weights,
        path.with_suffix('.json'): json.dumps(about, indent=1).encode(),
        path: param,
    }


def _in_ncnn(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of a map (1, h, w, channels) or a row (1, values): ncnn has no batches, and channels first."""
    if len(shape) == 4:
        return (shape[3], *shape[1:3])
    return shape[1:] if shape[0] == 1 else shape
