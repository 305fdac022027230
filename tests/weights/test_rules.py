"""Rule tables: conversions against naive loops, and totality."""

import numpy as np
import pytest

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.weights.rules import (
    Move,
    Rule,
    apply_rules,
    as_linear,
    from_1hwc,
    from_hwcm,
    from_hwio,
    from_ohwi,
)

RULES = (Rule(r'layer(\d)/w', r'rows.\1.weight'), Rule(r'.*/step', None))


@pytest.mark.parametrize(
    ('convert', 'shape', 'place'),
    [
        (from_hwio, (3, 2, 4, 5), lambda o, i, y, x: (y, x, i, o)),
        (from_ohwi, (5, 3, 2, 4), lambda o, i, y, x: (o, y, x, i)),
        (from_hwcm, (3, 2, 5, 1), lambda o, i, y, x: (y, x, o, i)),
        (from_1hwc, (1, 3, 2, 5), lambda o, i, y, x: (i, y, x, o)),
    ],
)
def test_a_kernel_comes_out_as_pytorch_has_it(convert, shape, place):
    kernel = np.random.default_rng(0).normal(size=shape)
    ours = convert(kernel)
    for index in np.ndindex(*ours.shape):
        assert ours[index] == kernel[place(*index)]


@pytest.mark.parametrize('shape', [(6, 4), (6, 1, 1, 4), (1, 1, 4, 6)])
def test_a_1x1_convolution_becomes_a_linear_layer(shape):
    kernel = np.arange(24.0).reshape(shape)
    ours = as_linear(kernel)
    expected = kernel.reshape(6, 4) if shape[0] == 6 else kernel.reshape(4, 6).T
    np.testing.assert_array_equal(ours, expected)


def test_every_tensor_moves_and_is_reported():
    tensors = {'layer1/w': np.ones((2, 3)), 'layer1/step': np.ones(())}
    filled, moves = apply_rules(RULES, tensors, {'rows.1.weight': (2, 3)}, 'a file')
    assert list(filled) == ['rows.1.weight']
    assert filled['rows.1.weight'].dtype == np.float32
    assert moves == [Move('layer1/w', 'rows.1.weight', (2, 3)), Move('layer1/step', None, ())]


@pytest.mark.parametrize(
    ('tensors', 'complaint'),
    [
        ({}, 'rows.1.weight stays empty'),
        ({'layer1/w': np.ones((2, 3)), 'other': np.ones(1)}, 'other (1,) has no place'),
        ({'layer1/w': np.ones((2, 3)), 'layer2/w': np.ones(1)}, 'which the network does not have'),
        ({'layer1/w': np.ones((3, 2))}, 'gives rows.1.weight (3, 2) instead of (2, 3)'),
        ({'layer1/w': np.full((2, 3), np.nan)}, 'not finite'),
    ],
)
def test_what_does_not_fit_is_an_error(tensors, complaint):
    with pytest.raises(InputError, match='a file: 1 tensors') as caught:
        apply_rules(RULES, tensors, {'rows.1.weight': (2, 3)}, 'a file')
    assert complaint in str(caught.value)


def test_a_variance_below_0_is_an_error():
    rules = (Rule('variance', 'bn.running_var'),)
    with pytest.raises(InputError, match='variance holds variances below 0'):
        apply_rules(rules, {'variance': np.array([1.0, -0.1])}, {'bn.running_var': (2,)}, 'a file')
    assert apply_rules(rules, {'variance': np.zeros(2)}, {'bn.running_var': (2,)}, 'a file')


def test_two_sources_of_one_target_are_an_error():
    rules = (Rule('a|b', 'weight'),)
    with pytest.raises(InputError, match='b is a second weight'):
        apply_rules(rules, {'a': np.ones(1), 'b': np.ones(1)}, {'weight': (1,)}, 'a file')


def test_one_error_lists_all_offenders():
    tensors = {'x': np.ones(1), 'layer1/w': np.ones(1), 'layer3/w': np.ones(1)}
    with pytest.raises(InputError) as caught:
        apply_rules(RULES, tensors, {'rows.1.weight': (2,), 'rows.2.weight': (2,)}, 'a file')
    for name in ('x (1,)', 'layer1/w gives', 'layer3/w would', 'rows.2.weight stays'):
        assert name in str(caught.value)
