"""Unfolding: batch norms that a file has folded away get statistics again, measured on images.

A folded file gives batch norms that normalise nothing. They predict as they should, but training with the
batch's statistics would at once change what they do. With the means and variances that their inputs really
have, and weights and biases that undo them, they predict the same and train on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from mbv1_backbone.common.images import middle_square, read_image
from mbv1_backbone.models.mobilenet_v1 import MobileNetV1
from mbv1_backbone.weights.store import Weights


def build_network(weights: Weights) -> nn.Sequential:
    """The classifier of imported weights: ``backbone``, and ``head`` where the weights have one.

    Takes normalised images (N, 3, H, W); gives logits (N, classes), or pooled features without a head.
    """
    net = MobileNetV1(**weights.recipe.backbone())
    net.load_state_dict({k: v for k, v in weights.state.items() if k.startswith('rows.')}, strict=False)
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


@torch.inference_mode()
def unfold(weights: Weights, batches: Iterable[Tensor]) -> Weights:
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
    norms = {n: m for n, m in network[0].backbone.named_modules() if isinstance(m, nn.BatchNorm2d)}
    sums = {name: torch.zeros(2, norm.num_features, dtype=torch.float64) for name, norm in norms.items()}
    counts = dict.fromkeys(norms, 0)

    def watch(name: str) -> None:
        def count(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            values = inputs[0].transpose(0, 1).flatten(1).double()
            sums[name] += torch.stack([values.sum(1), values.square().sum(1)])
            counts[name] += values.shape[1]

        norms[name].register_forward_pre_hook(count)

    for name in norms:
        watch(name)
    for batch in batches:
        network(normalise(batch, weights))
    if not all(counts.values()):
        raise ValueError('unfolding batch norm needs at least one image')
    state = dict(weights.state)
    for name, norm in norms.items():
        mean, square = sums[name] / counts[name]
        var = (square - mean.square()).clamp(min=0)
        scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        state[f'{name}.running_mean'] = mean.float()
        state[f'{name}.running_var'] = var.float()
        state[f'{name}.weight'] = (scale * (var + norm.eps).sqrt()).float()
        state[f'{name}.bias'] = (norm.bias.double() + scale * (mean - norm.running_mean.double())).float()
    return replace(weights, state=state)


def square_batches(paths: Sequence[Path], size: int, batch_size: int = 32) -> Iterator[Tensor]:
    """The middle squares of images, resized, as (N, 3, size, size), uint8, with a progress bar.

    Raises:
        InputError: If an image cannot be read.
    """
    with tqdm(total=len(paths), unit='image') as bar:
        for start in range(0, len(paths), batch_size):
            batch = [middle_square(read_image(path), size) for path in paths[start : start + batch_size]]
            yield torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2)
            bar.update(len(batch))
