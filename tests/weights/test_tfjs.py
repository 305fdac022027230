"""TensorFlow.js weights, by what the file's own graph computes."""

import base64
import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.face.age_gender import gender_of
from mbv1_backbone.inference.age_gender import age_gender_model
from mbv1_backbone.inference.face_attributes import AttributeEstimator
from mbv1_backbone.inference.loading import load
from mbv1_backbone.weights import import_weights
from mbv1_backbone.weights.recalibrate import build_network
from mbv1_backbone.weights.tfjs import read_tensors
from mbv1_backbone.weights.tfjs_face import read_tfjs_age_gender

NETWORK = 'face_mobilenetv1_vggface2_tfjs/faceres.json'


def same_conv(x, kernel, stride, groups):
    """A convolution (N, C, H, W) with TensorFlow's SAME padding."""
    size = kernel.shape[-1]
    total = [max((-(-side // stride) - 1) * stride + size - side, 0) for side in x.shape[2:]]
    top, left = (value // 2 for value in total)
    padded = F.pad(x, (left, total[1] - left, top, total[0] - top))
    return F.conv2d(padded, kernel, stride=stride, groups=groups)


def run_graph(path, image, wanted='global_pooling/Mean'):
    """What a node of a graph model says, computed node by node."""
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in read_tensors(path).items()}
    values = {'input_1': image}
    for node in json.loads(path.read_text())['modelTopology']['node']:
        name = node['name']
        if node['op'] in ('Const', 'Placeholder'):
            values.setdefault(name, tensors.get(name))
        else:
            values[name] = run_node(node, *(values[i] for i in node['input']))
        if name == wanted:
            return values[name]
    raise AssertionError(f'the graph has no {wanted}')


def run_node(node, a, b=None, bias=None):
    if node['op'] in ('Conv2D', 'DepthwiseConv2dNative'):
        assert base64.b64decode(node['attr']['padding']['s']) == b'SAME'
        stride = int(node['attr']['strides']['list']['i'][1])
        depthwise = node['op'] != 'Conv2D'
        kernel = b.permute(2, 3, 0, 1) if depthwise else b.permute(3, 2, 0, 1)
        return same_conv(a, kernel, stride, len(kernel) if depthwise else 1)
    if node['op'] == '_FusedMatMul':
        fused = [base64.b64decode(name) for name in node['attr']['fused_ops']['list']['s']]
        assert fused in ([b'BiasAdd'], [b'BiasAdd', b'Relu'])
        return (a @ b + bias).relu() if len(fused) == 2 else a @ b + bias
    if node['op'] in ('Add', 'Mul', 'Minimum', 'Maximum'):
        b = b.view(-1, 1, 1) if b.ndim else b
        return dict(Add=a.add, Mul=a.mul, Minimum=a.minimum, Maximum=a.maximum)[node['op']](b)
    alone = dict(Relu=a.relu, Sigmoid=a.sigmoid)
    alone |= dict(Mean=lambda: a.mean((2, 3)), Softmax=lambda: a.softmax(-1))
    return alone[node['op']]()


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


def test_age_and_gender_are_those_of_the_files_own_graph(shared):
    path = shared / 'weights' / NETWORK
    estimator = AttributeEstimator.load(path)
    faces = np.random.default_rng(0).integers(0, 256, (3, 258, 258, 3), dtype=np.uint8)
    found = estimator.estimate(faces, batch_size=2)
    top, left, side = import_weights(path).recipe.window
    seen = torch.from_numpy(faces[:, top : top + side, left : left + side]).permute(0, 3, 1, 2).float()
    image = seen.flip(1) - torch.tensor([103.939, 116.779, 123.68]).view(3, 1, 1)
    with torch.no_grad():
        ages = run_graph(path, image, 'age_pred/Softmax').numpy()
        male = run_graph(path, image, 'gender_pred/Sigmoid').numpy()[:, 0]
    assert len({round(float(value), 4) for value in male}) == 3  # so that faces cannot be exchanged
    np.testing.assert_allclose([one.male for one in found], male, atol=1e-4)
    for one, probabilities in zip(found, ages, strict=True):
        first, second = np.sort(probabilities)[::-1][:2]
        years = [np.flatnonzero(probabilities == p)[0] + 1 for p in (first, second)]
        assert one.years == pytest.approx((first * years[0] + second * years[1]) / (first + second), abs=0.02)


def test_a_network_without_the_heads_has_no_age(shared, tiny):
    with pytest.raises(InputError, match='not the VGGFace2 MobileNetV1'):
        age_gender_model(tiny)
    with pytest.raises(InputError, match=r'no TensorFlow\.js model'):
        age_gender_model(tiny.with_name('a.bin'))
    with pytest.raises(InputError, match='no such file'):
        age_gender_model('nobody/nothing')
    tensors = read_tensors(shared / 'weights' / NETWORK)
    bare = {name: value for name, value in tensors.items() if not name.startswith('age_pred')}
    with pytest.raises(InputError, match='has no head age_pred'):
        read_tfjs_age_gender(bare, 'x.json')


@pytest.mark.parametrize(('male', 'gender'), [(0.59, 'female'), (0.6, 'male')])
def test_a_man_from_the_authors_bound(male, gender):
    assert gender_of(male) == gender


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
        (lambda m: m[0]['weights'][0].update(dtype=[]), 'damaged entry'),
        (lambda m: m[0]['weights'][0]['quantization'].pop('scale'), 'damaged entry'),
        (lambda m: m[0]['weights'][0]['quantization'].pop('dtype'), 'damaged entry'),
        (lambda m: m[0]['weights'][0]['quantization'].update(min=float('nan')), 'min of nan'),
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
