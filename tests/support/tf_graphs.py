"""Frozen TensorFlow graphs: written by hand, and run operation by operation, with nothing of our networks."""

import numpy as np
import torch
from torch.nn import functional as F

from mbv1_backbone.weights.tf_graph import message_class, read_tf_graph

_TYPES = {'float32': 1, 'int32': 3}
EPSILON = 1e-3


class GraphWriter:
    """Adds nodes to a graph; each method gives the name of what it has added."""

    def __init__(self, seed=0):
        self.graph = message_class()()
        self.random = np.random.default_rng(seed)

    def node(self, name, op, *inputs, **attributes):
        made = self.graph.node.add(name=name, op=op, input=inputs)
        for key, value in attributes.items():
            entry = made.attr.add(key=key)
            if isinstance(value, str):
                entry.value.s = value.encode()
            elif isinstance(value, float):
                entry.value.f = value
            elif key == 'shape':
                for side in value:
                    entry.value.shape.dim.add(size=side)
            else:
                entry.value.list.i.extend(value)
        return name

    def const(self, name, value):
        value = np.asarray(value)
        tensor = self.graph.node.add(name=name, op='Const').attr.add(key='value').value.tensor
        tensor.dtype = _TYPES[str(value.dtype)]
        for side in value.shape:
            tensor.tensor_shape.dim.add(size=side)
        tensor.tensor_content = value.tobytes()
        return name

    def variable(self, name, *shape, scale=1.0, shift=0.0):
        values = self.random.normal(size=shape) * scale + shift
        self.const(name, np.abs(values).astype(np.float32) if shift else values.astype(np.float32))
        return self.node(f'{name}/read', 'Identity', name)

    def unit(self, name, x, size, inputs, outputs, stride, fused=True):
        """Convolution (depthwise where there are no outputs), batch norm, ReLU6."""
        shape, kind = ((size, size, inputs, outputs or 1), 'weights' if outputs else 'depthwise_weights')
        kernel = self.variable(
            f'{name}/{kind}', *shape, scale=(2 / size**2 / (inputs if outputs else 1)) ** 0.5
        )
        op = 'Conv2D' if outputs else 'DepthwiseConv2dNative'
        x = self.node(f'{name}/convolution', op, x, kernel, strides=(1, stride, stride, 1), padding='SAME')
        channels, bn = outputs or inputs, f'{name}/BatchNorm'
        parts = [
            self.variable(f'{bn}/{part}', channels, scale=0.1, shift=shift)
            for part, shift in (('gamma', 1), ('beta', 0), ('moving_mean', 0), ('moving_variance', 1))
        ]
        if fused:
            x = self.node(f'{bn}/FusedBatchNormV3', 'FusedBatchNormV3', x, *parts, epsilon=EPSILON)
        else:
            gamma, beta, mean, variance = parts
            bn = f'{bn}/batchnorm'
            self.const(f'{bn}/add/y', np.float32(EPSILON))
            factor = self.node(f'{bn}/Rsqrt', 'Rsqrt', self.node(f'{bn}/add', 'Add', variance, f'{bn}/add/y'))
            factor = self.node(f'{bn}/mul', 'Mul', factor, gamma)
            shift = self.node(f'{bn}/sub', 'Sub', beta, self.node(f'{bn}/mul_2', 'Mul', mean, factor))
            x = self.node(f'{bn}/add_1', 'Add', self.node(f'{bn}/mul_1', 'Mul', x, factor), shift)
        return self.node(f'{name}/Relu6', 'Relu6', x)

    def predictor(self, name, x, inputs, outputs):
        kernel = self.variable(f'{name}/weights', 1, 1, inputs, outputs, scale=inputs**-0.5)
        x = self.node(f'{name}/Conv2D', 'Conv2D', x, kernel, strides=(1, 1, 1, 1), padding='SAME')
        return self.node(f'{name}/BiasAdd', 'BiasAdd', x, self.variable(f'{name}/biases', outputs, scale=0.3))

    def write(self, path):
        path.write_bytes(self.graph.SerializeToString())
        return path


TABLE = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)] + [(512, 1)] * 5 + [(1024, 2), (1024, 1)]


def trunk(graph, image, scope, width=0.25, fused=True):
    """MobileNetV1 as slim names it; maps and channels of rows 11 and 13."""
    taps = {}
    channels = int(32 * width)
    x = graph.unit(f'{scope}/Conv2d_0', image, 3, 3, channels, 2, fused)
    for row, (outputs, stride) in enumerate(TABLE, 1):
        x = graph.unit(f'{scope}/Conv2d_{row}_depthwise', x, 3, channels, 0, stride, fused)
        x = graph.unit(f'{scope}/Conv2d_{row}_pointwise', x, 1, channels, int(outputs * width), 1, fused)
        channels = int(outputs * width)
        taps[row] = (x, channels)
    return taps[11], taps[13]


