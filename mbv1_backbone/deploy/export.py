"""Models to files: ONNX, and by way of it OpenVINO."""

from __future__ import annotations

import importlib
import io
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config

from mbv1_backbone.deploy.graphs import EmbedderGraph, Graph
from mbv1_backbone.deploy.sessions import KEY, SUFFIXES, About
from mbv1_backbone.errors import InputError
from mbv1_backbone.face.embedder import FaceEmbedder
from mbv1_backbone.files import write_atomically
from mbv1_backbone.recipe import recipe_of
from mbv1_backbone.weights.store import fingerprint

PRECISIONS = ('fp32', 'fp16', 'bf16', 'int8')
_OPSET = 17
_EXACT = 'bbox_head'  # in the names of layers that int8 leaves as they are: they place and score boxes


def embedder_graph(embedder: FaceEmbedder, precision: str) -> tuple[Graph, About]:
    """The graph of a face embedder, and what its file says."""
    about = About(
        kind='embedder',
        size=(embedder.input_size,) * 2,
        precision=precision,
        fingerprint=embedder.fingerprint,
        recipe=asdict(embedder.recipe),
        dims=embedder.dims,
    )
    return EmbedderGraph(embedder.model), about


def detector_graph(detector: Any, cfg: Config, precision: str) -> tuple[Graph, About]:
    """The graph of a detector (``detection.detector.Detector``) of a config, and what its file says.

    Raises:
        InputError: If the detector is of a kind that cannot be exported, or its images are not resized.
    """
    from mbv1_backbone.deploy.detectors import detector_graph_of  # faces do without mmdet

    resize = next((s for s in cfg.test_dataloader.dataset.pipeline if s.type.endswith('Resize')), None)
    if resize is None:
        raise InputError(f'config {cfg.filename}: its test pipeline has no Resize, which says the size')
    width, height = (resize.scale,) * 2 if isinstance(resize.scale, int) else resize.scale
    recipe = recipe_of(detector.model, f'config {Path(cfg.filename).stem}')
    if recipe is None:
        raise InputError(f'config {cfg.filename}: its backbone is not MobileNetV1')
    about = About(
        kind='detector',
        size=(height, width),
        precision=precision,
        fingerprint=fingerprint(detector.model.state_dict()),
        recipe=asdict(recipe),
        classes=detector.classes,
        keep_ratio=resize.get('keep_ratio', False),
    )
    try:
        return detector_graph_of(detector.model, about.size), about
    except ValueError as error:
        raise InputError(f'config {cfg.filename}: {error}') from error


def write(graph: Graph, about: About, path: Path, calibration: Sequence[np.ndarray] = ()) -> None:
    """Write a graph with what it says of itself.

    Args:
        graph: With ``inputs`` and ``outputs``.
        about: Goes into the file.
        path: ``.onnx``: fp32 or int8. ``.xml``, with a ``.bin`` beside it: OpenVINO's, whose weights are
            halved for ``fp16`` and ``bf16``; the latter also computes in bfloat16 where the processor does.
        calibration: For int8: images uint8 (H, W, 3) of the input's size, from which ranges are measured.

    Raises:
        InputError: If the path ends otherwise, the format has no such precision, or there is nothing to
            calibrate on.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f'an exported model ends in {" or ".join(SUFFIXES)}, got {path}')
    if about.precision not in PRECISIONS:
        raise InputError(f'precision must be one of {", ".join(PRECISIONS)}, got {about.precision!r}')
    if path.suffix == '.onnx' and about.precision in ('fp16', 'bf16'):
        raise InputError(f'{path}: {about.precision} is for OpenVINO (.xml); ONNX is written in fp32 or int8')
    if path.suffix == '.xml' and about.precision == 'int8':
        raise InputError(f'{path}: int8 is for ONNX; OpenVINO computes these graphs wrongly')
    if about.precision == 'int8' and not len(calibration):
        raise InputError(f'{path}: int8 needs images to calibrate on')
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f'.{path.name}.') as folder:
        source = Path(folder) / 'model.onnx'
        source.write_bytes(_onnx(graph, about))
        if about.precision == 'int8':
            source = _quantised(source, calibration)
        if path.suffix == '.onnx':
            write_atomically(path, source.read_bytes())
            return
        runtime = importlib.import_module('openvino')
        model = runtime.convert_model(source)
        model.set_rt_info(about.as_text(), [KEY])
        made = Path(folder) / 'model.xml'
        runtime.save_model(model, made, compress_to_fp16=about.precision in ('fp16', 'bf16'))
        write_atomically(path.with_suffix('.bin'), made.with_suffix('.bin').read_bytes())
        write_atomically(path, made.read_bytes())


def _onnx(graph: Graph, about: About) -> bytes:
    onnx = importlib.import_module('onnx')
    graph = graph.eval()
    images = torch.randint(0, 256, (2, *about.size, 3), dtype=torch.uint8)
    names = [*graph.inputs, *graph.outputs]
    written = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of tracing: sizes are fixed here
        torch.onnx.export(
            graph,
            (images,),
            written,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_axes={name: {0: 'batch'} for name in names},
            opset_version=_OPSET,
            dynamo=False,  # whose graphs hold a suppression of a whole batch as one operator
        )
    model = onnx.load_from_string(written.getvalue())
    model.metadata_props.add(key=KEY, value=about.as_text())
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _quantised(source: Path, calibration: Sequence[np.ndarray]) -> Path:
    """The same with convolutions and linear layers in 8 bits: weights by channel, activations by tensor."""
    tools = importlib.import_module('onnxruntime.quantization')

    class Reader(tools.CalibrationDataReader):  # type: ignore[name-defined]
        def __init__(self) -> None:
            self.left = iter(calibration)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.left, None)
            return None if image is None else {'images': image[None]}

    onnx = importlib.import_module('onnx')
    made = source.with_name('int8.onnx')
    tools.quantize_static(
        str(source),
        str(made),
        Reader(),
        op_types_to_quantize=['Conv', 'Gemm'],
        nodes_to_exclude=[node.name for node in onnx.load(source).graph.node if _EXACT in node.name],
        per_channel=True,
        activation_type=tools.QuantType.QUInt8,
        weight_type=tools.QuantType.QInt8,
    )
    return made
