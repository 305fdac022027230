"""Each operator against a slow loop written from its definition, then mmdet's own configs on top."""

import importlib
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
import torchvision
from mmcv.ops import RoIAlign, batched_nms, nms, nms_match, soft_nms
from mmcv.ops.focal_loss import sigmoid_focal_loss
from mmcv.utils import collect_env, ext_loader
from support.devices import DEVICES
from torch.autograd import gradcheck

from mbv1_backbone.compat import mmcv_ext, roi_align


def random_boxes(n, seed=0, side=60.0):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, side, (n, 2))
    return torch.tensor(np.hstack([corner, corner + rng.uniform(1, 30, (n, 2))]), dtype=torch.float32)


def overlap(a, b, offset=0):
    width = min(a[2], b[2]) - max(a[0], b[0]) + offset
    height = min(a[3], b[3]) - max(a[1], b[1]) + offset
    inter = max(width, 0) * max(height, 0)
    area = [(x[2] - x[0] + offset) * (x[3] - x[1] + offset) for x in (a, b)]
    return inter / (sum(area) - inter)


def slow_nms(boxes, scores, threshold, offset):
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    kept = []
    for i in order:
        if all(overlap(boxes[i], boxes[j], offset) <= threshold for j in kept):
            kept.append(i)
    return kept


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('n', [0, 1, 2, 80])
def test_nms(n, offset, device):
    boxes, scores = random_boxes(n), torch.rand(n)
    _, kept = nms(boxes.to(device), scores.to(device), 0.4, offset=offset)
    assert kept.tolist() == slow_nms(boxes.tolist(), scores.tolist(), 0.4, offset)


def test_batched_nms_separates_classes():
    boxes = random_boxes(1).repeat(4, 1)
    detections, kept = batched_nms(
        boxes,
        torch.tensor([0.1, 0.4, 0.3, 0.2]),
        torch.tensor([0, 0, 1, 1]),
        dict(type='nms', iou_threshold=0.5),
    )
    assert kept.tolist() == [1, 2]
    assert detections[:, 4].tolist() == pytest.approx([0.4, 0.3])


