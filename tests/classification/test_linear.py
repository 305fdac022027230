"""Linear classifiers on features, against their own definition, and the counting of confusions."""

import numpy as np
import pytest
from PIL import Image
from scipy.optimize import minimize

from mbv1_backbone.classification.confusion import Confusion, draw_confusion
from mbv1_backbone.classification.linear import _STRENGTHS, fit_linear


def made_up(classes, count=12, dim=5, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), count)
    centres = rng.normal(size=(classes, dim))
    return centres[labels] + 0.6 * rng.normal(size=(len(labels), dim)), labels


def objective(parameters, scaled, labels, strength, classes):
    """The penalised cross-entropy, photograph by photograph."""
    table = parameters.reshape(classes, -1)
    value = 0.5 * (table[:, :-1] ** 2).sum()
    for row, label in zip(scaled, labels, strict=True):
        logits = table[:, :-1] @ row + table[:, -1]
        value += strength * (np.log(np.exp(logits).sum()) - logits[label])
    return value


@pytest.mark.parametrize('classes', [3, 4])
def test_it_is_the_minimum_of_the_penalised_cross_entropy(classes):
    features, labels = made_up(classes)
    found = fit_linear(features, labels)
    assert found.strength in _STRENGTHS
    assert found.folds == 4
    scaled = (features - features.mean(0)) / features.std(0)
    weight, bias = found.weight * features.std(0), found.bias + found.weight @ features.mean(0)
    given = (scaled, labels, found.strength, classes)
    value = objective(np.column_stack([weight, bias]).ravel(), *given)
    least = minimize(objective, np.zeros(classes * 6), given, options=dict(maxiter=60)).fun
    assert value < least * 1.001
    assert objective(np.column_stack([weight * 0.9, bias]).ravel(), *given) > value


def test_two_classes_get_a_row_each():
    features, labels = made_up(2)
    found = fit_linear(features, labels)
    assert found.weight.shape == (2, 5)
    np.testing.assert_allclose(found.weight.sum(0), 0, atol=1e-6)
    assert ((features @ found.weight.T + found.bias).argmax(1) == labels).mean() > 0.9


def test_constant_features_and_single_photographs_are_taken():
    features, labels = made_up(3, count=1)
    features[:, 2] = 7.0
    found = fit_linear(features, labels)
    assert found.folds == 0
    assert np.isfinite(found.weight).all()
    assert ((features @ found.weight.T + found.bias).argmax(1) == labels).all()


def test_confusions_are_counted_as_a_loop_counts_them():
    rng = np.random.default_rng(0)
    labels, answers = rng.integers(0, 4, 50), rng.integers(0, 4, 50)
    found = Confusion.of(labels, answers, list('abcd'))
    for true in range(4):
        for answer in range(4):
            count = sum(a == true and b == answer for a, b in zip(labels, answers, strict=True))
            assert found.counts[true, answer] == count
    shares = [(answers[labels == c] == c).mean() for c in range(4)]
    assert found.mean_per_class == pytest.approx(np.mean(shares))
    assert found.top1 == pytest.approx((labels == answers).mean())


def test_a_class_without_photographs_does_not_count():
    found = Confusion.of(np.array([0, 1]), np.array([0, 0]), ['a', 'b', 'c'])
    assert found.mean_per_class == 0.5
    assert found.worst(5) == [('b', 'a', 1)]


@pytest.mark.parametrize('count', [2, 60])
def test_the_picture_is_drawn(count, tmp_path):
    rng = np.random.default_rng(0)
    names = [f'class of a long name {i} $a_$^' for i in range(count)]  # of TeX's signs
    found = Confusion.of(rng.integers(0, count, 500), rng.integers(0, count, 500), names)
    with Image.open(draw_confusion(found, tmp_path / 'c.png', 'title')) as picture:
        assert min(picture.size) > 300
