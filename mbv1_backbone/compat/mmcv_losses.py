"""mmcv's focal losses (https://arxiv.org/abs/1708.02002), in plain PyTorch.

The functions have mmcv's signatures and write into the tensors that mmcv allocates; half precision is
computed in single. Source of the semantics: https://github.com/open-mmlab/mmcv/tree/v2.1.0/mmcv/ops.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mbv1_backbone.compat.mmcv_roi import single

__all__ = ['OPERATORS']

_TINY = torch.finfo(torch.float32).tiny  # in the place of 0, where a logarithm or a power would be infinite


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Fill ``output`` (N, C) with the focal loss (https://arxiv.org/abs/1708.02002) of every logit.

    Args:
        input: Logits (N, C).
        target: (N,) class 0..C-1, or C for the background.
        weight: (C,), or (C + 1,) with the background's, a factor by the target's class; empty for none.
        output: Filled.
        gamma: Exponent of the modulating factor.
        alpha: Weight of the positives.
    """
    loss, _ = _sigmoid_focal_loss(input, target, gamma, alpha)
    output.copy_(loss * _target_weight(weight, target))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Fill ``grad_input`` (N, C) with the derivative of each loss by its logit.

    Args:
        input: Logits (N, C).
        target: (N,) class 0..C-1, or C for the background.
        weight: (C,), or (C + 1,) with the background's, a factor by the target's class; empty for none.
        grad_input: Filled.
        gamma: Exponent of the modulating factor.
        alpha: Weight of the positives.
    """
    _, derivative = _sigmoid_focal_loss(input, target, gamma, alpha)
    grad_input.copy_(derivative * _target_weight(weight, target))


def _sigmoid_focal_loss(input: Tensor, target: Tensor, gamma: float, alpha: float) -> tuple[Tensor, Tensor]:
    """Losses and their derivatives by the logits, (N, C) each, finite for logits of any size."""
    positive = _one_hot(input, target)
    sign = 2 * positive - 1
    logits = single(input)[0] * sign  # of the right answer
    log_p, p, rest = functional.logsigmoid(logits), logits.sigmoid(), (-logits).sigmoid()
    factor = (positive * alpha + (1 - positive) * (1 - alpha)) * rest**gamma
    return -factor * log_p, factor * sign * (gamma * p * log_p - rest)


def _one_hot(logits: Tensor, target: Tensor) -> Tensor:
    classes = torch.arange(logits.shape[1], device=logits.device)
    return (target[:, None] == classes).float()


def _target_weight(weight: Tensor, target: Tensor) -> Tensor:
    if weight.numel() == 0:
        return target.new_ones(1, dtype=torch.float32)
    [weight] = single(weight)
    return torch.cat([weight, weight.new_ones(1)])[target][:, None]


def softmax_focal_loss_forward(
    softmax: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Fill ``output`` (N,) with the focal loss of each target's probability.

    Args:
        softmax: Probabilities (N, C).
        target: (N,) class 0..C-1; a negative one costs nothing.
        weight: (C,), a factor by the target's class; empty for none.
        output: Filled.
        gamma: Exponent of the modulating factor.
        alpha: Factor of all losses.
    """
    known, probability = _target_probability(softmax, target)
    loss = -alpha * (1 - probability) ** gamma * probability.log()
    output.copy_(loss * known * _target_weight(weight, target.clamp(min=0)).flatten())


def softmax_focal_loss_backward(
    softmax: Tensor,
    target: Tensor,
    weight: Tensor,
    buff: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Fill ``grad_input`` (N, C) with the derivative of each loss by the logits of its row.

    Args:
        softmax: Probabilities (N, C).
        target: (N,) class 0..C-1; a negative one costs nothing.
        weight: (C,), a factor by the target's class; empty for none.
        buff: Unused, of mmcv's method.
        grad_input: Filled.
        gamma: Exponent of the modulating factor.
        alpha: Factor of all losses.
    """
    known, p = _target_probability(softmax, target)
    rest = (1 - p).clamp(min=_TINY)
    by_log = alpha * (gamma * rest ** (gamma - 1) * p * p.log() - rest**gamma)
    factor = by_log * known * _target_weight(weight, target.clamp(min=0)).flatten()
    grad_input.copy_(factor[:, None] * (_one_hot(softmax, target) - softmax))


def _target_probability(softmax: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Whether each target is a class, and its probability, of which logarithms are finite: (N,) each."""
    [softmax] = single(softmax)
    probability = softmax.gather(1, target.clamp(min=0)[:, None])[:, 0]
    return target >= 0, probability.clamp(min=_TINY)


OPERATORS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        sigmoid_focal_loss_forward,
        sigmoid_focal_loss_backward,
        softmax_focal_loss_forward,
        softmax_focal_loss_backward,
    )
}
