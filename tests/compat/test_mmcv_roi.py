"""RoI and corner pooling, CARAFE, masked convolution, groups of boxes and softmax focal loss, by loops."""

import math

import numpy as np
import pytest
import torch
from mmcv.ops import (
    CARAFENaive,
    CARAFEPack,
    CornerPool,
    MaskedConv2d,
    RoIPool,
    carafe,
    carafe_naive,
    nms_match,
    roi_pool,
    softmax_focal_loss,
)
from support.devices import DEVICES
from torch.autograd import gradcheck

# The second lies half outside, the third is a point, the fourth turned around, the fifth beyond the image.
ROIS = torch.tensor(
    [
        [0, 2.0, 3.0, 19.4, 22.0],
        [1, -9.0, 1.0, 33.0, 9.6],
        [0, 8.3, 8.0, 8.3, 8.0],
        [1, 9, 9, 4, 4],
        [1, 60, 60, 70, 70],
    ]
)


def numbers(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def slow_roi_pool(features, rois, size, scale):
    """Maxima, and where they are; regions end after their last pixel, and only bins are rounded."""
    output, places = np.zeros((len(rois), features.shape[1], *size)), {}
    _, _, height, width = features.shape
    for k, c, i, j in np.ndindex(*output.shape):
        image, x1, y1, x2, y2 = (float(v) for v in rois[k])
        x1, y1, x2, y2 = x1 * scale, y1 * scale, (x2 + 1) * scale, (y2 + 1) * scale
        if x2 <= x1 or y2 <= y1:
            continue
        rows = range(
            max(math.floor(y1 + i * (y2 - y1) / size[0]), 0),
            min(math.ceil(y1 + (i + 1) * (y2 - y1) / size[0]), height),
        )
        columns = range(
            max(math.floor(x1 + j * (x2 - x1) / size[1]), 0),
            min(math.ceil(x1 + (j + 1) * (x2 - x1) / size[1]), width),
        )
        found = [
            (float(features[int(image), c, row, column]), row, column) for row in rows for column in columns
        ]
        if found:
            output[k, c, i, j], row, column = max(found, key=lambda item: item[0])
            places[k, c, i, j] = int(image), c, row, column
    return output, places


@pytest.mark.parametrize('device', DEVICES)
def test_roi_pool_and_its_gradient(device):
    features = numbers(2, 3, 7, 8)
    expected, places = slow_roi_pool(features, ROIS.double(), (3, 2), 0.25)
    variable = features.to(device).requires_grad_()
    output = RoIPool((3, 2), 0.25)(variable, ROIS.double().to(device))
    np.testing.assert_array_equal(output.detach().cpu().numpy(), expected)
    weights = numbers(*output.shape, seed=1)
    (output * weights.to(device)).sum().backward()
    gradient = np.zeros(features.shape)
    for bin_, place in places.items():
        gradient[place] += float(weights[bin_])
    np.testing.assert_allclose(variable.grad.cpu().numpy(), gradient, atol=1e-12)


def test_the_gradient_of_roi_pool_is_the_numerical_one():
    features = torch.arange(48, dtype=torch.float64).flip(0).view(1, 2, 4, 6).requires_grad_()
    rois = torch.tensor([[0, 1.0, 2.0, 17.0, 11.0], [0, 4.0, 0.0, 23.0, 15.0]], dtype=torch.float64)
    assert gradcheck(lambda f: roi_pool(f, rois, (2, 2), 0.25), (features,))


def test_gradients_in_half_precision_are_summed_in_single():
    """Of ones, half precision adds up no more than 2048."""
    features = torch.ones(1, 1, 2, 2, dtype=torch.half, requires_grad=True)
    roi_pool(features, torch.tensor([[0, 0, 0, 0, 0]]).half().repeat(4096, 1), 1, 1.0).sum().backward()
    assert features.grad.sum() == 4096


def slow_carafe(features, masks, kernel, groups, scale):
    n, channels, height, width = features.shape
    output = np.zeros((n, channels, height * scale, width * scale))
    for image, c, i, j in np.ndindex(*output.shape):
        group = c // (channels // groups)
        for a in range(kernel):
            for b in range(kernel):
                row, column = i // scale + a - kernel // 2, j // scale + b - kernel // 2
                if 0 <= row < height and 0 <= column < width:
                    mask = masks[image, group * kernel**2 + a * kernel + b, i, j]
                    output[image, c, i, j] += float(features[image, c, row, column] * mask)
    return output


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('memory', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('function', [carafe, carafe_naive])
def test_carafe(function, memory, device):
    features, masks = numbers(2, 4, 3, 5), numbers(2, 18, 6, 10, seed=1)
    given = [tensor.to(device).contiguous(memory_format=memory) for tensor in (features, masks)]
    expected = slow_carafe(features, masks, 3, 2, 2)
    np.testing.assert_allclose(function(*given, 3, 2, 2).cpu().numpy(), expected, atol=1e-12)


@pytest.mark.parametrize('function', [carafe, carafe_naive])
def test_the_gradients_of_carafe(function):
    features, masks = numbers(1, 2, 2, 3).requires_grad_(), numbers(1, 18, 4, 6, seed=1).requires_grad_()
    assert gradcheck(lambda f, m: function(f, m, 3, 2, 2), (features, masks))


def test_a_pack_of_carafe_keeps_a_flat_image_inside():
    """Its masks sum to one, whatever its weights are."""
    layer = CARAFEPack(4, 2)
    output = layer(torch.full((1, 4, 8, 8), 3.0))
    torch.testing.assert_close(output[:, :, 4:-4, 4:-4], torch.full((1, 4, 8, 8), 3.0))
    naive = CARAFENaive(5, 1, 2)(torch.ones(1, 4, 8, 8), torch.full((1, 25, 16, 16), 1 / 25))
    torch.testing.assert_close(naive[:, :, 4:-4, 4:-4], torch.ones(1, 4, 8, 8))


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('places', [[], [(0, 0), (2, 3), (4, 5)]])
def test_masked_conv_is_the_convolution_at_places_of_the_mask(places, device):
    layer, image = MaskedConv2d(3, 4, (3, 3), padding=1).to(device).eval(), torch.randn(1, 3, 5, 6).to(device)
    mask = torch.zeros(1, 5, 6).to(device)
    for row, column in places:
        mask[0, row, column] = 1
    with torch.no_grad():
        torch.testing.assert_close(layer(image, mask), layer(image) * mask, atol=1e-5, rtol=1e-4)


def test_masked_conv_with_another_kernel():
    layer, image = MaskedConv2d(2, 3, (1, 3), padding=(0, 1)), torch.randn(1, 2, 4, 5)
    mask = (torch.arange(20).view(1, 4, 5) % 3 == 0).float()
    with torch.no_grad():
        torch.testing.assert_close(layer(image, mask), layer(image) * mask, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize('mode', ['top', 'bottom', 'left', 'right'])
def test_corner_pool(mode):
    image = numbers(2, 3, 4, 5)
    output = CornerPool(mode)(image)
    for n, c, i, j in np.ndindex(*image.shape):
        seen = {
            'top': image[n, c, i:, j],
            'bottom': image[n, c, : i + 1, j],
            'left': image[n, c, i, j:],
            'right': image[n, c, i, : j + 1],
        }[mode]
        assert output[n, c, i, j] == seen.max()


def test_nms_match():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 20, (40, 2))
    boxes = np.hstack([corner, corner + rng.uniform(5, 15, (40, 2)), rng.uniform(size=(40, 1))])

    def overlap(a, b):
        sides = np.minimum(a[2:4], b[2:4]) - np.maximum(a[:2], b[:2])
        inter = np.prod(np.maximum(sides, 0))
        return inter / (np.prod(a[2:4] - a[:2]) + np.prod(b[2:4] - b[:2]) - inter)

    expected = []
    for i in np.argsort(-boxes[:, 4]):
        group = next((g for g in expected if overlap(boxes[g[0]], boxes[i]) >= 0.3), None)
        if group is None:
            expected.append([int(i)])
        else:
            group.append(int(i))
    assert [group.tolist() for group in nms_match(boxes, 0.3)] == expected
    assert [group.tolist() for group in nms_match(torch.tensor(boxes), 0.3)] == expected
    assert nms_match(boxes[:0], 0.3) == []


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('weighted', [False, True])
def test_softmax_focal_loss_and_its_gradient(weighted, device):
    logits, target = (numbers(5, 4) * 2).to(device).requires_grad_(), torch.tensor([0, 3, 1, 2, 0]).to(device)
    weight = torch.rand(4, dtype=torch.float64).to(device) if weighted else None
    loss = softmax_focal_loss(logits, target, 2.0, 0.25, weight, 'none')
    for n, label in enumerate(target.tolist()):
        powers = [math.exp(v) for v in logits[n].tolist()]
        p = powers[label] / sum(powers)
        expected = -0.25 * (1 - p) ** 2 * math.log(p) * (1 if weight is None else float(weight[label]))
        assert loss[n].item() == pytest.approx(expected)
    assert gradcheck(lambda x: softmax_focal_loss(x.clone(), target, 2.0, 0.25, weight, 'sum'), (logits,))


@pytest.mark.parametrize('dtype', [torch.float, torch.half])
@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
def test_softmax_focal_loss_of_sure_logits_is_finite(gamma, dtype):
    logits = torch.tensor([[60.0, 0.0], [-60.0, 0.0]], dtype=dtype).requires_grad_()
    loss = softmax_focal_loss(logits.clone(), torch.tensor([0, 0]), gamma, 0.25, None, 'sum')
    assert loss.item() == pytest.approx(15, rel=0.5)
    loss.backward()
    assert logits.grad.isfinite().all()
    assert logits.grad[0].tolist() == pytest.approx([0, 0], abs=1e-6)
