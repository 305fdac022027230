import itertools

import numpy as np
import pytest
import torch
from torch import nn

from mbv1_backbone.models.layers import (
    Conv2dSame,
    build_activation,
    build_norm,
    folded,
    make_divisible,
    same_padding,
)
from mbv1_backbone.models.mobilenet_v1 import MobileNetV1

TABLE_CHANNELS = (32, 64, 128, 256, 512, 1024)


@pytest.mark.parametrize('factor', [1.0, 0.75, 0.5, 0.25])
def test_paper_widths_are_exact(factor):
    assert [make_divisible(c * factor) for c in TABLE_CHANNELS] == [int(c * factor) for c in TABLE_CHANNELS]


def test_rounding_gives_multiples_of_8_and_keeps_nine_tenths():
    for channels in np.linspace(1, 1500, 400):
        rounded = make_divisible(channels)
        assert rounded % 8 == 0
        assert rounded >= 0.9 * channels
        assert abs(rounded - channels) <= 8


@pytest.mark.parametrize(
    ('size', 'kernel', 'stride'), [*itertools.product(range(1, 12), (1, 3, 5), (1, 2, 3))]
)
def test_same_padding_gives_ceil_outputs_with_the_odd_pixel_at_the_end(size, kernel, stride):
    before, after = same_padding(size, kernel, stride)
    assert (size + before + after - kernel) // stride + 1 == -(-size // stride)
    assert after - before in (0, 1)


def naive_same_convolution(image, weight, stride):
    """One channel, written from TensorFlow's definition with loops."""
    height, width = image.shape
    k = weight.shape[0]
    rows, columns = -(-height // stride), -(-width // stride)
    top = max((rows - 1) * stride + k - height, 0) // 2
    left = max((columns - 1) * stride + k - width, 0) // 2
    output = np.zeros((rows, columns))
    for i, j, a, b in itertools.product(range(rows), range(columns), range(k), range(k)):
        y, x = i * stride + a - top, j * stride + b - left
        if 0 <= y < height and 0 <= x < width:
            output[i, j] += image[y, x] * weight[a, b]
    return output


@pytest.mark.parametrize(
    ('height', 'width', 'stride'), [(7, 8, 1), (7, 8, 2), (8, 7, 2), (8, 8, 2), (9, 5, 3)]
)
def test_conv2d_same_equals_tensorflows_definition(height, width, stride):
    conv = Conv2dSame(1, 1, 3, stride, bias=False)
    image = torch.randn(height, width)
    expected = naive_same_convolution(image.numpy(), conv.weight[0, 0].detach().numpy(), stride)
    np.testing.assert_allclose(conv(image[None, None])[0, 0].detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(
    ('cfg', 'kind'),
    [
        (dict(type='BN', momentum=0.03), nn.BatchNorm2d),
        (dict(type='SyncBN'), nn.SyncBatchNorm),
        (dict(type='GN', num_groups=8), nn.GroupNorm),
        (dict(type='LN2d'), nn.LayerNorm),  # mmpretrain's, by the registry
    ],
)
def test_norms_are_built_by_openmmlab_names(cfg, kind):
    if cfg['type'] == 'LN2d':
        pytest.importorskip('mmpretrain.models')
        cfg = dict(type='mmpretrain.LN2d')
    assert isinstance(build_norm(cfg, 16), kind)


def test_norm_requires_grad_is_obeyed():
    norm = build_norm(dict(type='BN', requires_grad=False), 8)
    assert not any(p.requires_grad for p in norm.parameters())


@pytest.mark.parametrize('name', ['ReLU', 'ReLU6', 'LeakyReLU', 'Hardswish', 'GELU'])
def test_activations_are_built_by_name(name):
    assert isinstance(build_activation(dict(type=name)), getattr(nn, name))


@pytest.mark.parametrize(
    ('build', 'rule'), [(lambda c: build_norm(c, 8), 'norm_cfg'), (build_activation, 'act_cfg')]
)
@pytest.mark.parametrize('kind', ['Nonsense', None, 3])
def test_unknown_layers_are_refused_with_the_value(build, rule, kind):
    with pytest.raises(ValueError, match=f'{rule} type must be .*{kind!r}'):
        build(dict(type=kind))


def test_one_value_a_channel_is_normalised_by_running_statistics():
    norm = build_norm(dict(type='SteadyBN', eps=1e-3, momentum=0.03), 4).train()
    norm.running_mean.uniform_()
    norm.running_var.uniform_(0.5, 2)
    image, before = torch.randn(1, 4, 1, 1, requires_grad=True), norm.running_mean.clone()
    expected = (image[0, :, 0, 0] - norm.running_mean) / (norm.running_var + 1e-3).sqrt()
    torch.testing.assert_close(norm(image)[0, :, 0, 0], expected)
    assert torch.equal(norm.running_mean, before)
    norm(image).sum().backward()
    assert image.grad.abs().sum() > 0


def test_more_values_are_normalised_by_the_batch():
    steady, plain = build_norm(dict(type='SteadyBN'), 4).train(), nn.BatchNorm2d(4).train()
    image = torch.randn(2, 4, 1, 1)
    torch.testing.assert_close(steady(image), plain(image))
    torch.testing.assert_close(steady.running_var, plain.running_var)


@pytest.mark.parametrize('padding', ['symmetric', 'same'])
def test_folded_networks_answer_the_same_without_batch_norm(padding):
    torch.manual_seed(0)
    net = MobileNetV1(0.25, out_indices=(5, 13), padding=padding).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 2)
            torch.nn.init.normal_(module.bias)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    fast = folded(net)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in fast.modules())
    images = torch.rand(2, 3, 65, 97)
    with torch.inference_mode():
        for ours, right in zip(fast(images), net(images), strict=True):
            torch.testing.assert_close(ours, right, atol=1e-3, rtol=1e-3)
    for name, tensor in net.state_dict().items():  # the network itself is left alone
        assert torch.equal(tensor, before[name])


def test_units_of_mmcv_are_folded_too():
    from mmcv.cnn import ConvModule

    unit = ConvModule(3, 8, 3, norm_cfg=dict(type='BN')).eval()
    unit.bn.running_mean.normal_()
    fast = folded(unit)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in fast.modules())
    images = torch.rand(1, 3, 9, 9)
    torch.testing.assert_close(fast(images), unit(images))
