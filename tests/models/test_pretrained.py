"""Initialising from pre-trained weights: all of it, or an error; a warning where it does not suit."""

import warnings
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from mmengine.registry import MODELS
from safetensors.torch import save_file

from mbv1_backbone import MobileNetV1
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.detection.shared_head import MobileNetV1SharedHead
from mbv1_backbone.models.pretrained import PretrainedHook
from mbv1_backbone.models.recipe import Recipe
from mbv1_backbone.weights import Weights, write_weights

RECIPE = Recipe('a test', 0.25, 'same', dict(type='ReLU6'), 1e-3)
SUITED = dict(
    widen_factor=0.25, padding='same', act_cfg=dict(type='ReLU6'), norm_cfg=dict(type='BN', eps=1e-3)
)


@pytest.fixture
def weights(tmp_path):
    net = MobileNetV1(0.25)
    for tensor in net.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.1, 1)
    state = {k: v for k, v in net.state_dict().items() if not k.endswith('tracked')}
    path = tmp_path / 'w.safetensors'
    write_weights(Weights(state, RECIPE), path)
    return path, state


def pretrained(path, **more):
    return dict(type='Pretrained', checkpoint=str(path), **more)


@pytest.mark.parametrize('url', ['{}', 'mbv1://{}'])
@pytest.mark.parametrize('taps', [(13,), (3, 11)])
def test_a_backbone_starts_from_the_file(weights, url, taps):
    path, state = weights
    net = MobileNetV1(out_indices=taps, init_cfg=pretrained(url.format(path)), **SUITED)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        net.init_weights()
    for name, tensor in net.state_dict().items():
        if not name.endswith('tracked'):
            assert torch.equal(tensor, state[name]), name
    assert net.recipe == RECIPE


def test_a_shared_head_takes_its_rows_of_the_same_file(weights):
    path, state = weights
    head = MobileNetV1SharedHead(init_cfg=pretrained(path), **SUITED)
    head.init_weights()
    assert torch.equal(head.rows['13'].pointwise.conv.weight, state['rows.13.pointwise.conv.weight'])


def test_a_detectors_file_gives_its_backbone_by_prefix(weights, tmp_path):
    _, state = weights
    path = tmp_path / 'detector.safetensors'
    write_weights(Weights({f'backbone.{k}': v for k, v in state.items()}, RECIPE), path)
    net = MobileNetV1(init_cfg=pretrained(path, prefix='backbone.'), **SUITED)
    net.init_weights()
    assert torch.equal(net.rows['0'].conv.weight, state['rows.0.conv.weight'])


def test_another_width_is_an_error_and_not_a_random_network(weights):
    net = MobileNetV1(0.5, init_cfg=pretrained(weights[0]))
    with pytest.raises(
        InputError, match=r'rows\.0\.conv\.weight is \(8, 3, 3, 3\) in it, \(16, 3, 3, 3\) here'
    ):
        net.init_weights()


def test_a_file_without_our_tensors_is_an_error(tmp_path):
    save_file({'other': torch.ones(1)}, tmp_path / 'w.safetensors')
    net = MobileNetV1(0.25, init_cfg=pretrained(tmp_path / 'w.safetensors'))
    with pytest.raises(InputError, match=r'is not in it.* and 132 more'):
        net.init_weights()


@pytest.mark.parametrize(
    ('change', 'complaint'),
    [
        (dict(padding='symmetric'), 'padding=symmetric instead of same'),
        (dict(act_cfg=dict(type='ReLU')), "act_cfg={'type': 'ReLU'} instead of {'type': 'ReLU6'}"),
        (dict(norm_cfg=dict(type='BN')), 'norm_eps=1e-05 instead of 0.001'),
    ],
)
def test_layers_that_do_not_suit_the_weights_warn(weights, change, complaint):
    net = MobileNetV1(init_cfg=pretrained(weights[0]), **{**SUITED, **change})
    with pytest.warns(UserWarning, match='MobileNetV1 is not built as its pre-trained weights') as caught:
        net.init_weights()
    assert complaint in str(caught[0].message)


def preprocessor(mean, std, bgr_to_rgb=True):
    return MODELS.build(dict(type='ImgDataPreprocessor', mean=mean, std=std, bgr_to_rgb=bgr_to_rgb))


@pytest.mark.parametrize(
    ('mean', 'std', 'bgr_to_rgb', 'suits'),
    [
        ([127.5] * 3, [127.5] * 3, True, True),
        ([128.0] * 3, [128.0] * 3, True, True),
        ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375], True, False),
        ([0.0] * 3, [255.0] * 3, True, False),
    ],
)
def test_another_preprocessing_warns(mean, std, bgr_to_rgb, suits):
    model = SimpleNamespace(
        backbone=SimpleNamespace(recipe=RECIPE), data_preprocessor=preprocessor(mean, std, bgr_to_rgb)
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        PretrainedHook().before_train(SimpleNamespace(model=model))
    assert [str(w.message).startswith('data_preprocessor is not that') for w in caught] == [True] * (
        not suits
    )


def test_channels_in_the_wrong_order_warn():
    recipe = replace(RECIPE, mean=(123.0, 117.0, 104.0), std=(1.0, 1.0, 1.0))
    for bgr_to_rgb, warned in ((True, 0), (False, 1)):
        model = SimpleNamespace(
            backbone=SimpleNamespace(recipe=recipe),
            data_preprocessor=preprocessor([123.0, 117.0, 104.0], [1.0] * 3, bgr_to_rgb),
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            PretrainedHook().before_train(SimpleNamespace(model=model))
        assert len(caught) == warned
