"""Training in bfloat16 on the CPU."""

import pytest
import torch
from torch import nn

from mbv1_backbone.training.precision import BFloat16OptimWrapper


def litter():
    """Leave NaNs in memory that is free again."""
    for size in (10, 12, 14, 16, 18, 20):
        kept = [torch.full((2**size,), float('nan')) for _ in range(8)]
        del kept


@pytest.mark.parametrize('shape', [(1, 1), (1, 3), (2, 2), (5, 5)])
@pytest.mark.parametrize('groups', [1, 16])
def test_gradients_of_strided_convolutions_are_those_of_float32(shape, groups):
    """On maps of one pixel PyTorch alone leaves them uninitialised."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(16, 32, 3, stride=2, padding=1, groups=groups))
    images = torch.randn(8, 16, *shape)
    net(images).sum().backward()
    right = net[0].weight.grad.clone()
    wrapper = BFloat16OptimWrapper(torch.optim.SGD(net.parameters(), lr=0.1))
    for _ in range(6):
        litter()
        net.zero_grad()
        with wrapper.optim_context(net):
            loss = net(images).float().sum()
        assert not torch.is_autocast_enabled('cpu')
        loss.backward()
        torch.testing.assert_close(net[0].weight.grad, right, atol=0.03 * float(right.abs().max()), rtol=0)


def test_other_layers_stay_in_bfloat16_beside_one_that_leaves_it():
    net = nn.Sequential(nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.Conv2d(4, 4, 1))
    wrapper = BFloat16OptimWrapper(torch.optim.SGD(net.parameters(), lr=0.1))
    kinds = []
    for layer in net:
        layer.register_forward_hook(lambda _, inputs, output: kinds.append(output.dtype))
    with wrapper.optim_context(net):
        net(torch.randn(1, 4, 1, 1))
        net(torch.randn(1, 4, 4, 4))
    assert kinds == [torch.float32, torch.bfloat16, torch.bfloat16, torch.bfloat16]


def test_strided_depthwise_convolutions_run_in_float32_and_give_bfloat16():
    """In bfloat16 PyTorch computes their gradients by a reference loop, 30 times as long."""
    net = nn.Sequential(nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=4), nn.Conv2d(4, 4, 1))
    wrapper = BFloat16OptimWrapper(torch.optim.SGD(net.parameters(), lr=0.1))
    within = []
    net[0].register_forward_hook(lambda _, inputs, output: within.append((inputs[0].dtype, output.dtype)))
    with wrapper.optim_context(net):
        wide = net[0](torch.randn(1, 4, 8, 8).bfloat16())
        assert torch.is_autocast_enabled('cpu')
        assert net[1](wide).dtype == torch.bfloat16
    assert within == [(torch.float32, torch.float32)]
    assert wide.dtype == torch.bfloat16


def test_a_failed_forward_pass_leaves_autocast_as_it_was():
    net = nn.Sequential(nn.Conv2d(4, 4, 3, stride=2, padding=1))
    wrapper = BFloat16OptimWrapper(torch.optim.SGD(net.parameters(), lr=0.1))
    with wrapper.optim_context(net):
        with pytest.raises(RuntimeError):
            net(torch.randn(1, 5, 1, 1))
        assert torch.is_autocast_enabled('cpu')