def slow_soft_nms(boxes, scores, threshold, sigma, min_score, method, offset):
    """The loop of https://arxiv.org/abs/1704.04503, figure 2."""
    left, result = dict(enumerate(scores)), []
    while left:
        best = max(left, key=lambda i: left[i])
        result.append((best, left.pop(best)))
        for i in list(left):
            iou = overlap(boxes[best], boxes[i], offset)
            if method == 'gaussian':
                left[i] *= math.exp(-(iou**2) / sigma)
            elif iou >= threshold:
                left[i] *= 1 - iou if method == 'linear' else 0
            if left[i] < min_score:
                del left[i]
    return result


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
@pytest.mark.parametrize('n', [0, 1, 60])
def test_soft_nms(n, method, offset):
    boxes, scores = random_boxes(n), torch.rand(n) * 0.9 + 0.05
    detections, kept = soft_nms(boxes, scores, 0.3, sigma=0.5, min_score=1e-3, method=method, offset=offset)
    expected = slow_soft_nms(boxes.tolist(), scores.tolist(), 0.3, 0.5, 1e-3, method, offset)
    assert kept.tolist() == [i for i, _ in expected]
    assert detections[:, 4].tolist() == pytest.approx([s for _, s in expected], abs=1e-5)
    assert torch.equal(detections[:, :4], boxes[kept])


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('threshold', [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
def test_an_overlap_of_the_threshold(threshold, device):
    """As in mmcv's code: nms drops greater ones alone, soft_nms and nms_match those of the threshold too."""
    boxes = torch.tensor([[0, 0, 10, 10], [0, 0, round(10 * threshold), 10]]).float().to(device)
    scores = torch.tensor([0.9, 0.8]).to(device)
    assert nms(boxes, scores, threshold)[1].tolist() == [0, 1]
    assert soft_nms(boxes, scores, threshold, method='naive')[1].tolist() == [0]
    [group] = nms_match(torch.cat([boxes, scores[:, None]], 1), threshold)
    assert group.tolist() == [0, 1]


@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
def test_soft_nms_keeps_points(method):
    points, scores = torch.tensor([[3.0, 1.0, 3.0, 1.0]] * 3), torch.tensor([0.5, 0.4, 0.3])
    detections, kept = soft_nms(points, scores, 0.3, method=method)
    assert kept.tolist() == [0, 1, 2]
    assert torch.equal(detections[:, 4], scores)


def bilinear(image, y, x):
    height, width = image.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = max(y, 0), max(x, 0)
    y0, x0 = min(int(y), height - 1), min(int(x), width - 1)
    y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
    dy, dx = (y - y0 if y0 < height - 1 else 0), (x - x0 if x0 < width - 1 else 0)
    top = image[y0, x0] * (1 - dx) + image[y0, x1] * dx
    return top * (1 - dy) + (image[y1, x0] * (1 - dx) + image[y1, x1] * dx) * dy


def slow_roi_align(features, rois, size, scale, sampling, aligned):
    """From section 3 of https://arxiv.org/abs/1703.06870: the mean of samples in each bin."""
    output = np.zeros((len(rois), features.shape[1], size, size))
    for k, (index, *box) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (v * scale - (0.5 if aligned else 0) for v in box)
        width, height = x2 - x1, y2 - y1
        if not aligned:
            width, height = max(width, 1), max(height, 1)
        ny = sampling if sampling > 0 else math.ceil(height / size)
        nx = sampling if sampling > 0 else math.ceil(width / size)
        for c, i, j in np.ndindex(features.shape[1], size, size):
            samples = [
                bilinear(
                    features[int(index), c].numpy(),
                    y1 + (i + (a + 0.5) / ny) * height / size,
                    x1 + (j + (b + 0.5) / nx) * width / size,
                )
                for a in range(ny)
                for b in range(nx)
            ]
            output[k, c, i, j] = np.mean(samples)
    return torch.tensor(output, dtype=torch.float32)


ROIS = torch.tensor([[0, 2.0, 3.0, 30.0, 25.0], [1, -4.0, 0.0, 70.0, 50.0], [1, 10.0, 10.0, 10.5, 10.2]])


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('sampling', [0, 2])
def test_roi_align(sampling, aligned, device):
    features = torch.randn(2, 3, 12, 14)
    layer = RoIAlign(3, 0.25, sampling, aligned=aligned)
    result = layer(features.to(device), ROIS.to(device)).cpu()
    expected = slow_roi_align(features, ROIS, 3, 0.25, sampling, aligned)
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize('device', DEVICES)
def test_roi_align_gradient_is_the_numerical_one(device):
    features = torch.randn(2, 1, 6, 6, dtype=torch.float64).to(device).requires_grad_()
    layer, rois = RoIAlign(2, 0.25, 2), ROIS.double().to(device)
    assert gradcheck(lambda x: layer(x, rois), (features,))


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('sampling', [0, 2])
@pytest.mark.parametrize(('height', 'width'), [(12, 14), (70, 60), (160, 150)])
def test_roi_align_gradient_is_that_of_its_samples(sampling, aligned, height, width, monkeypatch):
    """Of regions of all sizes, in part or wholly outside of the map, empty; and of no region."""
    monkeypatch.setattr(roi_align, '_CHUNK', 4000)  # several regions, or one at a time
    assert roi_align.is_faster(torch.Size([3, 2, height, width]), torch.device('cpu')) == (width < 150)
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(30, 2, generator=generator) * torch.tensor([width, height]) * 6 - 0.5 * width
    far = low + torch.rand(30, 2, generator=generator) * 4 * width
    rois = torch.cat([torch.arange(30)[:, None] % 2, low, far], 1)
    rois = torch.cat([rois, torch.tensor([[0, 0, 0, 4.0 * width, 4.0 * height], [1, 8, 8, 8, 8]])]).double()
    features = torch.zeros(3, 2, height, width, dtype=torch.float64, requires_grad=True)
    pooled = RoIAlign((5, 3), 0.25, sampling, aligned=aligned)(features, rois)
    given = torch.randn(pooled.shape, generator=generator, dtype=torch.float64)
    pooled.backward(given)
    assert not features.grad[2].any()
    for _ in range(20):  # the pass is linear: <gradient, e> = <given, pooled(e)>
        probe = torch.randn(features.shape, generator=generator, dtype=torch.float64)
        there = torchvision.ops.roi_align(probe, rois, (5, 3), 0.25, sampling, aligned)
        torch.testing.assert_close((features.grad * probe).sum(), (given * there).sum())
    features.grad = None
    RoIAlign((5, 3), 0.25, sampling, aligned=aligned)(features, rois[:0]).sum().backward()
    assert not features.grad.any()


def test_roi_align_gradient_within_autocast():
    """As where a training loop of one's own goes backward inside of it."""
    features = torch.randn(2, 3, 12, 14, requires_grad=True)
    found = []
    for enabled in (False, True):
        with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
            RoIAlign(3, 0.25, 2)(features, ROIS).square().sum().backward()
        found.append(features.grad)
        features.grad = None
    torch.testing.assert_close(*found)


def test_roi_align_maximum_says_what_to_install():
    with pytest.raises(NotImplementedError, match="pool_mode='max' needs the compiled mmcv"):
        RoIAlign(3, 1.0, 2, pool_mode='max')(torch.randn(2, 1, 8, 8), ROIS)


def slow_focal_loss(logits, target, gamma, alpha, weight):
    output = np.zeros(logits.shape)
    for n, c in np.ndindex(*logits.shape):
        p = 1 / (1 + math.exp(-float(logits[n, c])))
        if int(target[n]) == c:
            output[n, c] = -alpha * (1 - p) ** gamma * math.log(p)
        else:
            output[n, c] = -(1 - alpha) * p**gamma * math.log(1 - p)
        if weight is not None:
            output[n, c] *= float(weight[int(target[n])])
    return output


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('weighted', [False, True])
def test_sigmoid_focal_loss_and_its_gradient(weighted, device):
    logits, target = torch.randn(7, 4, dtype=torch.float64) * 3, torch.tensor([0, 1, 2, 3, 4, 4, 0])
    weight = torch.rand(4) if weighted else None
    if weighted:
        target = target.clamp(max=3)
    variable = logits.float().to(device).requires_grad_()
    loss = sigmoid_focal_loss(
        variable, target.to(device), 2.0, 0.25, None if weight is None else weight.to(device), 'none'
    )
    expected = slow_focal_loss(logits, target, 2.0, 0.25, weight)
    np.testing.assert_allclose(loss.detach().cpu().numpy(), expected, rtol=1e-4, atol=1e-6)
    loss.sum().backward()
    for position in np.ndindex(*logits.shape):
        moved = [logits.clone(), logits.clone()]
        moved[0][position] += 1e-4
        moved[1][position] -= 1e-4
        up, down = (slow_focal_loss(m, target, 2.0, 0.25, weight).sum() for m in moved)
        assert float(variable.grad[position]) == pytest.approx((up - down) / 2e-4, abs=1e-4)


@pytest.mark.parametrize('dtype', [torch.float, torch.half])
@pytest.mark.parametrize('gamma', [0.0, 0.5, 1.0, 2.0])
def test_sigmoid_focal_loss_of_sure_logits_has_a_gradient(gamma, dtype):
    """PyTorch's own derivative of a power is not a number where a wrong answer has the probability 0."""
    logits = torch.tensor([[200.0, -200.0, 0.0], [-200.0, 200.0, 0.0]], dtype=dtype).requires_grad_()
    sigmoid_focal_loss(logits, torch.tensor([0, 0]), gamma, 0.25, None, 'sum').backward()
    assert logits.grad[:, :2].tolist() == [[0, 0], [-0.25, 0.75]]
    assert logits.grad[:, 2].isfinite().all()


def test_mmcv_tells_its_environment():
    known = collect_env()
    assert (known['MMCV Compiler'], known['MMCV CUDA Compiler']) == ('n/a', 'n/a')


def test_any_other_operator_is_named():
    module = importlib.import_module('mmcv._ext')
    with pytest.raises(NotImplementedError, match=r"operator 'prroi_pool_forward' .*pip install mmcv"):
        module.prroi_pool_forward(torch.zeros(1))
    assert ext_loader.check_ops_exist()
    with pytest.raises(AttributeError):
        module.__wrapped__  # noqa: B018


def test_installing_twice_adds_one_finder():
    before = list(sys.meta_path)
    mmcv_ext.install()
    assert sys.meta_path == before


COMPILED = """
import importlib.abc, importlib.machinery, sys, types
class Compiled(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        return importlib.machinery.ModuleSpec(name, self) if name == 'mmcv._ext' else None
    def create_module(self, spec):
        module = types.ModuleType(spec.name); module.compiled = True; return module
    def exec_module(self, module): pass
"""


@pytest.mark.slow
@pytest.mark.parametrize('position', ['append(Compiled())', 'insert(0, Compiled())'])
def test_a_compiled_module_is_left_alone(position, run):
    """A stand-in for the compiled file's finder, which always comes before ours."""
    run(
        '-c',
        f"""{COMPILED}
sys.meta_path.{position}
from mbv1_backbone.compat import mmcv_ext
mmcv_ext.install()
import mmcv._ext
assert mmcv._ext.compiled and not mmcv_ext.in_use()
""",
        env={'PYTHONWARNINGS': 'ignore'},
    )


def test_bare_python_has_no_ext(run):
    """The stand-in is needed here: mmcv-lite alone has no mmcv._ext."""
    done = subprocess.run([sys.executable, '-c', 'import mmcv._ext'], capture_output=True, text=True)
    assert "No module named 'mmcv._ext'" in done.stderr
