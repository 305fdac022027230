"""TensorFlow.js weights, by what the file's own graph computes."""

import base64
import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.inference.loading import load
from mbv1_backbone.weights import import_weights
from mbv1_backbone.weights.recalibrate import build_network
from mbv1_backbone.weights.tfjs import read_tensors

NETWORK = 'face_mobilenetv1_vggface2_tfjs/faceres.json'


def same_conv(x, kernel, stride, groups):
    """A convolution (N, C, H, W) with TensorFlow's SAME padding."""
    size = kernel.shape[-1]
    total = [max((-(-side // stride) - 1) * stride + size - side, 0) for side in x.shape[2:]]
    top, left = (value // 2 for value in total)
    padded = F.pad(x, (left, total[1] - left, top, total[0] - top))
    return F.conv2d(padded, kernel, stride=stride, groups=groups)


def run_graph(path, image):
    """The pooled features that the nodes of a graph model compute, one by one."""
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in read_tensors(path).items()}
    values = {'input_1': image}
    for node in json.loads(path.read_text())['modelTopology']['node']:
        name, inputs = node['name'], node.get('input', [])
        if node['op'] in ('Const', 'Placeholder'):
            values.setdefault(name, tensors.get(name))
            continue
        a, b = (values[i] for i in inputs) if len(inputs) == 2 else (values[inputs[0]], None)
        if node['op'] in ('Conv2D', 'DepthwiseConv2dNative'):
            assert base64.b64decode(node['attr']['padding']['s']) == b'SAME'
            stride = int(node['attr']['strides']['list']['i'][1])
            depthwise = node['op'] != 'Conv2D'
            kernel = b.permute(2, 3, 0, 1) if depthwise else b.permute(3, 2, 0, 1)
            values[name] = same_conv(a, kernel, stride, len(kernel) if depthwise else 1)
        elif node['op'] in ('Add', 'Mul', 'Minimum', 'Maximum'):
            b = b.view(-1, 1, 1) if b.ndim else b
            values[name] = dict(Add=a.add, Mul=a.mul, Minimum=a.minimum, Maximum=a.maximum)[node['op']](b)
        elif node['op'] == 'Relu':
            values[name] = a.relu()
        elif node['op'] == 'Mean':
            return a.mean((2, 3))
    raise AssertionError('the graph has no pooling')


@pytest.fixture
def tiny(tmp_path):
    """A manifest of one tensor in two shards, stored in 8 bits."""
    stored = np.arange(6, dtype=np.uint8)
    (tmp_path / 'a.bin').write_bytes(stored[:4].tobytes())
    (tmp_path / 'b.bin').write_bytes(stored[4:].tobytes())
    quantised = dict(dtype='uint8', scale=0.5, min=-1.0)
    entry = dict(name='x', shape=[2, 3], dtype='float32', quantization=quantised)
    path = tmp_path / 'weights_manifest.json'
    path.write_text(json.dumps([dict(paths=['a.bin', 'b.bin'], weights=[entry])]))
    return path


def test_features_are_those_of_the_files_own_graph(shared):
    weights = import_weights(shared / 'weights' / NETWORK)
    network = build_network(weights).eval()
    rgb = torch.randint(0, 256, (2, 3, 96, 96)).float()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (weights.recipe.mean, weights.recipe.std))
    means = torch.tensor([103.939, 116.779, 123.68]).view(3, 1, 1)
    with torch.no_grad():
        theirs = run_graph(shared / 'weights' / NETWORK, rgb.flip(1) - means)
        ours = network((rgb - mean) / std)
    assert ours.shape == theirs.shape == (2, 1024)
    assert theirs.std() > 0.05
    assert (ours - theirs).abs().max() < 1e-4 * theirs.abs().max()


@pytest.mark.parametrize('backend', ['torch', 'openvino'])
def test_embeddings_are_the_pooled_features_of_the_files_own_graph(backend, shared):
    pytest.importorskip(backend)
    path = shared / 'weights' / NETWORK
    embedder = load(path, backend=backend, precision='fp32', kind='embedder', finder=None)
    assert (embedder.input_size, embedder.dims) == (258, 1024)
    image = torch.randint(0, 256, (258, 258, 3), dtype=torch.uint8)
    found = embedder.embed(image.numpy()).vectors
    top, left, side = import_weights(path).recipe.window
    seen = image[top : top + side, left : left + side].permute(2, 0, 1)[None].float()
    means = torch.tensor([103.939, 116.779, 123.68]).view(3, 1, 1)
    with torch.no_grad():
        expected = F.normalize(run_graph(path, seen.flip(1) - means))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_shards_are_joined_and_dequantised(tiny):
    expected = np.arange(6, dtype=np.float32).reshape(2, 3) * 0.5 - 1
    assert read_tensors(tiny)['x'] == pytest.approx(expected)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda m: m[0]['weights'][0].update(shape=[3, 3]), 'too short'),
        (lambda m: m[0]['weights'][0].update(shape=[2, 2]), 'hold 6 bytes'),
        (lambda m: m[0]['weights'][0].pop('shape'), 'damaged entry'),
        (lambda m: m[0]['weights'][0].update(dtype='string', quantization=None), 'damaged entry'),
        (lambda m: m[0].update(paths=['../a.bin']), 'beside it'),
        (lambda m: m[0].update(paths=['c.bin']), 'cannot be read'),
        (lambda m: m[0].pop('paths'), 'no weights manifest'),
    ],
)
def test_a_damaged_manifest_is_one_line(tiny, change, message):
    manifest = json.loads(tiny.read_text())
    change(manifest)
    tiny.write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=message):
        read_tensors(tiny)


def test_another_network_is_refused(tiny):
    with pytest.raises(InputError, match='neither the VGGFace2 MobileNetV1 nor an SSD'):
        import_weights(tiny)
