"""A network with YuNet's inputs and outputs, and photographs that it finds faces in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


def yunet_file(path: Path, width: float = 40) -> Path:
    """A network with YuNet's inputs and outputs that takes bright cells for faces of WIDTH x 48 pixels."""
    onnx = pytest.importorskip('onnx')
    from onnx import TensorProto, helper, numpy_helper

    nodes, weights, outputs = [], [], []

    def head(name, stride, kernel, bias, channels):
        weights.append(numpy_helper.from_array(kernel.astype(np.float32), f'{name}_w'))
        weights.append(numpy_helper.from_array(np.array(bias, np.float32), f'{name}_b'))
        weights.append(numpy_helper.from_array(np.array([1, -1, channels]), f'{name}_s'))
        nodes.append(
            helper.make_node(
                'Conv',
                ['input', f'{name}_w', f'{name}_b'],
                [f'{name}_c'],
                kernel_shape=[stride] * 2,
                strides=[stride] * 2,
            )
        )
        nodes.append(helper.make_node('Transpose', [f'{name}_c'], [f'{name}_t'], perm=[0, 2, 3, 1]))
        nodes.append(helper.make_node('Reshape', [f'{name}_t', f'{name}_s'], [name]))
        cells = 96 // stride * (160 // stride)
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, cells, channels]))

    for kind in ('cls', 'obj', 'bbox', 'kps'):
        for stride in (8, 16, 32):
            score = 1.0 if stride == 8 else 0.0
            if kind in ('cls', 'obj'):  # the mean brightness
                head(
                    f'{kind}_{stride}',
                    stride,
                    np.full((1, 3, stride, stride), score / 765 / stride**2),
                    [0],
                    1,
                )
            elif kind == 'bbox':
                bias = [0.5, 0.5, np.log(width / stride), np.log(48 / stride)]
                head(f'{kind}_{stride}', stride, np.zeros((4, 3, stride, stride)), bias, 4)
            else:
                bias = np.array([(-8, -8), (8, -8), (0, 0), (-6, 10), (6, 10)]) / stride + 0.5
                head(f'{kind}_{stride}', stride, np.zeros((10, 3, stride, stride)), bias.ravel(), 10)
    image = helper.make_tensor_value_info('input', TensorProto.FLOAT, [1, 3, 96, 160])
    graph = helper.make_graph(nodes, 'yunet', [image], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 13)], ir_version=8)
    onnx.save(model, path)
    return path
