import copy
import itertools
import os

import numpy as np
import pytest
import torch
from torch import nn

from mbv1_backbone import MobileNetV1
from mbv1_backbone.models.mobilenet_v1 import TABLE, VARIANTS

COMPILED = """
import torch
from mbv1_backbone import MobileNetV1
torch.manual_seed(0)
net, image = MobileNetV1(widen_factor=0.25, out_indices=(3,)).eval(), torch.randn(2, 3, 32, 32)
with torch.no_grad():  # torch 2.11's code for a training graph corrupts the heap on some AVX-512 processors
    torch.testing.assert_close(torch.compile(net)(image)[0], net(image)[0], atol=1e-4, rtol=1e-4)
"""

# Params of the paper's Tables 4 to 9, in millions, with the 1000-way classifier.
PUBLISHED_PARAMS = [
    (dict(widen_factor=1.0), 4.2),
    (dict(widen_factor=0.75), 2.6),
    (dict(widen_factor=0.5), 1.3),
    (dict(widen_factor=0.25), 0.5),
    (dict(variant='full'), 29.3),
    (dict(variant='shallow'), 2.9),
]


def count(module):
    return sum(p.numel() for p in module.parameters())


def small(**kwargs):
    net = MobileNetV1(**{'widen_factor': 0.25, 'out_indices': (5, 13), **kwargs})
    net.init_weights()
    return net


@pytest.mark.parametrize(('options', 'millions'), PUBLISHED_PARAMS)
def test_params_are_the_papers(options, millions):
    net = MobileNetV1(**options)
    classifier = nn.Linear(net.taps[-1].channels, 1000)
    assert round((count(net) + count(classifier)) / 1e6, 1) == millions


@pytest.mark.parametrize(('variant', 'size'), [*itertools.product(VARIANTS, [(64, 64), (65, 97), (32, 33)])])
def test_every_tap_gives_what_it_declares(variant, size):
    rows = VARIANTS[variant]
    net = small(out_indices=rows, variant=variant).eval()
    outputs = net(torch.zeros(2, 3, *size))
    assert len(outputs) == len(net.taps) == len(rows)
    for output, tap in zip(outputs, net.taps, strict=True):
        assert output.shape == (2, tap.channels, *(-(-side // tap.stride) for side in size))


@pytest.mark.parametrize('padding', ['symmetric', 'same'])
def test_last_maps_of_each_stride(padding):
    net = MobileNetV1(out_indices=(1, 3, 5, 11, 13), padding=padding)
    assert [tuple(tap) for tap in net.taps] == [(64, 2), (128, 4), (256, 8), (512, 16), (1024, 32)]
    assert [y.shape[-1] for y in net.eval()(torch.zeros(1, 3, 224, 224))] == [112, 56, 28, 14, 7]


@pytest.mark.parametrize('highest', range(14))
def test_rows_above_the_highest_tap_are_not_built_and_all_parameters_learn(highest):
    net = small(out_indices=(highest,))
    assert len(net.rows) == highest + 1
    net(torch.randn(2, 3, 64, 64))[0].square().mean().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_padding_changes_strided_even_maps_only():
    same, symmetric = small(padding='same').eval(), small(padding='symmetric').eval()
    symmetric.load_state_dict(same.state_dict())
    odd, even = torch.randn(1, 3, 65, 65), torch.randn(1, 3, 64, 64)
    assert torch.allclose(same(odd)[0], symmetric(odd)[0], atol=1e-5)
    assert not torch.allclose(same(even)[0], symmetric(even)[0], atol=1e-2)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(out_indices=(14,)), r'out_indices must lie in -14..13 .*got \(14,\)'),
        (dict(out_indices=(-15,)), r'out_indices must lie in -14..13'),
        (dict(out_indices=(13, -1)), r'ascending without repeats, got \(13, -1\)'),
        (dict(in_channels=0), 'in_channels must be a whole number of 1 or more, got 0'),
        (dict(in_channels=True), 'in_channels must be a whole number of 1 or more, got True'),
        (dict(in_channels=1.0), 'in_channels must be a whole number of 1 or more, got 1.0'),
        (dict(out_indices=()), r'name at least one row, got \(\)'),
        (dict(out_indices=(13, 11)), r'ascending without repeats, got \(13, 11\)'),
        (dict(out_indices=(11, 11)), r'ascending without repeats'),
        (dict(out_indices=(5, 11), variant='shallow'), r'rows of the shallow variant .*got \[11\]'),
        (dict(widen_factor=0), 'widen_factor must be > 0, got 0'),
        (dict(widen_factor=-1.0), 'widen_factor must be > 0, got -1.0'),
        (dict(widen_factor='x'), "widen_factor must be > 0, got 'x'"),
        (dict(widen_factor=None), 'widen_factor must be > 0, got None'),
        (dict(out_indices=5), 'out_indices must be a tuple of rows, got 5'),
        (dict(out_indices='5'), "out_indices must be a tuple of rows, got '5'"),
        (dict(norm_cfg='BN'), "norm_cfg must be a dict, got 'BN'"),
        (dict(act_cfg='ReLU'), "act_cfg must be a dict, got 'ReLU'"),
        (dict(init_cfg='x'), "init_cfg must be a dict, got 'x'"),
        (dict(init_cfg=['x']), r"init_cfg must be a dict, got \['x'\]"),
        (dict(widen_factor=float('nan')), 'widen_factor must be > 0, got nan'),
        (dict(frozen_stages=14), r'frozen_stages must lie in -1..13, got 14'),
        (dict(padding='valid'), "padding must be one of symmetric, same, got 'valid'"),
        (dict(variant='v2'), "variant must be one of separable, full, shallow, got 'v2'"),
    ],
)
def test_bad_values_are_refused_with_the_rule_and_the_value(options, message):
    with pytest.raises(ValueError, match=message):
        MobileNetV1(**options)


