"""Batch-norm recalibration: norms that a file has folded away get statistics again, measured on images.

A folded file gives batch norms that normalise nothing. They predict as they should, but training with the
batch's statistics would at once change what they do. With the means and variances that their inputs really
have, and weights and biases that undo them, they predict the same and train on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from tqdm import tqdm

from mbv1_backbone.common.images import middle_square, read_image
from mbv1_backbone.models.mobilenet_v1 import MobileNetV1
from mbv1_backbone.weights.store import Weights

__all__ = ['build_network', 'normalise', 'recalibrate_bn', 'recalibrate_modules', 'square_batches']


def build_network(weights: Weights) -> nn.Sequential:
    """The classifier of imported weights: ``backbone``, and ``head`` where the weights have one.

    Takes normalised images (N, 3, H, W); gives logits (N, classes), or pooled features without a head.
    """
    net = MobileNetV1(**weights.recipe.backbone())
    rows = {name.removeprefix('backbone.'): tensor for name, tensor in weights.state.items()}
    net.load_state_dict({k: v for k, v in rows.items() if k.startswith('rows.')}, strict=False)
    layers: list[nn.Module] = [_Pooled(net)]
    if 'head.fc.weight' in weights.state:
        classes, channels = weights.state['head.fc.weight'].shape
        head = nn.Linear(channels, classes)
        head.load_state_dict({part: weights.state[f'head.fc.{part}'] for part in ('weight', 'bias')})
        layers.append(head)
    return nn.Sequential(*layers).eval()


class _Pooled(nn.Module):
    def __init__(self, backbone: MobileNetV1) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone(images)[-1].mean((2, 3))


def normalise(images: Tensor, weights: Weights) -> Tensor:
    """RGB images (N, 3, H, W) in 0..255 as the weights want them."""
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (weights.recipe.mean, weights.recipe.std))
    return (images.float() - mean) / std


def recalibrate_bn(weights: Weights, batches: Iterable[Tensor]) -> Weights:
    """Give batch norms the statistics that their inputs have on ``batches``; outputs stay as they are.

    Args:
        weights: A classifier's or a backbone's.
        batches: RGB images (N, 3, H, W) in 0..255; a few hundred images give steady statistics.

    Returns:
        The same function, with batch norms that can be trained.

    Raises:
        ValueError: If there are no images.
    """
    network = build_network(weights)
    norms = {n: m for n, m in network[0].named_modules() if isinstance(m, _BatchNorm)}
    recalibrate_modules(norms, (normalise(batch, weights) for batch in batches), network)
    state = dict(weights.state)
    for name, norm in norms.items():
        for part in ('weight', 'bias', 'running_mean', 'running_var'):
            state[f'{name.removeprefix("backbone.")}.{part}'] = getattr(norm, part).detach()
    return replace(weights, state=state)


@torch.no_grad()
def recalibrate_modules(
    norms: Mapping[str, _BatchNorm],
    batches: Iterable[Any],
    forward: Callable[[Any], Any],
    add_up: Callable[[Tensor], Any] = lambda sums: None,
) -> None:
    """Give batch norms the statistics of their inputs, and weights and biases that leave their outputs.

    Args:
        norms: In evaluation mode, in a network that is.
        batches: What the network is run on.
        forward: Runs it on a batch.
        add_up: Adds sums of other processes to a tensor, in place.

    Raises:
        ValueError: If a norm has seen no values.
    """
    sums = {
        name: torch.zeros(3, norm.num_features, dtype=torch.float64, device=norm.weight.device)
        for name, norm in norms.items()
    }

    def watch(total: Tensor) -> Callable[..., None]:
        def count(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            values = inputs[0].transpose(0, 1).flatten(1).double()
            counts = torch.full_like(total[0], values.shape[1])
            total.add_(torch.stack([values.sum(1), values.square().sum(1), counts]))

        return count

    watches = [norm.register_forward_pre_hook(watch(sums[name])) for name, norm in norms.items()]
    try:
        for batch in batches:
            forward(batch)
    finally:
        for each in watches:
            each.remove()
    for name, norm in norms.items():
        add_up(sums[name])
        total, squares, counts = sums[name]
        if not counts.all():
            raise ValueError('recalibrating batch norm needs at least one image')
        mean = total / counts
        _set_statistics(norm, mean, (squares / counts - mean.square()).clamp(min=0))


def _set_statistics(norm: _BatchNorm, mean: Tensor, var: Tensor) -> None:
    weight, bias = norm.get_parameter('weight'), norm.get_parameter('bias')
    running_mean, running_var = norm.get_buffer('running_mean'), norm.get_buffer('running_var')
    scale = weight.double() / (running_var.double() + norm.eps).sqrt()
    bias.copy_(bias.double() + scale * (mean - running_mean.double()))
    weight.copy_(scale * (var + norm.eps).sqrt())
    running_mean.copy_(mean)
    running_var.copy_(var)


def square_batches(paths: Sequence[Path], size: int, batch_size: int = 32) -> Iterator[Tensor]:
    """The middle squares of images, resized, as (N, 3, size, size), uint8, with a progress bar.

    Args:
        paths: Image files.
        size: Side of the squares, in pixels.
        batch_size: N, but of the last batch.

    Raises:
        InputError: If an image cannot be read.
    """
    with tqdm(total=len(paths), unit='image') as bar:
        for start in range(0, len(paths), batch_size):
            batch = [middle_square(read_image(path), size) for path in paths[start : start + batch_size]]
            yield torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2)
            bar.update(len(batch))
