"""The paper's Tables 4 and 5 in miniature: its variants trained from scratch under one budget.

Every network sees the same small photographs for the same number of epochs, with the same schedule; only the
seed of weights, order and augmentation changes from run to run.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.model import initialize
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from mbv1_backbone.classification.folders import ClassFolder, Photo
from mbv1_backbone.common.files import write_json
from mbv1_backbone.common.images import middle_square, read_image
from mbv1_backbone.common.prefetch import DECODERS, prefetch
from mbv1_backbone.models.complexity import count_classifier, total
from mbv1_backbone.models.mobilenet_v1 import MobileNetV1

__all__ = ['NETWORKS', 'Budget', 'compare', 'paper_differences']

# As the paper has them at width 1: what the width is multiplied by, the variant, and its top-1 on ImageNet.
NETWORKS: dict[str, tuple[float, str, float]] = {
    'MobileNet': (1.0, 'separable', 70.6),
    'Conv MobileNet': (1.0, 'full', 71.7),
    '0.75 MobileNet': (0.75, 'separable', 68.4),
    'Shallow MobileNet': (1.0, 'shallow', 65.3),
}
_MARGIN = 1.25  # stored photographs are larger than the crops by this


@dataclass(frozen=True)
class Budget:
    """What every network gets.

    Attributes:
        width: Multiplier that all widths are multiplied by.
        size: Side of the input, in pixels.
        epochs: Passes over the photographs.
        batch_size: Photographs a step.
        lr: Highest learning rate of SGD with momentum .9, after a warm-up of a twentieth of the steps; a
            cosine follows.
        weight_decay: Of all weights but depthwise filters and batch norms.
    """

    width: float = 0.25
    size: int = 64
    epochs: int = 40
    batch_size: int = 32
    lr: float = 0.05
    weight_decay: float = 5e-4


def compare(
    folder: ClassFolder, budget: Budget, seeds: int, file: Path, networks: Mapping[str, Any] = NETWORKS
) -> dict[str, Any]:
    """Train each network with each seed, and write what was found after every run.

    Runs that the file already has, of the same photographs and budget, are not done again.

    Args:
        folder: Photographs to train on and to test with.
        budget: Of each run.
        seeds: How many runs a network.
        file: JSON, read first where it is there.
        networks: Of ``NETWORKS``.

    Returns:
        ``budget``, and by network ``mult_adds``, ``params`` and ``runs``: seed, accuracy (a share of the test
        photographs), mean per-class accuracy, last training loss, seconds.
    """
    subject = dict(
        budget=asdict(budget), photographs=[len(folder.train), len(folder.test)], classes=list(folder.classes)
    )
    found: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    if {key: found.get(key) for key in subject} != subject:
        found = {**subject, 'networks': {}}
    train = _load(folder.train, round(budget.size * _MARGIN))
    test = _load(folder.test, budget.size)
    for seed in range(seeds):
        for name in networks:
            factor, variant, _ = NETWORKS[name]
            network = dict(widen_factor=factor * budget.width, variant=variant)
            cost = total(count_classifier(len(folder.classes), budget.size, **network))
            mine = found['networks'].setdefault(name, dict(mult_adds=cost[0], params=cost[1], runs=[]))
            if seed not in [run['seed'] for run in mine['runs']]:
                mine['runs'].append(_run(network, train, test, len(folder.classes), budget, seed, name))
                write_json(file, found, indent=1)
    return found


def paper_differences(found: Mapping[str, Any]) -> list[tuple[str, float, float, float]]:
    """For the pairs of Tables 4 and 5: their names, ours and the paper's difference in points of accuracy.

    Returns:
        A row a pair: what is compared, mean difference over seeds, its standard deviation (0 of one seed),
        and the paper's.
    """
    rows = []
    for first, second in (('Conv MobileNet', 'MobileNet'), ('0.75 MobileNet', 'Shallow MobileNet')):
        if not {first, second} <= found['networks'].keys():
            continue
        ours = [
            {run['seed']: run['accuracy'] for run in found['networks'][n]['runs']} for n in (first, second)
        ]
        gaps = [100 * (ours[0][seed] - ours[1][seed]) for seed in ours[0] if seed in ours[1]]
        if gaps:
            spread = statistics.stdev(gaps) if len(gaps) > 1 else 0.0
            paper = NETWORKS[first][2] - NETWORKS[second][2]
            rows.append((f'{first} less {second}', statistics.mean(gaps), spread, paper))
    return rows


def _run(
    network: dict[str, Any],
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    classes: int,
    budget: Budget,
    seed: int,
    name: str,
) -> dict[str, float]:
    torch.manual_seed(seed)
    start, model, loss = time.perf_counter(), _network(classes, **network), 0.0
    optimizer = torch.optim.SGD(_groups(model, budget), lr=budget.lr, momentum=0.9, nesterov=True)
    count = -(-len(train[0]) // budget.batch_size) * budget.epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, budget.lr, total_steps=count, pct_start=0.05, cycle_momentum=False
    )
    model.train()
    with tqdm(total=count, desc=f'{name}, seed {seed}', unit='step', leave=False) as bar:
        for images, labels in _batches(*train, budget):
            value = functional.cross_entropy(model(_augmented(images, budget.size)), labels)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            schedule.step()
            loss += (float(value.detach()) - loss) / min(bar.n + 1, count // budget.epochs)
            bar.update()
    hits = _right(model, *test)
    by_class = [hits[test[1] == label].float().mean().item() for label in range(classes)]
    return dict(
        seed=seed,
        accuracy=hits.float().mean().item(),
        mean_per_class=statistics.mean(by_class),
        training_loss=loss,
        seconds=round(time.perf_counter() - start, 1),
    )


def _network(classes: int, **backbone: Any) -> nn.Module:
    body = MobileNetV1(**backbone)
    initialize(body, body.init_cfg)  # init_weights() would log every tensor
    return nn.Sequential(body, _Pooled(), nn.Linear(body.taps[-1].channels, classes))


class _Pooled(nn.Module):
    """The mean over the last map."""

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        return maps[-1].mean((2, 3))


def _groups(model: nn.Module, budget: Budget) -> list[dict[str, Any]]:
    """No weight decay on depthwise filters (the paper, 3.2), batch norms and biases."""
    kept: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            depthwise = isinstance(module, nn.Conv2d) and module.groups > 1
            (spared if depthwise or parameter.ndim < 2 else kept).append(parameter)
    return [dict(params=kept, weight_decay=budget.weight_decay), dict(params=spared, weight_decay=0.0)]


def _load(photos: tuple[Photo, ...], size: int) -> tuple[Tensor, Tensor]:
    """Middle squares uint8 (N, 3, size, size), and labels."""

    def square(photo: Photo) -> np.ndarray:
        return middle_square(read_image(photo.path), size)

    images = np.stack([*prefetch(square, photos, DECODERS, 4 * DECODERS)])
    return torch.from_numpy(images).permute(0, 3, 1, 2), torch.tensor([photo.label for photo in photos])


def _batches(images: Tensor, labels: Tensor, budget: Budget) -> Iterator[tuple[Tensor, Tensor]]:
    for _ in range(budget.epochs):
        for chosen in torch.randperm(len(images)).split(budget.batch_size):
            yield images[chosen], labels[chosen]


def _augmented(images: Tensor, size: int) -> Tensor:
    """A random part of each, .6 to 1 of its side, mirrored half of the time: (N, 3, size, size) in -1..1."""
    count = len(images)
    scale = torch.empty(count).uniform_(0.6, 1.0)
    shift = (torch.rand(count, 2) * 2 - 1) * (1 - scale)[:, None]
    mirror = torch.where(torch.rand(count) < 0.5, -1.0, 1.0)
    zero = torch.zeros(count)
    rows = [torch.stack([scale * mirror, zero, shift[:, 0]], 1), torch.stack([zero, scale, shift[:, 1]], 1)]
    grid = functional.affine_grid(torch.stack(rows, 1), [count, 3, size, size], align_corners=False)
    return functional.grid_sample(_normalised(images), grid, padding_mode='border', align_corners=False)


def _normalised(images: Tensor) -> Tensor:
    return images.float() / 127.5 - 1


@torch.inference_mode()
def _right(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    model.eval()
    predicted = map(partial(torch.argmax, dim=1), map(model, map(_normalised, images.split(64))))
    return torch.cat([*predicted]) == labels
