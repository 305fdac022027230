"""Models to files: ONNX and, by way of it, OpenVINO here, the other formats by writers of their own."""

from __future__ import annotations

import contextlib
import importlib
import io
import tempfile
import warnings
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mbv1_backbone.common.choices import EXPORT_INPUTS, EXPORT_PRECISIONS as PRECISIONS
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import replace_folder, write_atomically
from mbv1_backbone.common.telemetry import no_telemetry
from mbv1_backbone.export.graphs import Graph
from mbv1_backbone.export.openvino_int8 import quantised_openvino
from mbv1_backbone.runtime import engines
from mbv1_backbone.runtime.openvino import DIGEST
from mbv1_backbone.runtime.sessions import SUFFIXES
from mbv1_backbone.runtime.spec import KEY, OPSET, ModelSpec

__all__ = ['MIN_CALIBRATION', 'write']

# In the names of layers that int8 leaves as they are: they place and score boxes, or lose most by rounding.
_EXACT = ('bbox_head', 'rows.0/', 'rows.1/')
_PERCENTILE = 99.99  # of activations, beyond which int8 cuts off
MIN_CALIBRATION = 8  # images
_WITH_LABELS = ('.tflite', '.mlpackage')  # which hold the classes' names as text
_PRECISIONS_OF = {
    '.onnx': ('fp32', 'int8'),
    '.xml': ('fp32', 'fp16', 'bf16', 'int8'),
    '.tflite': ('fp32', 'fp16', 'int8'),
    '.param': ('fp32', 'fp16'),
    '.mlpackage': ('fp32', 'fp16'),
    '.pt2': ('fp32',),
    '.pte': ('fp32', 'int8'),
}
_WHY_NOT = {
    ('.param', 'int8'): ' (ncnn quantises by ncnn2table and ncnn2int8, programs that its wheels leave out)'
}


def write(
    graph: Graph,
    spec: ModelSpec,
    path: Path,
    calibration: Sequence[np.ndarray] = (),
    input_type: str = 'uint8',
) -> None:
    """Write a graph with what it says of itself.

    Args:
        graph: With ``inputs`` and ``outputs``.
        spec: Goes into the file.
        path: ``.onnx``: fp32 or int8. ``.xml``, with a ``.bin`` beside it: OpenVINO's, whose weights are
            halved for ``fp16`` and ``bf16``; the latter also computes in bfloat16 where the processor does;
            or in ``int8``, by NNCF.
            ``.tflite``: fp32, fp16 (weights) or int8, one image at a time. ncnn's ``.ncnn.param``, with
            ``.ncnn.bin`` and ``.ncnn.json`` beside it: fp32 or fp16 (weights), one image at a time.
            Core ML's ``.mlpackage``, a folder: fp32 or fp16 (weights and computation), one image at a time.
            ``.pt2`` of ``torch.export``: fp32; ``.aoti.pt2`` has it compiled by AOTInductor.
            ExecuTorch's ``.pte``, for XNNPACK: fp32 or int8, one image at a time.
        calibration: For int8: images uint8 (H, W, 3) of the input's size, from which ranges are measured.
            Those of one colour, and copies, are left out. A ``.tflite`` of a network that was trained with
            ranges takes these, and no images.
        input_type: Of the images that an int8 ``.tflite`` takes: ``uint8``, or ``int8``, bytes less 128.

    Raises:
        InputError: If the path ends otherwise, the format has no such precision or no operator for something
            in the graph, or there is too little to calibrate on.
        NotInstalledError: If the format's library is not installed.
    """
    _check(spec, path, input_type)
    if spec.precision == 'int8' and (graph.ranges is None or path.suffix != '.tflite'):
        calibration = _with_content(calibration)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in ('.tflite', '.pte'):
        write_atomically(path, _bytes_of(graph, spec, path.suffix, calibration, input_type))
    elif path.suffix == '.param':
        from mbv1_backbone.export.ncnn.writer import ncnn_files

        for file, content in ncnn_files(graph, spec, path).items():
            write_atomically(file, content)
    else:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f'.{path.name}.') as folder:
            if path.suffix in ('.mlpackage', '.pt2'):
                _save(graph, spec, path, Path(folder) / path.name)
            else:
                _write_onnx(graph, spec, path, Path(folder), calibration)


