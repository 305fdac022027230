"""Deformable convolution, pooling and attention against loops written from the papers."""

import functools

import numpy as np
import pytest
import torch
from mmcv.ops import (
    DeformConv2d,
    DeformConv2dPack,
    DeformRoIPoolPack,
    ModulatedDeformConv2dPack,
    deform_conv2d,
    deform_roi_pool,
    modulated_deform_conv2d,
)
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction
from support.devices import DEVICES
from torch.autograd import gradcheck
from torch.utils._python_dispatch import TorchDispatchMode


def numbers(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def sample(image, y, x):
    """Bilinear, with zeros around the image."""
    height, width = image.shape
    y0, x0 = int(np.floor(y)), int(np.floor(x))
    value = 0.0
    for row, column in ((y0, x0), (y0, x0 + 1), (y0 + 1, x0), (y0 + 1, x0 + 1)):
        if 0 <= row < height and 0 <= column < width:
            value += (1 - abs(y - row)) * (1 - abs(x - column)) * float(image[row, column])
    return value


STRIDE, PADDING, DILATION, GROUPS, OFFSET_GROUPS = (2, 1), (1, 2), (1, 2), 2, 2
SHAPES = {  # 4 channels in, 6 out, kernels of 3 rows and 2 columns
    'input': (2, 4, 6, 5),
    'offset': (2, 2 * OFFSET_GROUPS * 6, 3, 7),
    'mask': (2, OFFSET_GROUPS * 6, 3, 7),
    'weight': (6, 2, 3, 2),
    'bias': (6,),
}


def slow_convolution(input, offset, weight, mask=None, bias=None):
    """Offsets of element e in group g are channels 2 * (g * 6 + e) for y and the next one for x."""
    output = np.zeros((len(input), *SHAPES['bias'], *offset.shape[2:]))
    for n, out, i, j in np.ndindex(*output.shape):
        total = 0.0 if bias is None else float(bias[out])
        for c, a, b in np.ndindex(*weight.shape[1:]):
            channel = out // (6 // GROUPS) * 2 + c
            tap = channel // (4 // OFFSET_GROUPS) * 6 + a * 2 + b
            y = i * STRIDE[0] - PADDING[0] + a * DILATION[0] + float(offset[n, 2 * tap, i, j])
            x = j * STRIDE[1] - PADDING[1] + b * DILATION[1] + float(offset[n, 2 * tap + 1, i, j])
            factor = 1 if mask is None else float(mask[n, tap, i, j])
            total += float(weight[out, c, a, b]) * factor * sample(input[n, channel], y, x)
        output[n, out, i, j] = total
    return output


@functools.cache
def operands():
    return {name: numbers(*shape, seed=seed) for seed, (name, shape) in enumerate(SHAPES.items())}


PLAIN = STRIDE, PADDING, DILATION, GROUPS, OFFSET_GROUPS


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('step', [1, 32])
def test_deform_conv(step, device):
    tensors = [operands()[name] for name in ('input', 'offset', 'weight')]
    output = deform_conv2d(*(tensor.to(device) for tensor in tensors), *PLAIN, False, step)
    np.testing.assert_allclose(output.cpu().numpy(), slow_convolution(*tensors), atol=1e-9)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('with_bias', [True, False])
def test_modulated_deform_conv(with_bias, device):
    known = operands()
    bias = known['bias'] if with_bias else None
    output = modulated_deform_conv2d(
        *(known[name].to(device) for name in ('input', 'offset', 'mask', 'weight')),
        bias if bias is None else bias.to(device),
        *PLAIN,
    )
    expected = slow_convolution(known['input'], known['offset'], known['weight'], known['mask'], bias)
    np.testing.assert_allclose(output.cpu().numpy(), expected, atol=1e-9)


def small(name):
    """A part of the operands, for one image and one output row: gradcheck goes through every number."""
    tensor = operands()[name]
    return tensor if name in ('weight', 'bias') else tensor[:1, :, : 3 if name == 'input' else 1]


def variables(*names):
    return [small(name).clone().requires_grad_() for name in names]


def test_the_gradients_of_deform_conv():
    def run(*tensors):
        return deform_conv2d(*tensors, (2, 1), (0, 2), (1, 2), GROUPS, OFFSET_GROUPS)

    assert gradcheck(run, variables('input', 'offset', 'weight'))
    input, offset, weight = variables('input', 'offset', 'weight')
    whole = torch.autograd.grad(run(input, offset, weight).square().sum(), [input, offset, weight])
    alone = torch.autograd.grad(run(input.detach(), offset.detach(), weight).square().sum(), weight)
    torch.testing.assert_close(alone[0], whole[2])


def test_the_gradient_of_the_weights_is_of_its_own_backward_pass():
    """That of the pass before, which asked for the input's alone, is not taken."""
    input, offset, weight = variables('input', 'offset', 'weight')
    output = deform_conv2d(input, offset, weight, (2, 1), (0, 2), (1, 2), GROUPS, OFFSET_GROUPS)
    expected = torch.autograd.grad(output, weight, torch.ones_like(output), retain_graph=True)[0]
    torch.autograd.grad(output, input, torch.full_like(output, 7), retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(output, weight, torch.ones_like(output))[0], expected)


@pytest.mark.parametrize('names', [('weight', 'bias'), ('weight',)])
def test_the_gradients_of_modulated_deform_conv(names):
    def run(input, offset, mask, weight, bias=None):
        return modulated_deform_conv2d(input, offset, mask, weight, bias, (2, 1), (0, 2), (1, 2), 2, 2)

    assert gradcheck(run, variables('input', 'offset', 'mask', *names))


def test_samples_for_a_larger_output_are_read_in_their_order():
    """DyHead's: as mmcv, which looks at the output's size alone."""
    input, offset, mask, weight = variables('input', 'offset', 'mask', 'weight')
    arguments = None, (2, 1), (0, 2), (1, 2), 2, 2
    expected = modulated_deform_conv2d(input, offset, mask, weight, *arguments)
    known = torch.autograd.grad(expected.sum(), [offset, mask])

    def grown(samples):
        rest = torch.zeros(1, samples.shape[1] * 7)
        flat = torch.cat([samples.detach().flatten(1), rest.double()], 1)
        return flat.view(1, samples.shape[1], 2, 7).requires_grad_()

    larger = grown(offset), grown(mask)
    output = modulated_deform_conv2d(input, *larger, weight, *arguments)
    torch.testing.assert_close(output, expected)
    for gradient, own in zip(torch.autograd.grad(output.sum(), larger), known, strict=True):
        flat = gradient.flatten()
        torch.testing.assert_close(flat[: own.numel()], own.flatten())
        assert not flat[own.numel() :].any()


def test_half_precision_is_computed_in_single():
    tensors = [small(name) for name in ('input', 'offset', 'weight')]
    expected = deform_conv2d(*tensors, (2, 1), (0, 2), (1, 2), 2, 2)
    output = deform_conv2d(*(tensor.half() for tensor in tensors), (2, 1), (0, 2), (1, 2), 2, 2)
    assert output.dtype == torch.half
    torch.testing.assert_close(output.double(), expected, atol=0.02, rtol=0.01)


@pytest.mark.parametrize(
    ('layer', 'keys'),
    [
        (DeformConv2d(4, 6, 3, bias=False), ['weight']),
        (DeformConv2dPack(4, 6, 3, padding=1), ['weight', 'conv_offset.weight', 'conv_offset.bias']),
        (
            ModulatedDeformConv2dPack(4, 6, 3, padding=1),
            ['weight', 'bias', 'conv_offset.weight', 'conv_offset.bias'],
        ),
    ],
)
def test_weights_have_mmcvs_names(layer, keys):
    assert list(layer.state_dict()) == keys


@pytest.mark.parametrize('kind', [DeformConv2dPack, ModulatedDeformConv2dPack])
def test_a_new_pack_is_a_convolution(kind):
    """Its offsets are zero, and its masks one half where there are any."""
    layer, images = kind(4, 6, 3, padding=1, deform_groups=2), torch.randn(2, 4, 7, 7)
    plain = torch.nn.functional.conv2d(images, layer.weight, padding=1)
    expected = plain if kind is DeformConv2dPack else plain / 2
    torch.testing.assert_close(layer(images), expected, atol=1e-5, rtol=1e-4)
    layer(images).sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())