def classifier(path, classes=8, size=64, fused=True, retrained=False):
    """A classifier of width .25; its logits are ``MobilenetV1/Logits/SpatialSqueeze``."""
    graph = GraphWriter()
    graph.node('input', 'Placeholder', shape=(-1, size, size, 3))
    _, (x, channels) = trunk(graph, 'input', 'MobilenetV1', fused=fused)
    x = graph.node('MobilenetV1/Logits/AvgPool', 'AvgPool', x, ksize=(1, size // 32, size // 32, 1))
    x = graph.predictor('MobilenetV1/Logits/Conv2d_1c_1x1', x, channels, classes)
    x = graph.node('MobilenetV1/Logits/SpatialSqueeze', 'Squeeze', x)
    if retrained:
        graph.node(
            'final', 'MatMul', x, graph.variable('final_training_ops/weights/final_weights', classes, 2)
        )
    return graph.write(path)


def detector(path, logits, size=96, width=0.25):
    """SSD of the Object Detection API; outputs: ``BoxPredictor_N/{BoxEncoding,Class}Predictor/BiasAdd``."""
    graph = GraphWriter()
    graph.node('image', 'Placeholder', shape=(-1, size, size, 3))
    graph.const('Preprocessor/mul/x', np.float32(2 / 255))
    graph.const('Preprocessor/sub/y', np.float32(1))
    graph.const('Preprocessor/ResizeImage/size', np.array([size, size], np.int32))
    x = graph.node('Preprocessor/mul', 'Mul', 'image', 'Preprocessor/mul/x')
    x = graph.node('Preprocessor/sub', 'Sub', x, 'Preprocessor/sub/y')
    scope = 'FeatureExtractor/MobilenetV1'
    levels = [*trunk(graph, x, scope, width)]
    for index, (half, full) in enumerate(((256, 512), (128, 256), (128, 256), (64, 128)), 2):
        x, channels = levels[-1]
        half, full = int(half * width), int(full * width)
        extra = f'{scope}/Conv2d_13_pointwise'
        x = graph.unit(f'{extra}_1_Conv2d_{index}_1x1_{half}', x, 1, channels, half, 1)
        x = graph.unit(f'{extra}_2_Conv2d_{index}_3x3_s2_{full}', x, 3, half, full, 2)
        levels.append((x, full))
    for level, (x, channels) in enumerate(levels):
        boxes = 3 if level == 0 else 6
        graph.predictor(f'BoxPredictor_{level}/BoxEncodingPredictor', x, channels, boxes * 4)
        graph.predictor(f'BoxPredictor_{level}/ClassPredictor', x, channels, boxes * logits)
    return graph.write(path)


def run(path, fed, name):
    """What a node of a graph gives.

    Args:
        path: Of the graph.
        fed: Its placeholder's value, (N, H, W, 3).
        name: Of the node.

    Returns:
        Its output, in the graph's layout.
    """
    graph = read_tf_graph(path)
    values = {}

    def value(wanted):
        pending = [wanted]
        while pending:
            node = graph.nodes[pending[-1]]
            if missing := [n for n in node.inputs if n not in values and node.op != 'Placeholder']:
                pending += missing
                continue
            values[pending.pop()] = _operation(node, [values[n] for n in node.inputs], fed)
        return values[wanted]

    return value(name).numpy()


def _operation(node, inputs, fed):
    simple = {
        'Add': lambda a, b: a + b,
        'BiasAdd': lambda a, b: a + b,
        'Sub': lambda a, b: a - b,
        'Mul': lambda a, b: a * b,
        'Rsqrt': torch.rsqrt,
        'Relu6': lambda a: a.clamp(0, 6),
        'Identity': lambda a: a,
        'Squeeze': lambda a: a[:, 0, 0],
        'AvgPool': lambda a: a.mean((1, 2), keepdim=True),  # of the whole map, in these graphs
        'Placeholder': lambda: torch.as_tensor(fed, dtype=torch.float32),
    }
    if node.op == 'Const':
        return torch.from_numpy(node.value)
    if node.op in simple:
        return simple[node.op](*inputs)
    if node.op.startswith('FusedBatchNorm'):
        x, gamma, beta, mean, variance = inputs
        return (x - mean) / (variance + node.attributes['epsilon']) ** 0.5 * gamma + beta
    x, kernel = inputs
    x, stride, depthwise = x.permute(0, 3, 1, 2), node.attributes['strides'][1], node.op != 'Conv2D'
    kernel = kernel.permute(2, 3, 0, 1) if depthwise else kernel.permute(3, 2, 0, 1)
    pads = []
    for side, size in ((x.shape[3], kernel.shape[3]), (x.shape[2], kernel.shape[2])):
        total = max((-(-side // stride) - 1) * stride + size - side, 0)  # TensorFlow's SAME
        pads += [total // 2, total - total // 2]
    groups = x.shape[1] if depthwise else 1
    return F.conv2d(F.pad(x, pads), kernel, stride=stride, groups=groups).permute(0, 2, 3, 1)