def _bytes_of(
    graph: Graph, spec: ModelSpec, suffix: str, calibration: Sequence[np.ndarray], input_type: str
) -> bytes:
    """A file of LiteRT's or of ExecuTorch's."""
    if suffix == '.pte':
        from mbv1_backbone.export.executorch import executorch_bytes

        return executorch_bytes(graph, spec, calibration)
    from mbv1_backbone.export.litert.writer import litert_bytes

    return litert_bytes(graph, spec, calibration, input_type)


def _save(graph: Graph, spec: ModelSpec, path: Path, draft: Path) -> None:
    """What a library writes itself, which may stop half way."""
    if path.suffix == '.mlpackage':
        from mbv1_backbone.export.coreml.writer import save_coreml

        save_coreml(graph, spec, draft)
        replace_folder(draft, path)
        return
    from mbv1_backbone.export.programs import save_compiled, save_program

    save = save_compiled if path.name.endswith('.aoti.pt2') else save_program
    save(graph, spec, draft)
    write_atomically(path, draft.read_bytes())


def _write_onnx(
    graph: Graph, spec: ModelSpec, path: Path, folder: Path, calibration: Sequence[np.ndarray]
) -> None:
    """ONNX, or what OpenVINO makes of it."""
    source = folder / 'model.onnx'
    source.write_bytes(_onnx(graph, spec))
    if path.suffix == '.onnx':
        if spec.precision == 'int8':
            source = _quantised(source, calibration)
        write_atomically(path, source.read_bytes())
        return
    model = engines.openvino_core().read_model(source)
    if spec.precision == 'int8':
        model = quantised_openvino(model, calibration)
    model.set_rt_info(spec.as_text(), [KEY])
    made = folder / 'model.xml'
    halves = spec.precision in ('fp16', 'bf16')
    engines.openvino().save_model(model, made, compress_to_fp16=halves)
    weights = made.with_suffix('.bin').read_bytes()
    model.set_rt_info(sha256(weights).hexdigest(), [DIGEST])  # of what is known once it is written
    engines.openvino().save_model(model, made, compress_to_fp16=halves)
    write_atomically(path.with_suffix('.bin'), weights)
    write_atomically(path, made.read_bytes())


def _check(spec: ModelSpec, path: Path, input_type: str) -> None:
    """Refuse what no format, or not this one, has."""
    if path.suffix not in SUFFIXES:
        raise InputError(f'an exported model ends in {", ".join(SUFFIXES)}, got {path}')
    if path.suffix == '.param' and not path.name.endswith('.ncnn.param'):
        raise InputError(f"{path.name}: must end in .ncnn.param: its .bin would have the name of OpenVINO's")
    if spec.precision not in PRECISIONS:
        raise InputError(f'precision must be one of {", ".join(PRECISIONS)}, got {spec.precision!r}')
    if spec.precision not in _PRECISIONS_OF[path.suffix]:
        usual = ', '.join(_PRECISIONS_OF[path.suffix])
        others = ', '.join(suffix for suffix, has in _PRECISIONS_OF.items() if spec.precision in has)
        why = _WHY_NOT.get((path.suffix, spec.precision), '')
        raise InputError(
            f'{path.name}: {path.suffix} is written in {usual}; {spec.precision} is for {others}{why}'
        )
    if wrong := [name for name in spec.classes if _is_no_text(name) and path.suffix in _WITH_LABELS]:
        raise InputError(f'{path.name}: the name of a class is no valid text: {wrong[0]!a}')
    if input_type not in EXPORT_INPUTS:
        raise InputError(f'input_type must be one of {", ".join(EXPORT_INPUTS)}, got {input_type!r}')
    if input_type != 'uint8' and (path.suffix, spec.precision) != ('.tflite', 'int8'):
        raise InputError(
            f'{path.name}: images given as {input_type} are for .tflite in int8; others take uint8'
        )


