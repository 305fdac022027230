"""A linear classifier on a network's features: multinomial logistic regression by scikit-learn."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from mbv1_backbone.common.errors import NotInstalledError

__all__ = ['LinearClassifier', 'fit_linear']

_FOLDS = 4
_STRENGTHS = tuple(10.0**power for power in range(-4, 3))  # of C, the inverse of the L2 penalty
_STEPS = 500


class LinearClassifier(NamedTuple):
    """Logits of features (N, D): ``features @ weight.T + bias``.

    Attributes:
        weight: float32 (classes, D).
        bias: float32 (classes,).
        strength: The inverse of the L2 penalty on standardised features, scikit-learn's ``C``.
        folds: Of the cross-validation that chose it; 0 where a class had too few photographs for any.
    """

    weight: np.ndarray
    bias: np.ndarray
    strength: float
    folds: int


def fit_linear(features: np.ndarray, labels: np.ndarray, seed: int = 0) -> LinearClassifier:
    """Fit a classifier on fixed features, as transfer learning is measured (arXiv:1805.08974, section 3.1).

    Features are standardised, and the scale goes into the weights. The penalty's strength is chosen by
    cross-validation among powers of ten, by the likelihood of what is held out; of equal ones the strongest
    penalty is taken.

    Args:
        features: float (N, D).
        labels: int (N,) in 0..classes - 1, each of them there.
        seed: Of the folds.

    Raises:
        NotInstalledError: If scikit-learn is not installed.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> labels = np.repeat([0, 1, 2], 20)
        >>> features = np.eye(3)[labels] + 0.1 * rng.normal(size=(60, 3))
        >>> found = fit_linear(features, labels)
        >>> bool(((features @ found.weight.T + found.bias).argmax(1) == labels).all())
        True
    """
    try:
        from sklearn.model_selection import StratifiedKFold
    except ImportError as error:
        message = 'linear classifiers need scikit-learn: pip install scikit-learn'
        raise NotInstalledError(message) from error
    mean, deviation = features.mean(0), features.std(0)
    deviation = np.where(deviation > 1e-6 * (deviation.max() or 1.0), deviation, 1.0)  # constant features
    scaled = (features - mean) / deviation
    folds = min(_FOLDS, int(np.bincount(labels).min()))
    strength = 0.01
    if folds > 1:
        parts = [*StratifiedKFold(folds, shuffle=True, random_state=seed).split(scaled, labels)]
        strength = min(_STRENGTHS, key=lambda c: sum(_loss(scaled, labels, c, *part) for part in parts))
    weight, bias = _fitted(scaled, labels, strength)
    weight = weight / deviation
    bias = bias - weight @ mean
    return LinearClassifier(
        weight.astype(np.float32), bias.astype(np.float32), strength, folds if folds > 1 else 0
    )


def _loss(
    features: np.ndarray, labels: np.ndarray, strength: float, train: np.ndarray, test: np.ndarray
) -> float:
    """Summed cross-entropy of what is held out."""
    weight, bias = _fitted(features[train], labels[train], strength)
    logits = features[test] @ weight.T + bias
    logits -= logits.max(1, keepdims=True)
    right = logits[np.arange(len(test)), labels[test]]
    return float((np.log(np.exp(logits).sum(1)) - right).sum())


def _fitted(features: np.ndarray, labels: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias with a row a class; of two classes scikit-learn has one row."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, max_iter=_STEPS)
    with warnings.catch_warnings():  # weak penalties, which lose anyway
        warnings.simplefilter('ignore', ConvergenceWarning)
        model.fit(features, labels)
    weight, bias = model.coef_, model.intercept_
    if len(weight) == 1:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return weight, bias
