"""Batches of P people with K images each, for losses that compare."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from mmengine.registry import DATA_SAMPLERS

__all__ = ['PKBatchSampler']


@DATA_SAMPLERS.register_module()
class PKBatchSampler:
    """Batches of P x K images: P people, K images of each (FaceNet, arXiv:1503.03832, 3.2).

    People come in a random order, each as often as the others; one with fewer than K images repeats some.
    With several processes each gets batches of its own, from the same order.

    Args:
        sampler: mmengine's ``DefaultSampler``: its data set, seed, epoch, rank and number of processes.
        batch_size: P x K.
        images_per_identity: K, at least 2.

    Raises:
        ValueError: If the batch does not divide, or too few people have two images.
    """

    def __init__(self, sampler: Any, batch_size: int, images_per_identity: int = 4) -> None:
        if images_per_identity < 2 or batch_size % images_per_identity:
            raise ValueError(
                f'batch_size={batch_size} must be a multiple of images_per_identity={images_per_identity}, '
                'and that at least 2'
            )
        self.sampler = sampler
        self.batch_size = batch_size
        self.images = images_per_identity
        labels = np.asarray(sampler.dataset.labels)
        people = (np.flatnonzero(labels == label) for label in np.unique(labels))
        self.people = [indices for indices in people if len(indices) > 1]
        if len(self.people) < self.identities:
            raise ValueError(
                f'a batch of {self.identities} people needs as many with two images or more, '
                f'there are {len(self.people)}'
            )

    @property
    def identities(self) -> int:
        """People of a batch: P."""
        return self.batch_size // self.images

    def __len__(self) -> int:
        """Batches of an epoch and process: as many as show each person with two images or more K of them."""
        return math.ceil(len(self.people) / (self.identities * self.sampler.world_size))

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng((self.sampler.seed or 0, self.sampler.epoch))
        order = rng.permutation(len(self.people))
        for number in range(len(self) * self.sampler.world_size):
            start = number * self.identities
            chosen = [order[(start + i) % len(order)] for i in range(self.identities)]
            batch = [int(index) for person in chosen for index in self._draw(rng, self.people[person])]
            if number % self.sampler.world_size == self.sampler.rank:
                yield batch

    def _draw(self, rng: np.random.Generator, indices: np.ndarray) -> np.ndarray:
        return rng.choice(indices, self.images, replace=len(indices) < self.images)