def _is_no_text(name: str) -> bool:
    """Whether it holds half a character, as JSON may."""
    return any('\ud800' <= letter <= '\udfff' for letter in name)


def _with_content(images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The images that are of more than one colour, each once: the others tell no range.

    Raises:
        InputError: If fewer than ``MIN_CALIBRATION`` are left.
    """
    coloured = [image for image in images if np.ptp(image.reshape(-1, image.shape[-1]), axis=0).any()]
    kept = list({(image.shape, image.tobytes()): image for image in coloured}.values())
    if len(kept) < MIN_CALIBRATION:
        flat, copies = len(images) - len(coloured), len(coloured) - len(kept)
        of_one = f', {flat} more of one colour' if flat else ''
        alike = f', {copies} more that are copies' if copies else ''
        raise InputError(
            f'int8 needs at least {MIN_CALIBRATION} images to calibrate on, got {len(kept)}{of_one}{alike}'
        )
    return kept


def _onnx(graph: Graph, spec: ModelSpec) -> bytes:
    onnx = importlib.import_module('onnx')
    graph = graph.eval()
    generator = torch.Generator().manual_seed(0)  # not the program's own: an export changes no training
    images = torch.randint(0, 256, (2, *spec.size, 3), dtype=torch.uint8, generator=generator)
    names = [*graph.inputs, *graph.outputs]
    written = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of tracing: sizes are fixed here
        torch.onnx.export(
            graph,
            (images,),
            written,  # type: ignore[arg-type]  # a file object is taken, though the stub leaves it out
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_axes={name: _free_axes(name, graph, spec) for name in names},
            opset_version=OPSET,
            dynamo=False,  # whose graphs hold a suppression of a whole batch as one operator
        )
    model = onnx.load_from_string(written.getvalue())
    model.metadata_props.add(key=KEY, value=spec.as_text())
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _free_axes(name: str, graph: Graph, spec: ModelSpec) -> dict[int, str]:
    """Which axes of an input or output may have any size."""
    axes = {0: 'batch'}
    if spec.any_size and name in graph.inputs:
        axes |= {1: 'height', 2: 'width'}
    elif spec.any_size and spec.kind == 'backbone':
        axes |= {2: f'{name}_height', 3: f'{name}_width'}
    return axes


def _quantised(source: Path, calibration: Sequence[np.ndarray]) -> Path:
    """The same with convolutions and linear layers in 8 bits: weights by channel, activations by tensor.

    Weights have 7 bits: with 8, sums of pairs of products saturate on AVX2 and on AVX-512 without VNNI.
    Depthwise convolutions stay in float32, which takes 2 to 8 % longer and halves the error.
    """
    with no_telemetry():
        tools = importlib.import_module('onnxruntime.quantization')

    class Reader(tools.CalibrationDataReader):  # type: ignore[name-defined]
        def __init__(self) -> None:
            self.left = iter(calibration)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.left, None)
            return None if image is None else {'images': image[None]}

    onnx = importlib.import_module('onnx')
    made = source.with_name('int8.onnx')
    quantise = partial(
        tools.quantize_static,
        str(source),
        str(made),
        Reader(),
        op_types_to_quantize=['Conv', 'Gemm'],
        nodes_to_exclude=[node.name for node in onnx.load(source).graph.node if _stays_exact(node)],
        per_channel=True,
        reduce_range=True,
        activation_type=tools.QuantType.QUInt8,
        weight_type=tools.QuantType.QInt8,
        calibrate_method=tools.CalibrationMethod.Percentile,
        extra_options=dict(CalibPercentile=_PERCENTILE),
    )
    with contextlib.redirect_stdout(io.StringIO()):  # it prints every step
        quantise()
    return made


def _stays_exact(node: Any) -> bool:
    """Whether a node keeps float32: depthwise convolutions, and what loses most in 8 bits."""
    depthwise = any(option.name == 'group' and option.i > 1 for option in node.attribute)
    return depthwise or any(part in node.name for part in _EXACT)