def test_offsets_of_another_number_of_groups_are_refused():
    known = operands()
    with pytest.raises(RuntimeError, match='offset'):
        deform_conv2d(known['input'], known['offset'], known['weight'], *PLAIN[:4], 1)


def clamped_sample(image, y, x):
    """Bilinear; the border goes on for one pixel."""
    height, width = image.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    return sample(image, min(max(y, 0), height - 1), min(max(x, 0), width - 1))


ROIS = torch.tensor([[0, 2.0, 3.0, 19.0, 22.0], [1, -3.0, 1.0, 30.0, 9.0], [0, 8.3, 8.0, 12.1, 11.0]])


def slow_deform_roi_pool(features, rois, offset, size, scale, ratio, gamma):
    output = np.zeros((len(rois), features.shape[1], *size))
    for k, c, i, j in np.ndindex(*output.shape):
        x1, y1, x2, y2 = (float(v) * scale - 0.5 for v in rois[k, 1:])
        rows = ratio or int(np.ceil((y2 - y1) / size[0]))
        columns = ratio or int(np.ceil((x2 - x1) / size[1]))
        dx, dy = (0, 0) if offset is None else (float(v) * gamma for v in offset[k, :, i, j])
        values = [
            clamped_sample(
                features[int(rois[k, 0]), c],
                y1 + (y2 - y1) * (dy + (i + (a + 0.5) / rows) / size[0]),
                x1 + (x2 - x1) * (dx + (j + (b + 0.5) / columns) / size[1]),
            )
            for a in range(rows)
            for b in range(columns)
        ]
        output[k, c, i, j] = np.mean(values)
    return output


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('moved', [True, False])
@pytest.mark.parametrize('ratio', [0, 2])
def test_deform_roi_pool(ratio, moved, device):
    features = numbers(2, 3, 7, 8)
    offset = numbers(3, 2, 2, 3, seed=1) if moved else None
    arguments = (2, 3), 0.25, ratio, 0.5
    output = deform_roi_pool(
        features.to(device), ROIS.double().to(device), offset.to(device) if moved else None, *arguments
    )
    expected = slow_deform_roi_pool(features, ROIS.double(), offset, *arguments)
    np.testing.assert_allclose(output.cpu().numpy(), expected, atol=1e-9)


