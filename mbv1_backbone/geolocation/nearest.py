"""Where the most alike training photograph was taken: Im2GPS's prediction, beside a network's."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.dist import collect_results, get_dist_info
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, HOOKS
from mmengine.runner import Runner
from torch import Tensor

from mbv1_backbone.classification.place_metric import shares_within
from mbv1_backbone.classification.sphere import great_circle
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.prefetch import DECODERS, batched, prefetch
from mbv1_backbone.retrieval.gallery import Gallery
from mbv1_backbone.training.config import datasets_of

__all__ = ['NearestPhotographHook', 'nearest_places']


@HOOKS.register_module()
class NearestPhotographHook(Hook):
    """Adds to a test how many photographs lie near the training photograph that looks most like them.

    Photographs are compared by the backbone's pooled features, which the model's neck gives, with a gallery
    of the training photographs as the index (Im2GPS, Hays and Efros 2008, with learned features). Each
    process of a test embeds its share of them.

    Args:
        batch_size: Training photographs that go through the network at once.
    """

    priority = 'HIGHEST'  # before the hook that takes the metrics to the log

    def __init__(self, batch_size: int = 32) -> None:
        self.batch_size = batch_size
        self._train: tuple[np.ndarray, np.ndarray] | None = None
        self._features: list[Tensor] = []
        self._rows: list[tuple[str, np.ndarray, float, float]] = []
        self._handle: Any = None

    def before_test_epoch(self, runner: Runner) -> None:
        """Embed the training photographs."""
        self._rows, self._features, self._train = [], [], None
        model = getattr(runner.model, 'module', runner.model)
        neck = getattr(model, 'neck', None)
        if neck is None:  # of an exported network there is nothing to take features from
            runner.logger.warning('the nearest training photographs are left out: the model has no neck')
            self._handle = None
            return
        model.eval()  # mmengine's loop does so only after this
        self._handle = neck.register_forward_hook(lambda _, __, output: self._features.append(output[-1]))
        self._train = self._embed(runner, _training_photos(runner))

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[Any] | None = None
    ) -> None:
        """Keep features and truth of a batch.

        Args:
            runner: Of the test.
            batch_idx: Unused.
            data_batch: Unused.
            outputs: Samples, with ``img_path``, ``latitude`` and ``longitude``.
        """
        if self._handle is None:
            return
        for sample, vector in zip(outputs or (), self._taken(), strict=True):
            self._rows.append((sample.img_path, vector, sample.latitude, sample.longitude))

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Search, and add ``places/nearest_25km`` and its like.

        Args:
            runner: Of the test.
            metrics: Of the test; added to.
        """
        if self._handle is None:
            return
        self._handle.remove()
        loader = runner.test_dataloader
        rows = collect_results(self._rows, len(loader.dataset))
        if rows is None or metrics is None or self._train is None:  # not the main process
            return
        table = {path: rest for path, *rest in rows}
        vectors = np.array([vector for vector, _, _ in table.values()])
        truth: np.ndarray = np.array([place for _, *place in table.values()], np.float64)
        found = nearest_places(*self._train, vectors)
        shares = shares_within(great_circle(found, truth), 'nearest')
        metrics.update({f'places/{name}': value for name, value in shares.items()})

    def _taken(self) -> np.ndarray:
        """The features since the last time, (N, D)."""
        vectors = torch.cat(self._features).float().cpu().numpy()
        self._features.clear()
        return vectors

    def _embed(
        self, runner: Runner, photos: Sequence[tuple[BaseDataset, int]]
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Features (N, D) and places (N, 2) of photographs; None in all processes but the main one."""
        rows: list[tuple[np.ndarray, float, float]] = []
        mine = [photos[index] for index in _share(len(photos), *get_dist_info())]
        items = prefetch(lambda photo: photo[0][photo[1]], mine, DECODERS, 2 * self.batch_size)
        for batch in batched(items, self.batch_size):
            samples = [item['data_samples'] for item in batch]
            with torch.inference_mode():
                runner.model.test_step(dict(inputs=[item['inputs'] for item in batch], data_samples=samples))
            for sample, vector in zip(samples, self._taken(), strict=True):
                rows.append((vector, sample.latitude, sample.longitude))
        found = collect_results(rows, len(photos))
        if found is None:
            return None
        return np.stack([vector for vector, *_ in found]), np.array([p for _, *p in found], np.float64)


def nearest_places(vectors: np.ndarray, places: np.ndarray, probes: np.ndarray) -> np.ndarray:
    """The places of the photographs whose features make the smallest angle with those of the probes.

    Args:
        vectors: Features of the photographs to look among, (N, D).
        places: Where they were taken, degrees, (N, 2).
        probes: Features of others, (M, D).

    Returns:
        Degrees (M, 2).
    """
    numbers = [str(row) for row in range(len(vectors))]
    hashes = [hashlib.sha256(number.encode()).hexdigest() for number in numbers]
    with tempfile.TemporaryDirectory() as folder:
        gallery = Gallery.create(Path(folder) / 'photographs', vectors.shape[1], 'pooled features')
        with gallery:
            gallery.add(vectors, numbers, numbers, hashes)
            matches = gallery.search(probes, k=1, threshold=None)
            rows = [int(found[0].identity) for found in matches]
    return places[rows]


def _share(count: int, rank: int, processes: int) -> list[int]:
    """Which of ``count`` items a process takes, as many as every other: ``collect_results`` wants it so."""
    return [index % count for index in range(rank, -(-count // processes) * processes, processes)]


def _training_photos(runner: Runner) -> list[tuple[BaseDataset, int]]:
    """The training photographs, each once, as the test sees its own: data set and place in it."""
    train, test = runner.cfg.get('train_dataloader'), runner.cfg.test_dataloader
    if not train:
        raise InputError('NearestPhotographHook looks among the training photographs: the config has none')
    pipeline = next(datasets_of(test)).pipeline
    photos: dict[str, tuple[BaseDataset, int]] = {}
    for config in datasets_of(train):
        dataset = DATASETS.build({**config, 'pipeline': pipeline, 'test_mode': True})
        for index in range(len(dataset)):
            photos.setdefault(dataset.get_data_info(index)['img_path'], (dataset, index))
    return [*photos.values()]
