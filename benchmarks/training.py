"""A training step by stage: where its time goes."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch import nn
from tqdm import tqdm

from mbv1_backbone.training import build_runner


class Stopwatch:
    """Milliseconds by stage, of several rounds."""

    def __init__(self) -> None:
        self.rounds: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        start = time.perf_counter()
        yield
        self.rounds[name].append(1000 * (time.perf_counter() - start))

    def watch(self, name: str, module: nn.Module) -> None:
        """Time a module's forward pass."""
        started: list[float] = []
        module.register_forward_pre_hook(lambda *_: started.append(time.perf_counter()))
        module.register_forward_hook(
            lambda *_: self.rounds[name].append(1000 * (time.perf_counter() - started.pop()))
        )

    def medians(self) -> dict[str, float]:
        """Of each stage."""
        return {name: statistics.median(times) for name, times in self.rounds.items()}


def measure(cfg: Config, rounds: int) -> dict[str, Any]:
    """Milliseconds by stage.

    Args:
        cfg: A training config, from ``load_config``.
        rounds: Steps that count, after two that do not.

    Returns:
        ``batch_size``; ``data``: of one image, by transform; ``step``: of a whole batch. What the loss takes
        beside the network is target assignment and the losses themselves.
    """
    runner = build_runner(cfg)
    loader = runner.build_dataloader(cfg.train_dataloader)
    dataset, batch_size = loader.dataset, cfg.train_dataloader.batch_size
    data, samples = Stopwatch(), []
    for index in np.random.default_rng(0).permutation(len(dataset))[: 4 * batch_size]:
        sample = _through(dataset, int(index), data)
        if sample is not None:
            samples.append(sample)
    step = _steps(runner, [samples[i : i + batch_size] for i in range(0, len(samples), batch_size)], rounds)
    return dict(batch_size=batch_size, data=data.medians(), step=step.medians())


def _through(dataset: Any, index: int, watch: Stopwatch) -> Any:
    dataset.full_init()
    sample = dataset.get_data_info(index)
    for transform in dataset.pipeline.transforms:
        with watch.stage(type(transform).__name__):
            sample = transform(sample)
        if sample is None:
            return None
    return sample


def _steps(runner: Any, batches: list[list[Any]], rounds: int) -> Stopwatch:
    model, watch = runner.model.train(), Stopwatch()
    optimizer = runner.build_optim_wrapper(runner.cfg.optim_wrapper)
    for name, module in model.named_children():
        if name != 'data_preprocessor':
            watch.watch(f'forward, {name}', module)
    for number in tqdm(range(rounds + 2), unit='step', leave=False):
        if number == 2:
            watch.rounds.clear()
        batch = pseudo_collate(batches[number % len(batches)])
        with watch.stage('whole step'):
            with watch.stage('preprocess'):
                data = model.data_preprocessor(batch, True)
            with optimizer.optim_context(model), watch.stage('forward and loss'):
                losses = model(**data, mode='loss')
            loss, _ = model.parse_losses(losses)
            with watch.stage('backward'):
                optimizer.backward(loss)
            with watch.stage('optimiser'):
                optimizer.step()
                optimizer.zero_grad()
    return watch