@pytest.mark.parametrize('ratio', [0, 1])
def test_the_gradients_of_deform_roi_pool(ratio):
    features, offset = numbers(2, 2, 4, 4).requires_grad_(), numbers(3, 2, 2, 2, seed=1).requires_grad_()
    rois = ROIS.double() * torch.tensor([1, 0.4, 0.4, 0.4, 0.4])
    assert gradcheck(lambda f, o: deform_roi_pool(f, rois, o, (2, 2), 0.25, ratio, 0.1), (features, offset))
    assert gradcheck(lambda f: deform_roi_pool(f, rois, None, (2, 2), 0.25, ratio), (features,))


class Largest(TorchDispatchMode):
    """Counts the numbers of the largest tensor that is made."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.count = max(self.count, made.untyped_storage().nbytes() // made.element_size())
        return made


def test_deform_roi_pool_does_not_copy_the_map_for_each_region():
    features = torch.randn(1, 8, 64, 64, requires_grad=True)
    rois = torch.tensor([[0, 4.0, 8.0, 60.0, 50.0]]).repeat(40, 1)
    with Largest() as largest:
        deform_roi_pool(features, rois, torch.zeros(40, 2, 2, 2), (2, 2), 1.0, 1).sum().backward()
    assert largest.count == features.numel()


def test_a_deformable_pool_learns_its_offsets():
    layer = DeformRoIPoolPack((2, 2), 3, deform_fc_channels=8, spatial_scale=0.25)
    layer(torch.randn(2, 3, 7, 8), ROIS).square().sum().backward()
    assert layer.offset_fc[-1].weight.grad.abs().sum() > 0


LEVELS = torch.tensor([[3, 4], [2, 2]])


def slow_attention(value, locations, weights):
    images, _, heads, channels = value.shape
    queries = locations.shape[1]
    output = np.zeros((images, queries, heads, channels))
    for n, q, h, level, point in np.ndindex(*weights.shape):
        height, width = LEVELS[level].tolist()
        start = 0 if level == 0 else 12
        image = value[n, start : start + height * width, h].T.reshape(channels, height, width)
        x, y = locations[n, q, h, level, point].tolist()
        for c in range(channels):
            found = sample(image[c], y * height - 0.5, x * width - 0.5)
            output[n, q, h, c] += float(weights[n, q, h, level, point]) * found
    return output.reshape(images, queries, heads * channels)


@pytest.mark.parametrize('device', DEVICES)
def test_deformable_attention_as_cuda_calls_it(device):
    value, weights = numbers(1, 16, 2, 2), numbers(1, 2, 2, 2, 2, seed=1)
    locations = numbers(1, 2, 2, 2, 2, 2, seed=2) * 0.3 + 0.5
    starts = torch.tensor([0, 12])

    def run(value, locations, weights):
        arguments = LEVELS.to(device), starts.to(device), locations, weights, 64
        return MultiScaleDeformableAttnFunction.apply(value, *arguments)

    expected = slow_attention(value, locations, weights)
    moved = [tensor.to(device).requires_grad_() for tensor in (value, locations, weights)]
    np.testing.assert_allclose(run(*moved).detach().cpu().numpy(), expected, atol=1e-9)
    assert gradcheck(run, moved)


def test_attention_in_half_precision_is_computed_in_single():
    value, weights = numbers(1, 16, 2, 2).half(), numbers(1, 2, 2, 2, 2, seed=1).half()
    locations = (numbers(1, 2, 2, 2, 2, 2, seed=2) * 0.3 + 0.5).half()
    grids = LEVELS, torch.tensor([0, 12])
    halves = [tensor.requires_grad_() for tensor in (value, locations, weights)]
    singles = [tensor.detach().float().requires_grad_() for tensor in halves]
    outputs = []
    for moved, places, factors in (halves, singles):
        output = MultiScaleDeformableAttnFunction.apply(moved, *grids, places, factors, 64)
        output.sum().backward()
        outputs.append(output)
    assert torch.equal(outputs[0], outputs[1].half())
    for half, wide in zip(halves, singles, strict=True):
        assert torch.equal(half.grad, wide.grad.half())