def test_rows_are_counted_from_the_end_by_negative_numbers():
    assert small(out_indices=(5, -3, -1)).out_indices == (5, 11, 13)


@pytest.mark.parametrize('mode', [False, True])
def test_maps_can_be_viewed(mode):
    """On the CPU the rows work in channels_last, in which ``view`` fails."""
    for tap in small(out_indices=(1, 11, 13)).train(mode)(torch.randn(2, 3, 64, 64)):
        assert tap.view(2, -1).shape[1] == tap[0].numel()


@pytest.mark.parametrize('channels', [1, 2, 4, 6])
def test_weights_are_fitted_to_the_channels_of_the_images(channels, tmp_path):
    """Images whose channels are all alike give what they gave."""
    net = small().eval()
    torch.save(net.state_dict(), tmp_path / 'net.pth')
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'net.pth'))
    other = small(in_channels=channels, init_cfg=init).eval()
    other.init_weights()
    gray = torch.randn(2, 1, 64, 64)
    np.testing.assert_allclose(
        other(gray.expand(-1, channels, -1, -1))[0].detach(),
        net(gray.expand(-1, 3, -1, -1))[0].detach(),
        atol=1e-5,
    )
    other.load_state_dict(other.state_dict())  # its own stay as they are
    assert other.rows['0'].conv.weight.shape[1] == channels


@pytest.mark.parametrize('frozen', [-1, 0, 6, 13])
def test_frozen_stages_keep_weights_and_statistics(frozen):
    net = small(frozen_stages=frozen).train()
    before = copy.deepcopy(net.state_dict())
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad] or [torch.zeros(1)], lr=1.0)
    with torch.set_grad_enabled(frozen < 13):
        loss = sum(y.square().mean() for y in net(torch.randn(4, 3, 64, 64)))
    if frozen < 13:
        loss.backward()
        optimizer.step()
    after = net.state_dict()
    for name, value in before.items():
        is_frozen = int(name.split('.')[1]) <= frozen
        assert torch.equal(value, after[name]) == is_frozen, name


def test_norm_eval_keeps_statistics_but_not_weights():
    net = small(norm_eval=True).train()
    before = copy.deepcopy(net.state_dict())
    net(torch.randn(4, 3, 64, 64))
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.items())
    assert all(p.requires_grad for p in net.parameters())


def test_checkpointing_changes_nothing_but_memory():
    plain, saving = small().train(), small(with_cp=True).train()
    saving.load_state_dict(plain.state_dict())
    image = torch.randn(4, 3, 64, 64)
    for net in (plain, saving):
        sum(y.square().mean() for y in net(image.clone().requires_grad_())).backward()
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(saving.state_dict()[name], value, msg=name)
    for (name, one), two in zip(plain.named_parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(two.grad, one.grad, msg=name)


def test_default_initialisation_keeps_the_signal():
    net = MobileNetV1(out_indices=tuple(range(14)))
    net.init_weights()
    for module in net.modules():  # without batch norm to hide it
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    outputs = net(torch.randn(2, 3, 96, 96))
    spreads = [float(y.detach().std()) for y in outputs]
    assert min(spreads) > 0.05, spreads
    assert max(spreads) < 5, spreads


def test_deepcopy_is_equal_and_separate():
    net = small().eval()
    twin, image = copy.deepcopy(net), torch.randn(1, 3, 64, 64)
    assert all(torch.equal(a, b) for a, b in zip(net(image), twin(image), strict=True))
    nn.init.zeros_(twin.rows['0'].conv.weight)
    assert not torch.equal(net(image)[0], twin(image)[0])


def test_jit_trace():
    net, image = small(padding='same').eval(), torch.randn(1, 3, 64, 64)
    traced = torch.jit.trace(net, image)
    other = torch.randn(3, 3, 64, 64)
    for a, b in zip(net(other), traced(other), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.slow
def test_compile(run):
    run('-c', COMPILED)  # other libraries' threads, loaded beside, can abort what the compiler made


def test_channels_last_gives_the_same():
    net, image = small().eval(), torch.randn(2, 3, 64, 64)
    expected = net(image)
    outputs = net.to(memory_format=torch.channels_last)(image.contiguous(memory_format=torch.channels_last))
    for a, b in zip(expected, outputs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_bfloat16_autocast_is_close_and_learns():
    net, image = small().train(), torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        expected = copy.deepcopy(net)(image)
    with torch.autocast('cpu', torch.bfloat16):
        outputs = net(image)
    assert outputs[0].dtype == torch.bfloat16
    correlation = torch.corrcoef(torch.stack([outputs[0].float().flatten(), expected[0].flatten()]))[0, 1]
    assert correlation > 0.99
    sum(y.float().square().mean() for y in outputs).backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


def test_distributed_data_parallel(tmp_path):
    os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    try:
        net, image = small().train(), torch.randn(2, 3, 64, 64)
        twin = copy.deepcopy(net)
        sum(y.square().mean() for y in net(image)).backward()
        sum(y.square().mean() for y in nn.parallel.DistributedDataParallel(twin)(image)).backward()
        for one, two in zip(net.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(one.grad, two.grad)
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize('library', ['mmdet', 'mmpretrain'])
def test_found_by_its_bare_name(library):
    registry = pytest.importorskip(f'{library}.registry').MODELS
    net = registry.build(dict(type='MobileNetV1', widen_factor=0.25, out_indices=(3, 5)))
    assert [tap.stride for tap in net.taps] == [4, 8]


def test_table_is_the_papers_body():
    assert [row.channels for row in TABLE] == [32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024]
    assert [i for i, row in enumerate(TABLE) if row.stride == 2] == [0, 2, 4, 6, 12]
